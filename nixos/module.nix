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
        "issuer"
      ]
    )
    // lib.filterAttrs (_: tables: tables != [ ]) {
      target = map withoutNulls cfg.settings.target;
      caller = map withoutNulls cfg.settings.caller;
      issuer = map withoutNulls cfg.settings.issuer;
    };

  # A setting that cannot be used fails the build, with the words in which the program says it. An instance learns its MLflow
  # when it starts, so another MLflow stands in for it here.
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
  isInStore = lib.hasPrefix "${builtins.storeDir}/";

  # systemd opens the socket, and the firewall the port. What is no ADDRESS:PORT has an assertion, so it is left out here.
  digits = builtins.match ".+:([1-9][0-9]{0,4})" (toString cfg.settings.listen);
  port = lib.filter (port: port <= 65535) (map lib.toInt (lib.optionals (digits != null) digits));

  isOfACME = cfg.useACMEHost != null && certificates ? ${cfg.useACMEHost};
  certificates = config.security.acme.certs;
  certificate = certificates.${cfg.useACMEHost};
  # It makes a certificate of its own, if there is none yet, and ends before an authority is asked for one.
  preparation = lib.optionals isOfACME [ "acme-${cfg.useACMEHost}.service" ];
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

    useACMEHost = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "mlflow.example.com";
      description = ''
        Which certificate of `security.acme.certs` callers are shown. It sets `tls-certificate` and `tls-key`, and lets the
        appliance read the files, which it does every `reload-interval`: a renewal needs no restart.
      '';
    };

    secrets = lib.mkOption {
      # No path, which would be copied into the store.
      type = lib.types.attrsOf lib.types.str;
      default = { };
      example = {
        tls-key = "/run/secrets/mlflow-tls-key";
      };
      description = ''
        Files that systemd passes to the appliance as credentials: `tls-key` is `credential:secret_tls-key` in the settings.
        So is every file in `${directory}/secrets`, without being named here. systemd reads them when the service starts, so
        another content needs `systemctl restart mlflow-appliance`, during which callers wait and nobody is refused.
      '';
    };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether to let the port of `settings.listen` through the firewall.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.mlflow-appliance.settings = lib.mapAttrs (_: lib.mkDefault) (
      defaults
      // lib.optionalAttrs isOfACME {
        tls-certificate = "${certificate.directory}/fullchain.pem";
        tls-key = "${certificate.directory}/key.pem";
      }
    );

    assertions = [
      {
        assertion = port != [ ];
        message = "services.mlflow-appliance.settings.listen is ${builtins.toJSON cfg.settings.listen}, but systemd opens the socket: name an address and a port, such as \"127.0.0.1:5000\"";
      }
      {
        assertion = cfg.useACMEHost == null || isOfACME;
        message = "services.mlflow-appliance.useACMEHost is `${toString cfg.useACMEHost}`, but there is no such certificate in security.acme.certs: declare it there";
      }
    ]
    ++ lib.mapAttrsToList (name: path: {
      assertion = lib.hasPrefix "/" path && !isInStore path;
      message = "services.mlflow-appliance.secrets.${name} is `${path}`, but everybody can read the Nix store: name a file that is made elsewhere, such as /run/secrets/${name}";
    }) cfg.secrets
    ++ map (key: {
      assertion = cfg.settings.${key} == null || !isInStore cfg.settings.${key};
      message = "services.mlflow-appliance.settings.${key} is `${toString cfg.settings.${key}}`, but everybody can read the Nix store: put a file that is made elsewhere into services.mlflow-appliance.secrets.${key} and set this to \"credential:secret_${key}\", or name one that the group mlflow-appliance may read";
    }) secretKeys
    ++ map (issuer: {
      assertion = issuer.client-secret == null || !isInStore issuer.client-secret;
      message = "client-secret of the issuer `${toString issuer.name}` in services.mlflow-appliance.settings.issuer is `${toString issuer.client-secret}`, but everybody can read the Nix store: put a file that is made elsewhere into services.mlflow-appliance.secrets.client-secret and set this to \"credential:secret_client-secret\"";
    }) cfg.settings.issuer;

    environment.etc."mlflow-appliance/appliance.toml".source = configuration;

    # For `appliance token new` and `appliance check`.
    environment.systemPackages = [ cfg.package ];

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall port;

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
      listenStreams = [ "" ] ++ lib.optionals (port != [ ]) [ cfg.settings.listen ];
      partOf = [ "mlflow-appliance-address.service" ];
    };

    systemd.services = {
      # `nixos-rebuild switch` restarts no socket whose unit has changed. But it restarts this unit, systemd the socket as a part
      # of it, and the service, which requires the socket: it stops first and starts last.
      mlflow-appliance-address = {
        description = "Address of the SageMaker MLflow appliance";
        wantedBy = [ "mlflow-appliance.socket" ];
        before = [ "mlflow-appliance.socket" ];
        restartTriggers = [ (toString cfg.settings.listen) ];
        stopIfChanged = false;
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${pkgs.coreutils}/bin/true";
        };
      };
    }
    // lib.genAttrs services (name: {
      wantedBy = [ "multi-user.target" ];
      wants = preparation;
      after = preparation;
      # It starts no programs.
      enableDefaultPath = false;
      restartTriggers = [ configuration ];
      # Otherwise a switch to another system stops the socket with the service, and callers are refused until both are back.
      stopIfChanged = false;
      serviceConfig = {
        LoadCredential = lib.mapAttrsToList (name: path: "secret_${name}:${path}") cfg.secrets;
        SupplementaryGroups = lib.optionals isOfACME [ certificate.group ];
      };
    });
  };
}
