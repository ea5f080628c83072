# Builds the outputs of the flake where there is no binary cache. Compilers and tools are not nixpkgs'; the rest is.
{ nixpkgs }:

let
  root = ../../../..;
  lib = import (nixpkgs + "/lib");
  self = (import (root + "/flake.nix")).outputs {
    inherit self;
    nixpkgs = {
      inherit lib;
      outPath = nixpkgs;
    };
  };

  # This build leaves out what takes minutes and is the same without Nix: optimisation across crates, and the tests without
  # default features, which the stage `package` runs.
  quick = _: previous: {
    mlflow-appliance = previous.mlflow-appliance.overrideAttrs (old: {
      env = old.env // {
        CARGO_PROFILE_DIST_CODEGEN_UNITS = "16";
        CARGO_PROFILE_DIST_LTO = "off";
      };
    });
    mlflow-appliance-instance = previous.mlflow-appliance-instance.overrideAttrs { doCheck = false; };
  };

  pkgs = import nixpkgs {
    localSystem = builtins.currentSystem;
    stdenvStages = import ./stages.nix { inherit nixpkgs; };
    overlays = [
      (import ./overlay.nix)
      self.overlays.default
      quick
    ];
    config = { };
  };

  machine =
    instance:
    import (nixpkgs + "/nixos/lib/eval-config.nix") {
      system = null;
      modules = [
        (root + "/nixos/module.nix")
        {
          nixpkgs.pkgs = pkgs;
          services.mlflow-appliance = {
            enable = true;
            inherit instance;
            package = pkgs.mlflow-appliance-static;
            settings = lib.optionalAttrs (!instance) {
              resource-arn = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456";
            };
          };
          # NixOS asks it what it was built with. Nothing that is built here contains it.
          systemd.package =
            pkgs.emptyDirectory
            // lib.genAttrs [ "withImportd" "withLogind" "withMachined" "withSysupdate" "withTpm2Units" ] (
              _: false
            );
          system.stateVersion = lib.trivial.release;
        }
      ];
    };
  # The files that NixOS writes for the module: the configuration, which the binary checks on the way, and the units.
  settings =
    instance:
    let
      inherit (machine instance) config;
    in
    pkgs.linkFarm "settings" {
      "appliance.toml" = config.environment.etc."mlflow-appliance/appliance.toml".source;
      units = lib.findFirst (one: one.name == "mlflow-appliance-units") null config.systemd.packages;
    };
in
{
  source = pkgs.mlflow-appliance.src;
  package = pkgs.mlflow-appliance-static;
  # The same once more, but for the tests and its place.
  twin = pkgs.mlflow-appliance-static.overrideAttrs {
    pname = "twin";
    doCheck = false;
  };
  instance = pkgs.mlflow-appliance-instance;
  container =
    pkgs.runCommand "container.tar" { }
      "${pkgs.callPackage (root + "/nixos/container.nix") { }} > $out";
  settings-file = settings false;
  settings-instance = settings true;
  inherit pkgs;
}
