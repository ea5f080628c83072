# The disk of nixos/disk.nix as JSON, without nixpkgs: partitions as systemd-repart's definitions have them, the size of
# sectors, the root of /etc/fstab; and the image's parameters of the kernel. The store is the whole tree.
let
  arguments = {
    config.system = {
      boot.loader.ukiFile = "uki.efi";
      build = {
        toplevel = "/";
        uki = "/boot";
      };
    };
    lib = {
      mkForce = value: value;
      toUpper = text: { x64 = "X64"; }.${text};
    };
    modulesPath = "";
    pkgs.stdenv.hostPlatform.efiArch = "x64";
  };
  disk = import ../../../nixos/disk.nix arguments;
  image = import ../../../nixos/image.nix arguments;
  inherit (disk.image) repart;
  partition =
    {
      repartConfig,
      contents ? { },
      storePaths ? [ ],
    }:
    map (key: "${key}=${repartConfig.${key}}") (builtins.attrNames repartConfig)
    ++ map (target: "CopyFiles=${contents.${target}.source}:${target}") (builtins.attrNames contents)
    ++ map (path: "CopyFiles=${path}") storePaths;
in
{
  partitions = builtins.mapAttrs (_: partition) repart.partitions;
  sector_size = repart.sectorSize;
  root = disk.fileSystems."/";
  parameters = image.boot.kernelParams;
}
