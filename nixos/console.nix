# The console has no login. It shows the state of the appliance in the "system log" of the EC2 console.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  name = "mlflow-appliance-console.service";
  units = import ./units.nix { program = lib.getExe config.services.mlflow-appliance.package; };
in
{
  systemd.packages = [
    (pkgs.writeTextDir "lib/systemd/system/${name}" (units.render (builtins.readFile ./${name})))
  ];
  systemd.services.mlflow-appliance-console = {
    wantedBy = [ "multi-user.target" ];
    enableDefaultPath = false;
    # It reads the same configuration, so it needs the same secrets.
    serviceConfig = {
      inherit (config.systemd.services.mlflow-appliance.serviceConfig) LoadCredential SupplementaryGroups;
    };
  };

  # A generator of systemd starts one wherever the kernel has its console.
  systemd.services."autovt@".enable = lib.mkForce false;
  systemd.services."getty@tty1".enable = lib.mkForce false;
  systemd.services."serial-getty@hvc0".enable = lib.mkForce false;
  systemd.services."serial-getty@ttyS0".enable = lib.mkForce false;
}
