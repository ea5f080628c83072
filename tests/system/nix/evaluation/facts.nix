# Evaluates the flake with a nixpkgs that is at hand, without copying that into a store first. The flake `example` uses ours.
{ nixpkgs, example }:

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

  arguments = package: {
    inherit (package) cargoBuildFeatures cargoBuildNoDefaultFeatures cargoBuildType;
    target = package.stdenv.hostPlatform.config;
    flags = package.RUSTFLAGS;
  };

  server =
    { config, ... }:
    let
      host = config.services.mlflow-appliance.useACMEHost;
    in
    {
      failed = map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
      inherit (config) warnings;
      toplevel = config.system.build.toplevel.drvPath;
      unit = config.systemd.units."mlflow-appliance.service".text;
      socket = config.systemd.units."mlflow-appliance.socket".text;
      ports = config.networking.firewall.allowedTCPPorts;
      certificate = { inherit (config.security.acme.certs.${host}) directory group; };
      # The services that make a first certificate, and that ask an authority for one.
      makers = lib.filter (name: lib.hasPrefix "acme-" name && lib.hasSuffix host name) (
        lib.attrNames config.systemd.services
      );
      settings = { inherit (config.services.mlflow-appliance.settings) tls-certificate tls-key; };
    };

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
      mounts = lib.attrNames config.fileSystems ++ map (mount: mount.where) config.systemd.mounts;
      commands = config.services.mlflow-appliance.package.cargoBuildNoDefaultFeatures;
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

  # The smallest machine that imports the module, here twice, as two modules of a configuration may.
  twice =
    (lib.nixosSystem {
      modules = [
        self.nixosModules.default
        self.nixosModules.default
        {
          nixpkgs.hostPlatform = "x86_64-linux";
          services.mlflow-appliance.enable = true;
        }
      ];
    }).config;
  with-a-secret =
    (self.nixosConfigurations.appliance-x86_64.extendModules {
      modules = [ { services.mlflow-appliance.secrets.tls-key = "/run/secrets/key"; } ];
    }).config;
in
{
  packages = derivations self.packages;
  checks = derivations self.checks;
  shells = derivations self.devShells;
  apps = lib.mapAttrs (_: lib.mapAttrs (_: app: app.program)) self.apps;
  # The arguments that decide on the names of functions, of the package with a profile and of the one that recorded it.
  profiles = lib.mapAttrs (
    _: packages:
    let
      inherit (packages.instance.passthru.profile.passthru) counting;
    in
    {
      uses = arguments packages.instance;
      counts = arguments counting;
    }
  ) (lib.filterAttrs (_: packages: packages ? instance) self.packages);
  images = lib.mapAttrs image self.nixosConfigurations;
  server =
    server
      ((import example).outputs {
        inherit (inputs) nixpkgs;
        mlflow-appliance = self;
      }).nixosConfigurations.server;
  twice = {
    package = twice.services.mlflow-appliance.package.drvPath;
    expected = self.packages.x86_64-linux.appliance.drvPath;
    socket = twice.systemd.units."mlflow-appliance.socket".text;
    address = twice.systemd.units."mlflow-appliance-address.service".text;
    service = twice.systemd.units."mlflow-appliance.service".text;
  };
  console-with-a-secret = with-a-secret.systemd.units."mlflow-appliance-console.service".text;
  rustc = inputs.nixpkgs.legacyPackages.x86_64-linux.rustc.version;
  release = lib.trivial.version;
}
