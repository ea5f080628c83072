# The start of an instance with NixOS: what tests/system/rehearsal does to a Debian, done to a system with the module. The
# machines of the rehearsal are containers within this one.
{ module }:

let
  # Names and authority are those of the rehearsal's own cloud.
  system =
    { lib, ... }:
    {
      imports = [ module ];
      boot.isContainer = true;
      environment.etc = {
        hosts.enable = lib.mkForce false;
        "ssl/certs/ca-bundle.crt".enable = lib.mkForce false;
        "ssl/certs/ca-certificates.crt".enable = lib.mkForce false;
        "pki/tls/certs/ca-bundle.crt".enable = lib.mkForce false;
      };
      networking.useDHCP = false;
      networking.useHostResolvConf = false;
      services.mlflow-appliance = {
        enable = true;
        instance = true;
        openFirewall = true;
      };
      system.stateVersion = lib.trivial.release;
    };
in
{
  name = "mlflow-appliance-instance";

  nodes.machine =
    { pkgs, ... }:
    {
      virtualisation.memorySize = 4096;
      virtualisation.diskSize = 8192;
      virtualisation.cores = 2;
      environment.systemPackages =
        let
          appliance = pkgs.lib.getExe pkgs.mlflow-appliance;
          toplevel = (pkgs.nixos system).config.system.build.toplevel;
          # The versions are those of nixpkgs and not the ones that `tests/run` takes, so the test prints them.
          python = pkgs.python3.withPackages (
            packages: with packages; [
              boto3
              cryptography
              flask-cors
              mlflow
              moto
            ]
          );
        in
        [
          pkgs.iproute2
          python
          (pkgs.writeShellScriptBin "rehearsal" ''
            exec ${python}/bin/python ${../../rehearsal}/rehearse.py "$1" ${appliance} ${appliance} ${toplevel}
          '')
        ];
    };

  testScript = ''
    machine.wait_for_unit("multi-user.target")
    machine.succeed("mkdir /root/scene")
    for package in ("mlflow", "moto"):
        print(machine.succeed(f"python3 -c 'from importlib.metadata import version; print(version(\"{package}\"))'"))
    # Its last line has the figures; a check that fails fails the command.
    print(machine.succeed("rehearsal /root/scene 2>&1", timeout=900))
  '';
}
