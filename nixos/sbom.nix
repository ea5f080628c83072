# What the binary for an instance is made of: a CycloneDX bill of materials, and the licence of every crate in it.
{
  lib,
  stdenv,
  cargo,
  cargo-about,
  cargo-cyclonedx,
  rustPlatform,
}:

stdenv.mkDerivation {
  name = "appliance-sbom";
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../.about.hbs
      ../.about.toml
      ../.ci/sbom
      ../Cargo.lock
      ../Cargo.toml
      ../build.rs
      (lib.fileset.fileFilter (file: file.hasExt "yaml") ../infra)
      ../src
      ../tests/tools
    ];
  };
  cargoDeps = rustPlatform.importCargoLock { lockFile = ../Cargo.lock; };
  nativeBuildInputs = [
    cargo
    cargo-about
    cargo-cyclonedx
    rustPlatform.cargoSetupHook
  ];
  buildPhase = ''
    patchShebangs .ci/sbom
    HOME=$TMPDIR .ci/sbom $out ${stdenv.hostPlatform.parsed.cpu.name}-unknown-linux-musl
  '';
  dontInstall = true;
}
