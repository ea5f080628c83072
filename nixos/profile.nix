# A profile of a static binary at work, with which the compiler lays out what a request passes. `package` has to be built with
# the same features and the same profile of Cargo as what uses the result: both are in the names of functions, and a function
# whose name is another is compiled as without a profile.
{
  lib,
  runCommand,
  python3,
  rustc,
  package,
}:

let
  counting = (package.override { rustflags = [ "-Cprofile-generate" ]; }).overrideAttrs {
    doCheck = false;
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
    passthru = { inherit counting; };
  }
  ''
    python3 ${../benches/profile/train.py} ${lib.getExe counting}
    # Functions that were not called are left out, so that they are compiled as without a profile.
    llvm-profdata merge --sparse --output $out raw
  ''
