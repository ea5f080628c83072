# The binary. Called with `pkgs` it is linked dynamically, with `pkgs.pkgsStatic` it is the static one.
{
  lib,
  stdenv,
  buildPackages,
  installShellFiles,
  rustPlatform,
  rustc,
  # `appliance sandbox`, `deploy` and `generate`: for people, not for instances.
  withSandbox ? true,
  # Cargo's profile: `release` takes minutes and suits who builds for themselves, `dist` is the one that ships.
  buildType ? "release",
  # For rustc, of a static one.
  rustflags ? [ ],
}:

let
  manifest = lib.importTOML ../Cargo.toml;
  required = manifest.package.rust-version;
  runs = stdenv.hostPlatform.emulatorAvailable buildPackages;
  emulator = stdenv.hostPlatform.emulator buildPackages;
in
assert lib.assertMsg (lib.versionAtLeast rustc.version required)
  "the appliance needs rustc ${required} or later (rust-version in Cargo.toml), and this nixpkgs has ${rustc.version}: pin a newer one with `nix flake update`";

rustPlatform.buildRustPackage {
  pname = "appliance";
  inherit (manifest.package) version;

  src = import ./source.nix { inherit lib; } [ ];
  cargoLock.lockFile = ../Cargo.lock;
  buildNoDefaultFeatures = !withSandbox;
  inherit buildType;
  # Tests need no optimisation across crates, which takes minutes.
  checkType = "release";
  # nixpkgs turns off the stripping that Cargo.toml asks for, and by itself would keep the names of all functions: 8 MB.
  stripAllList = [ "bin" ];

  nativeBuildInputs = [ installShellFiles ];

  # In place of those that nixpkgs has for the target, of which one matters here.
  env = lib.optionalAttrs (rustflags != [ ]) {
    RUSTFLAGS = toString ([ "-Ctarget-feature=+crt-static" ] ++ rustflags);
  };

  # Those of the crate. The rest of the tests need MLflow and moto: they are run by `tests/run`.
  cargoTestFlags = [ "--lib" ];
  doCheck = stdenv.buildPlatform.canExecute stdenv.hostPlatform;

  postInstall = lib.optionalString (withSandbox && runs) ''
    for shell in bash fish zsh; do
      ${emulator} $out/bin/appliance generate completions $shell > appliance.$shell
    done
    installShellCompletion --cmd appliance --bash appliance.bash --fish appliance.fish --zsh appliance.zsh
    ${emulator} $out/bin/appliance generate man-pages pages
    installManPage pages/*
  '';

  meta = {
    inherit (manifest.package) description;
    license = lib.licenses.asl20;
    mainProgram = "appliance";
    platforms = lib.platforms.linux ++ lib.platforms.darwin;
  };
}
