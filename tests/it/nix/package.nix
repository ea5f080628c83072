# What the package is made of, where there is no nixpkgs.
{
  rustc ? "1.95.0",
  rustflags ? [ ],
}:

let
  lib = import ./lib.nix;
  platform = {
    canExecute = _: true;
    emulatorAvailable = _: true;
    emulator = _: "";
  };
in
import ../../../nixos/package.nix {
  inherit lib;
  stdenv.buildPlatform = platform;
  stdenv.hostPlatform = platform;
  buildPackages = { };
  installShellFiles = "installShellFiles";
  rustPlatform.buildRustPackage = set: set;
  rustc.version = rustc;
  inherit rustflags;
}
