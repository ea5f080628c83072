# `nix flake check`. Those that need no virtual machine come first.
{
  pkgs,
  module,
  image,
}:

let
  inherit (pkgs) lib;
  package = pkgs.mlflow-appliance;

  # The package, with another verb than build.
  cargo =
    name: command: inputs:
    package.overrideAttrs (old: {
      pname = "appliance-${name}";
      src = import ./source.nix { inherit lib; } [
        ../.clippy.toml
        ../.deny.toml
        ../.rustfmt.toml
        ../tests/it
      ];
      nativeBuildInputs = old.nativeBuildInputs ++ inputs;
      buildPhase = command;
      doCheck = false;
      installPhase = "touch $out";
      postInstall = "";
    });

  # A machine of somebody else, with the module.
  machine = pkgs.nixos {
    imports = [ module ];
    services.mlflow-appliance = {
      enable = true;
      openFirewall = true;
      settings.resource-arn = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456";
    };
    boot.isContainer = true;
    system.stateVersion = lib.trivial.release;
  };

  directory = ../tests/system/nix/vm;
  tests = lib.mapAttrs' (
    file: _:
    lib.nameValuePair "vm-${lib.removeSuffix ".nix" file}" (
      pkgs.testers.runNixOSTest (import (directory + "/${file}") { inherit module; })
    )
  ) (lib.filterAttrs (file: _: lib.hasSuffix ".nix" file) (builtins.readDir directory));
in
{
  inherit package;
  static = pkgs.mlflow-appliance-static;
  clippy = cargo "clippy" "cargo clippy --offline --all-targets -- -D warnings" [ pkgs.clippy ];
  format = cargo "format" "cargo fmt --all --check" [ pkgs.rustfmt ];
  deny = cargo "deny" "cargo deny --offline --config .deny.toml check bans licenses sources" [
    pkgs.cargo-deny
  ];
  # Its configuration is checked by the binary on the way.
  module = machine.config.system.build.toplevel;
  image = image.config.system.build.toplevel;
}
// tests
