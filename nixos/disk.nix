# The disk image, raw, as EBS takes it: `system.build.ami`. Made by systemd-repart, without a virtual machine.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:

let
  platform = pkgs.stdenv.hostPlatform;
  inherit (config.services.mlflow-appliance.package) version;
  root = "nixos";
  # The bake has to know these facts about the image, and writes them into its tags.
  info = pkgs.writeText "image-info.json" (
    builtins.toJSON {
      inherit (platform) system;
      inherit version;
      boot_mode = "uefi";
      revision = config.system.configurationRevision;
      # The hash in a store's path is that of all that went into the system.
      closure = builtins.unsafeDiscardStringContext config.system.build.toplevel.outPath;
    }
  );
in
{
  imports = [ (modulesPath + "/image/repart.nix") ];

  # The firmware starts kernel, initrd and command line as one file. There is no menu, so the
  # command line cannot be changed at a console.
  boot.loader.grub.enable = lib.mkForce false;

  fileSystems = lib.mkForce {
    "/" = {
      device = "/dev/disk/by-partlabel/${root}";
      fsType = "ext4";
      autoResize = true;
    };
  };

  image.repart = {
    name = "mlflow-appliance";
    inherit version;
    # EBS volumes have such sectors.
    sectorSize = 512;
    partitions = {
      esp = {
        contents."/EFI/BOOT/BOOT${lib.toUpper platform.efiArch}.EFI".source =
          "${config.system.build.uki}/${config.system.boot.loader.ukiFile}";
        repartConfig = {
          Type = "esp";
          Format = "vfat";
          SizeMinBytes = "128M";
        };
      };
      root = {
        storePaths = [ config.system.build.toplevel ];
        repartConfig = {
          Type = "root";
          Format = "ext4";
          Label = root;
          Minimize = "guess";
        };
      };
    };
  };

  system.build.ami =
    pkgs.runCommand "mlflow-appliance-${version}-${platform.system}"
      {
        nativeBuildInputs = [ pkgs.buildPackages.jq ];
        image = "${config.image.repart.image}/${config.image.fileName}";
      }
      ''
        mkdir -p $out/nix-support
        ln -s "$image" $out/
        jq --arg sha256 "$(sha256sum < "$image" | cut -d' ' -f1)" --argjson logical_bytes "$(stat -Lc %s "$image")" \
          '. + { $logical_bytes, $sha256 }' ${info} > $out/nix-support/image-info.json
      '';
}
