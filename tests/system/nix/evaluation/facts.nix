# What the flake comes to with a nixpkgs that is at hand, without copying that into a store first.
{ nixpkgs }:

let
  inputs.nixpkgs = (import (nixpkgs + "/flake.nix")).outputs { self = inputs.nixpkgs; } // {
    outPath = toString nixpkgs;
  };
  self =
    (import ../../../../flake.nix).outputs {
      inherit self;
      inherit (inputs) nixpkgs;
    }
    // {
      rev = "0123456789abcdef0123456789abcdef01234567";
    };
  inherit (inputs.nixpkgs) lib;
  derivations = lib.mapAttrs (_: lib.mapAttrs (_: package: package.drvPath));

  image =
    _:
    { config, pkgs, ... }:
    let
      unit = name: config.systemd.units.${name}.text;
      services = lib.attrNames (
        lib.filterAttrs (_: service: service.enable && service.wantedBy != [ ]) config.systemd.services
      );
      program = lib.getExe config.services.mlflow-appliance.package;
      units = import ../../../../nixos/units.nix { inherit program; };
    in
    {
      inherit services program;
      failed = map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
      inherit (config) warnings;
      toplevel = config.system.build.toplevel.drvPath;
      packages = lib.sort lib.lessThan (lib.unique (map lib.getName config.environment.systemPackages));

      disabled = lib.attrNames (lib.filterAttrs (_: service: !service.enable) config.systemd.services);
      has-sshd = config.systemd.services ? sshd || config.systemd.sockets ? sshd;
      has-amazon-init =
        config.systemd.services ? amazon-init && config.systemd.services.amazon-init.enable;
      has-nix = config.nix.enable;
      firewall = {
        inherit (config.networking.firewall)
          enable
          allowedTCPPorts
          allowedUDPPorts
          allowedTCPPortRanges
          allowedUDPPortRanges
          ;
      };
      keys = lib.concatMap (user: user.openssh.authorizedKeys.keys) (lib.attrValues config.users.users);
      passwords = lib.attrNames (
        lib.filterAttrs (
          _: user:
          lib.any (value: value != null && value != "!") [
            user.password
            user.hashedPassword
            user.hashedPasswordFile
            user.initialPassword
            user.initialHashedPassword
          ]
        ) config.users.users
      );
      mutable-users = config.users.mutableUsers;

      kernel-parameters = config.boot.kernelParams;
      initrd-modules = config.boot.initrd.availableKernelModules;
      modules = map lib.getName config.boot.extraModulePackages;
      root = { inherit (config.fileSystems."/") device fsType autoResize; };
      grows = config.boot.growPartition;
      time = {
        inherit (config.services.chrony) enable servers;
        timesyncd = config.services.timesyncd.enable;
      };
      journald = config.environment.etc."systemd/journald.conf".text;
      partitions = lib.mapAttrs (_: partition: {
        contents = lib.attrNames partition.contents;
        inherit (partition) repartConfig;
      }) config.image.repart.partitions;
      # Each unit, and what NixOS adds to it.
      units = units.serve // units.instance;
      overrides = lib.genAttrs [
        "mlflow-appliance.service"
        "mlflow-appliance.socket"
        "mlflow-appliance-bootstrap.service"
        "mlflow-appliance-signal.service"
        "mlflow-appliance-console.service"
      ] unit;
      console = units.render (builtins.readFile ../../../../nixos/mlflow-appliance-console.service);
    };
in
{
  packages = derivations self.packages;
  checks = derivations self.checks;
  shells = derivations self.devShells;
  images = lib.mapAttrs image self.nixosConfigurations;
  rustc = inputs.nixpkgs.legacyPackages.x86_64-linux.rustc.version;
  release = lib.trivial.version;
}
