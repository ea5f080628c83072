# `nix flake check`: every output is built, and what can be tested is. Those that need no virtual machine come first.
{
  pkgs,
  module,
  packages,
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
        # The tests include it.
        ../tests/system/fuzz/properties.rs
      ];
      nativeBuildInputs = old.nativeBuildInputs ++ inputs;
      buildPhase = command;
      doCheck = false;
      installPhase = "touch $out";
      postInstall = "";
    });

  # The machine of a user who imports the module.
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
lib.mapAttrs' (name: lib.nameValuePair "package-${name}") (removeAttrs packages [ "default" ])
// {
  # The one that people build for themselves.
  inherit package;
  app = pkgs.callPackage ./app.nix { };
  shell = pkgs.callPackage ./shell.nix { };
  clippy = cargo "clippy" "cargo clippy --offline --all-targets -- -D warnings" [ pkgs.clippy ];
  format = cargo "format" "cargo fmt --all --check" [ pkgs.rustfmt ];
  deny = cargo "deny" "cargo deny --offline --config .deny.toml check bans licenses sources" [
    pkgs.cargo-deny
  ];
}
// lib.optionalAttrs pkgs.stdenv.hostPlatform.isLinux (
  {
    # Its configuration is checked by the binary on the way.
    module = machine.config.system.build.toplevel;
  }
  // tests
)
