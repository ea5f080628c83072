"""A disk as `nix build .#ami` makes it, by the definitions of nixos/disk.nix, from a tree that is no NixOS."""

import json
import shutil
from pathlib import Path

from machine import run

here = Path(__file__).parent
root = here.parents[2]
UNIT = "mlflow-appliance-console.service"
# Nothing of this is looked at by a machine that runs; the kernel and its initrd are in the UKI.
LEFT_OUT = "/boot /dev /proc /repart /run /sys /tmp /usr/lib/python3 /usr/lib/python3.13 /usr/lib/systemd/boot /var/cache /var/lib/apt"
LINUX = "$(echo /boot/vmlinuz-*) --initrd=$(echo /boot/initrd.img-*)"


def layout():
    return json.loads(run("nix-instantiate", "--eval", "--strict", "--json", str(here / "layout.nix")))


def make(tree, program, path):
    """Writes to `path` a disk with what is in `tree`, which has the tools for it. `program` is where the appliance is there."""
    found = layout()
    device, kind = found["root"]["device"], found["root"]["fsType"]
    growth = ",x-systemd.growfs" if found["root"]["autoResize"] else ""
    (tree / "etc/fstab").write_text(f"{device} / {kind} defaults{growth} 0 1\n")
    # The image has this beside the units that `bootstrap install` writes.
    unit = (root / "nixos" / UNIT).read_text().replace("@PROGRAM@", program)
    hardening = (root / "src/bootstrap/files/hardening.conf").read_text().rstrip("\n")
    (tree / "etc/systemd/system" / UNIT).write_text(unit.replace("@HARDENING@", hardening))
    run("chroot", str(tree), "systemctl", "--quiet", "enable", UNIT)
    definitions = tree / "repart"
    definitions.mkdir()
    for name, lines in found["partitions"].items():
        if "CopyFiles=/" in lines:
            lines = [*lines, f"ExcludeFiles={LEFT_OUT}", "MakeDirectories=/boot /dev /proc /run /sys /tmp"]
        (definitions / f"{name}.conf").write_text("\n".join(["[Partition]", *lines, ""]))
    # As NixOS has them, but for the root, which its initrd takes from a file, and for the end of QEMU if the kernel panics.
    parameters = ["console=ttyS0,115200n8", "loglevel=4", f"root={device}", f"rootfstype={kind}", "rw", "panic=-1", *found["parameters"]]
    script = f"""
        set -e
        mount -t proc proc "$1/proc"
        mount -t tmpfs tmpfs "$1/tmp"
        mount -t devtmpfs devtmpfs "$1/dev"
        chroot "$1" sh -ec 'ukify build --linux={LINUX} --cmdline="$1" --output=/boot/uki.efi
            systemd-repart --empty=create --size=auto --offline=yes --dry-run=no --no-pager --definitions=/repart --sector-size="$2" /repart/disk' \\
            sh "$2" "$3"
    """
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(tree), " ".join(parameters), str(found["sector_size"])]
    run(*command)
    shutil.move(definitions / "disk", path)
