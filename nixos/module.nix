# `services.mlflow-appliance`: what `appliance bootstrap install` sets up elsewhere, declared.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.mlflow-appliance;
  directory = "/etc/mlflow-appliance";
  units = import ./units.nix { program = lib.getExe cfg.package; };
  # The same defaults as elsewhere.
  defaults = lib.importTOML ../src/bootstrap/files/appliance.toml;

  withoutNulls = lib.filterAttrs (_: value: value != null);
  given =
    withoutNulls (
      removeAttrs cfg.settings [
        "target"
        "caller"
      ]
    )
    // lib.filterAttrs (_: tables: tables != [ ]) {
      target = map withoutNulls cfg.settings.target;
      caller = map withoutNulls cfg.settings.caller;
    };

  # What cannot be used fails the build, with the words in which the program says it. An instance learns its MLflow when
  # it starts: another's stands in for it.
  configuration =
    pkgs.runCommand "appliance.toml"
      {
        source = (pkgs.formats.toml { }).generate "appliance.toml" given;
        checker = lib.getExe cfg.checkPackage;
      }
      ''
        ${lib.optionalString cfg.instance ''
          export SM_MLFLOW_RESOURCE_ARN=arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456
        ''}
        cp "$source" "$out"
        "$checker" check --elsewhere --config "$out"
      '';

  files = units.serve // lib.optionalAttrs cfg.instance units.instance;
  services = [
    "mlflow-appliance"
  ]
  ++ lib.optionals cfg.instance [
    "mlflow-appliance-bootstrap"
    "mlflow-appliance-signal"
  ];
  secretKeys = [
    "session-key"
    "tls-key"
  ];
in
{
  options.services.mlflow-appliance = {
    enable = lib.mkEnableOption "the SageMaker MLflow appliance";

    package = lib.mkOption {
      type = lib.types.package;
      description = "The appliance; the flake's module sets it.";
    };

    checkPackage = lib.mkOption {
      type = lib.types.package;
      default = cfg.package;
      defaultText = lib.literalExpression "config.services.mlflow-appliance.package";
      description = "The appliance that checks the settings while the system is built: one that runs where that happens.";
    };

    instance = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Whether the machine is an EC2 instance that configures itself by user data, parameters and tags.
        They win over `settings`.
      '';
    };

    settings = lib.mkOption {
      type = import ./settings.nix { inherit lib; };
      default = { };
      example = {
        resource-arn = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456";
        log-format = "json";
      };
      description = "The configuration file of `appliance serve`; `appliance serve --help` lists all keys.";
    };

    secrets = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      example = {
        tls-key = "/run/secrets/mlflow-tls-key";
      };
      description = ''
        Files that systemd passes to the appliance as credentials: `tls-key` is `credential:secret_tls-key` in the settings.
        So is every file in `${directory}/secrets`, without being named here.
      '';
    };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether to let the port of `settings.listen` through the firewall.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.mlflow-appliance.settings = lib.mapAttrs (_: lib.mkDefault) defaults;

    assertions =
      lib.mapAttrsToList (name: path: {
        assertion = lib.hasPrefix "/" path && !lib.hasPrefix builtins.storeDir path;
        message = "services.mlflow-appliance.secrets.${name} is `${path}`, but everybody can read the Nix store: name a file that is made elsewhere, such as /run/secrets/${name}";
      }) cfg.secrets
      ++ map (key: {
        assertion = cfg.settings.${key} == null || lib.hasPrefix "credential:" cfg.settings.${key};
        message = "services.mlflow-appliance.settings.${key} is a secret: put the file into services.mlflow-appliance.secrets.${key} and set this to \"credential:secret_${key}\"";
      }) secretKeys;

    environment.etc."mlflow-appliance/appliance.toml".source = configuration;

    # For `appliance token new` and `appliance check`.
    environment.systemPackages = [ cfg.package ];

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall [
      (lib.toInt (lib.last (lib.splitString ":" cfg.settings.listen)))
    ];

    users.users.mlflow-appliance = {
      isSystemUser = true;
      group = "mlflow-appliance";
      description = "SageMaker MLflow appliance";
    };
    users.groups.mlflow-appliance = { };

    systemd.tmpfiles.rules = [
      "d ${directory}/secrets 0700 root root"
      "f ${directory}/tokens.toml 0640 root mlflow-appliance"
    ];

    systemd.packages = [
      (pkgs.linkFarm "mlflow-appliance-units" (
        lib.mapAttrs' (
          path: text: lib.nameValuePair "lib/systemd/system/${path}" (pkgs.writeText (baseNameOf path) text)
        ) files
      ))
    ];

    systemd.sockets.mlflow-appliance = {
      wantedBy = [ "multi-user.target" ];
      # The empty one takes back what the unit says.
      listenStreams = [
        ""
        cfg.settings.listen
      ];
    };

    systemd.services = lib.genAttrs services (name: {
      wantedBy = [ "multi-user.target" ];
      # It starts no programs.
      enableDefaultPath = false;
      restartTriggers = [ configuration ];
      serviceConfig.LoadCredential = lib.mapAttrsToList (
        name: path: "secret_${name}:${path}"
      ) cfg.secrets;
    });
  };
}
