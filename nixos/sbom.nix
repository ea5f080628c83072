# Lists what the binary for an instance is made of: a CycloneDX bill of materials, and the licence of every crate in it.
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
  src = import ./source.nix { inherit lib; } [
    ../.about.hbs
    ../.about.toml
    ../.ci/sbom
    ../tests/system/tools.sh
  ];
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
