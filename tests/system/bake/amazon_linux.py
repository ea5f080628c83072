"""A root like that of an instance of Amazon Linux 2023: a Debian with the same systemd (252), and on top of it the files that a
bake needs, removes or must not touch.

Commands run in it by chroot, in a mount namespace of their own, so it takes root. An overlay keeps apart what they change.
"""

import shutil
import stat
from pathlib import Path

KEPT = {
    "etc/os-release": 'NAME="Amazon Linux"\nVERSION="2023"\nID="amzn"\nID_LIKE="fedora"\nVERSION_ID="2023"\nPRETTY_NAME="Amazon Linux 2023"\n',
    "etc/ssh/sshd_config": "# Amazon's\n",
    "etc/cloud/cloud.cfg": "cloud_init_modules: [users-groups, ssh, growpart]\n",
    "etc/cloud/cloud.cfg.d/05_logging.cfg": "# Amazon's\n",
    "home/ec2-user/.bashrc": "# Amazon's\n",
    "usr/lib/systemd/system/sshd.service": "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
    "usr/lib/systemd/system/amazon-ssm-agent.service": "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
}
REMOVED = {
    "etc/ssh/ssh_host_ed25519_key": "this instance's",
    "etc/ssh/ssh_host_ed25519_key.pub": "this instance's",
    "etc/sudoers.d/90-cloud-init-users": "ec2-user ALL=(ALL) NOPASSWD:ALL\n",
    "home/ec2-user/.bash_history": "history\n",
    "home/ec2-user/.ssh/authorized_keys": "ssh-ed25519 the key of the bake\n",
    "root/.ssh/authorized_keys": "ssh-ed25519 the key of the bake\n",
    "var/lib/cloud/instances/i-0123456789abcdef0/user-data.txt": "",
    "var/lib/systemd/random-seed": "not random any more\n",
    "var/log/journal/0123456789abcdef0123456789abcdef/system.journal": "logs\n",
}
EMPTIED = {"etc/machine-id": "0123456789abcdef0123456789abcdef\n", "var/log/amazon/ssm/amazon-ssm-agent.log": "logs\n", "var/log/secure": "logs\n", "var/log/wtmp": "logins\n"}

WITHIN = """
    set -e
    {swap}
    exec unshare --mount --propagation private sh -ec '
        mount -t overlay overlay -o "lowerdir={top}:{tree},upperdir={upper},workdir={work}" "{root}"
        mount -t proc proc "{root}/proc"
        mount --bind /dev "{root}/dev"
        mount --bind /var/tmp "{root}/var/tmp"
        # These directories exist where the firmware is UEFI and where systemd runs.
        mount -t tmpfs tmpfs "{root}/sys"
        mount -t tmpfs tmpfs "{root}/run"
        mkdir -p "{root}/{firmware}" "{root}/run/systemd/system"
        # No systemd runs there, so systemctl changes the files itself.
        SYSTEMD_OFFLINE=1 exec chroot "{root}" "$@"
    ' sh "$@"
"""


class AmazonLinux:
    """One instance's disk, as it is after its first start, with these units enabled and other files if given."""

    def __init__(self, directory, tree, enabled=("amazon-ssm-agent.service", "sshd.service"), files=()):
        self.directory, self.tree = directory, tree
        for path, text in {**KEPT, **REMOVED, **EMPTIED, **dict(files)}.items():
            place = directory / "top" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        wanted = directory / "top/etc/systemd/system/multi-user.target.wants"
        wanted.mkdir(parents=True)
        for unit in enabled:
            (wanted / unit).symlink_to(f"/usr/lib/systemd/system/{unit}")

    def within(self, program=None, firmware="sys/firmware/efi"):
        """Returns the script that runs a command in there, and takes back what the last one changed. `program` replaces the
        uploaded one, if that is for another architecture."""
        for name in ("upper", "work", "root"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
            (self.directory / name).mkdir()
        places = {name: self.directory / name for name in ("top", "upper", "work", "root")}
        return WITHIN.format(tree=self.tree, firmware=firmware, swap=f"cp '{program}' /var/tmp/mlflow-appliance.program" if program else "", **places)

    def changes(self):
        """Returns the content of each path that was written or linked, and None for one that was removed."""
        upper, found = self.directory / "upper", {}
        for path in sorted(upper.rglob("*")):
            name, mode = str(path.relative_to(upper)), path.lstat().st_mode
            if stat.S_ISCHR(mode):
                found[name] = None
            elif stat.S_ISLNK(mode):
                found[name] = f"-> {path.readlink()}"
            elif stat.S_ISREG(mode):
                found[name] = path.read_bytes()
        return found

    def inside(self, path):
        return Path(self.directory, "upper", path)
