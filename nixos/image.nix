# The EC2 image: NixOS with the appliance, and no way in but Systems Manager. docs/deploy/hardened-image.md says what is in it and why.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:

{
  imports = [
    (modulesPath + "/virtualisation/amazon-image.nix")
    (modulesPath + "/profiles/image-based-appliance.nix")
    ./console.nix
    ./disk.nix
  ];

  services.mlflow-appliance = {
    enable = true;
    instance = true;
    openFirewall = true;
  };

  # UEFI on both architectures. ENA, NVMe, the serial console and growing the root are amazon-image's.
  ec2.efi = true;

  # SECURITY: otherwise systemd mounts the partition that the firmware starts from, and root could overwrite the kernel of a
  # system that is replaced and never changed.
  boot.kernelParams = [ "systemd.gpt_auto=0" ];

  # SECURITY: user data and metadata are for `appliance bootstrap` to read. These would execute them, write keys from them
  # into root's home, or leave them on disk.
  virtualisation.amazon-init.enable = false;
  systemd.services.apply-ec2-data.enable = false;
  systemd.services.fetch-ec2-metadata.enable = false;
  systemd.services.print-host-key.enable = false;

  # SECURITY: Session Manager is the way in: its users are IAM's, its sessions can be recorded, it needs no open port.
  services.openssh.enable = lib.mkForce false;
  services.amazon-ssm-agent.enable = true;
  users.allowNoPasswordLogin = true;

  # chrony uses the hypervisor's clock. It serves no client, and cannot be configured over the network.
  services.chrony = {
    enable = true;
    servers = lib.mkForce [ "169.254.169.123" ];
    extraConfig = ''
      port 0
      cmdport 0
    '';
  };

  # The logs of some weeks, and never a full disk. What has to last goes to CloudWatch Logs (`cloudwatch-log-group`).
  services.journald.extraConfig = ''
    SystemMaxUse=512M
    SystemKeepFree=1G
    RuntimeMaxUse=64M
    MaxRetentionSec=30day
  '';

  # Internet noise is not worth a log line each.
  networking.firewall.logRefusedConnections = false;

  # The image does not need these.
  boot.bcache.enable = false;
  environment.defaultPackages = lib.mkForce [ ];
  fonts.fontconfig.enable = false;
  programs.nano.enable = false;
  services.lvm.enable = false;
  # A compiler in the image fails the build of it.
  system.forbiddenDependenciesRegexes = [ "-(clang|gcc|rustc|go)-[0-9.]+$" ];

  system.stateVersion = config.system.nixos.release;
}
