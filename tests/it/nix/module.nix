# Evaluates the module with `given` where there is no nixpkgs. The module may set only what this file declares, and it finds one
# certificate.
{ given }:

let
  lib = import ./lib.nix;
  inherit (lib) types;
  package = {
    outPath = "/nix/store/00000000000000000000000000000000-appliance";
    meta.mainProgram = "appliance";
  };
  pkgs = {
    runCommand = name: environment: script: { inherit name environment script; };
    formats.toml = _: { generate = _: value: value; };
    linkFarm = _: entries: entries;
    writeText = _: text: text;
    coreutils = "/nix/store/00000000000000000000000000000000-coreutils";
  };

  module = import ../../../nixos/module.nix { inherit config lib pkgs; };
  options = module.options.services.mlflow-appliance;
  # Without its condition, which is made of the values that this is a part of.
  own = module.config.content.services.mlflow-appliance;
  config.security.acme.certs."mlflow.example.com" = {
    directory = "/var/lib/acme/mlflow.example.com";
    group = "acme";
  };
  config.services.mlflow-appliance = lib.readAll options "services.mlflow-appliance" (
    { inherit package; } // given // { settings = own.settings // given.settings or { }; }
  );

  set = builtins.removeAttrs (if module.config.condition then module.config.content else { }) [
    "services"
  ];
  text = lib.mkOption {
    type = types.str;
    default = "";
  };
  any = lib.mkOption {
    type = {
      name = "anything";
      check = _: true;
    };
    default = null;
  };
  of = type: default: lib.mkOption { inherit type default; };
  tree = options: of (types.submodule { inherit options; }) { };
  unit = {
    wantedBy = of (types.listOf types.str) [ ];
    wants = of (types.listOf types.str) [ ];
    after = of (types.listOf types.str) [ ];
    before = of (types.listOf types.str) [ ];
    partOf = of (types.listOf types.str) [ ];
    description = text;
  };
  nixos = {
    assertions = of (types.listOf (
      types.submodule {
        options = {
          assertion = of types.bool true;
          message = text;
        };
      }
    )) [ ];
    environment = tree {
      etc = of (types.attrsOf (types.submodule { options.source = any; })) { };
      systemPackages = of (types.listOf types.package) [ ];
    };
    networking = tree { firewall = tree { allowedTCPPorts = any; }; };
    users = tree {
      users = of (types.attrsOf (
        types.submodule {
          options = {
            isSystemUser = of types.bool false;
            group = text;
            description = text;
          };
        }
      )) { };
      groups = of (types.attrsOf (types.submodule { options = { }; })) { };
    };
    systemd = tree {
      packages = any;
      tmpfiles = tree { rules = of (types.listOf types.str) [ ]; };
      sockets = of (types.attrsOf (
        types.submodule {
          options = unit // {
            listenStreams = of (types.listOf types.str) [ ];
          };
        }
      )) { };
      services = of (types.attrsOf (
        types.submodule {
          options = unit // {
            enableDefaultPath = of types.bool true;
            restartTriggers = any;
            stopIfChanged = of types.bool true;
            serviceConfig = tree {
              Type = text;
              RemainAfterExit = of types.bool false;
              ExecStart = text;
              LoadCredential = of (types.listOf types.str) [ ];
              SupplementaryGroups = of (types.listOf types.str) [ ];
            };
          };
        }
      )) { };
    };
  };
  made = lib.readAll nixos "config" set;
in
{
  failed = map (one: one.message) (lib.filter (one: !one.assertion) made.assertions);
  configuration = made.environment.etc."mlflow-appliance/appliance.toml".source;
  firewall = made.networking.firewall.allowedTCPPorts;
  units = builtins.head made.systemd.packages;
  inherit (made.systemd) services sockets;
  tmpfiles = made.systemd.tmpfiles.rules;
  user = made.users.users.mlflow-appliance;
}
