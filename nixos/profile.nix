# A profile of the static binary at work, with which the compiler lays out what a request passes.
{
  lib,
  runCommand,
  pkgsStatic,
  python3,
  rustc,
}:

let
  counting = pkgsStatic.mlflow-appliance.override {
    withSandbox = false;
    rustflags = [ "-Cprofile-generate" ];
  };
in
runCommand "appliance.profdata"
  {
    nativeBuildInputs = [
      (python3.withPackages (packages: [ packages.cryptography ]))
      # It reads what this compiler's programs write.
      rustc.llvmPackages.llvm
    ];
    LLVM_PROFILE_FILE = "raw/%m.profraw";
  }
  ''
    python3 ${../benches/profile/train.py} ${lib.getExe (counting.overrideAttrs { doCheck = false; })}
    # Functions that were not called are left out, so that they are compiled as without a profile.
    llvm-profdata merge --sparse --output $out raw
  ''
