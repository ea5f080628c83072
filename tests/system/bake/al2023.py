"""The bake on Amazon Linux 2023. It changes the disk that becomes the image as it should, and stops where it cannot."""

import re
import shutil
import subprocess
from pathlib import Path

import either
import recorded
import yaml
from amazon_linux import EMPTIED, REMOVED, AmazonLinux
from scene import bake, clean, directory, holds, instance, root, same

VERSION = re.search(r'^version = "(.*)"$', (root / "Cargo.toml").read_text(), re.M)[1]
SCRIPT = (root / "packer/al2023/install.sh").read_text()
UNITS = ["mlflow-appliance-bootstrap.service", "mlflow-appliance-signal.service", "mlflow-appliance.service", "mlflow-appliance.socket"]
MASKED = ["ec2-instance-connect.service", "sshd.service", "sshd.socket"]
# `systemd-sysusers` writes these when it makes the user, and keeps copies of them.
ACCOUNTS = {f"etc/{name}{kept}" for name in ("passwd", "group", "shadow", "gshadow") for kept in ("", "-")} | {"etc/.pwd.lock"}
CLOUD_INIT = {
    "allow_userdata": False,
    "vendor_data": {"enabled": False},
    "vendor_data2": {"enabled": False},
    "cloud_init_modules": ["growpart", "resizefs", "set_hostname", "update_hostname"],
    "cloud_config_modules": [],
    "cloud_final_modules": [],
}
# Parts of the script, and what a broken copy has in their place.
BROKEN = {
    "systemctl mask sshd.service": "systemctl mask",
    "/etc/ssh/ssh_host_* ": "",
    "/home/*/.ssh/authorized_keys ": "",
    " /etc/sudoers.d/90-cloud-init-users": "",
    "allow_userdata: false\n": "",
    ": >/etc/machine-id\n": "",
    "find /var/log": "true",
    "--from instance": "--from file",
    "sync\n": "touch /etc/other\n",
}


class Bake:
    def __init__(self, program, tree):
        self.program, self.disk = Path(program).absolute(), AmazonLinux(directory / "amazon-linux", Path(tree).absolute())

    def start(self, program=None, native=None, **options):
        return bake("al2023", within=self.disk.within(native), program=str(program or self.program), revision=recorded.REVISION, **options)

    def foreign(self):
        """The program, with a header that says that it is for aarch64."""
        path = directory / "aarch64"
        content = bytearray(self.program.read_bytes())
        content[18:20] = (183).to_bytes(2, "little")
        path.write_bytes(content)
        return path

    def succeeds(self, architecture, temporary_key):
        # This machine cannot run a program for another architecture, so that it installs its own in its place.
        program, native = (self.program, None) if architecture == "x86_64" else (self.foreign(), self.program)
        before = either.succeeds(f"Amazon Linux for {architecture}", self.start, program=program, native=native, architecture=architecture, temporary_key=temporary_key)
        self.check_disk()
        recorded.check("al2023", architecture, VERSION, {"/dev/xvda": "8"}, "/dev/xvda", "8", before)

    def check_disk(self):
        """Compares every file that changed on the disk with what the bake should leave."""
        changes = self.disk.changes()
        holds("the program is copied", changes.pop("usr/local/bin/appliance", None) == self.program.read_bytes())
        expected = {path: b"" for path in EMPTIED}
        expected |= {f"etc/systemd/system/multi-user.target.wants/{unit}": f"-> /etc/systemd/system/{unit}" for unit in UNITS}
        expected |= {f"etc/systemd/system/{unit}": "-> /dev/null" for unit in MASKED}
        same("the emptied and linked files", {path: changes.get(path) for path in expected}, expected)
        # A directory that was removed hides what was in it.
        gone = {path for path in REMOVED if any(str(place) in changes and changes[str(place)] is None for place in (Path(path), *Path(path).parents))}
        same("files that should have been removed", set(REMOVED) - gone, set())
        configuration = "etc/cloud/cloud.cfg.d/99-mlflow-appliance.cfg"
        same("the configuration of cloud-init", yaml.safe_load(changes[configuration]), CLOUD_INIT)
        installed = {f"etc/systemd/system/{unit}" for unit in UNITS} | {f"etc/systemd/system/{unit}.d/instance.conf" for unit in UNITS[2:]}
        installed |= {"etc/sysusers.d/mlflow-appliance.conf", "etc/mlflow-appliance/appliance.toml", "etc/mlflow-appliance/tokens.toml"}
        same("the installed files", installed - set(changes), set())
        removed = {path for path, now in changes.items() if now is None}
        logs = {path for path, now in changes.items() if path.startswith("var/log/") and now == b""}
        rest = set(changes) - set(expected) - installed - removed - logs - ACCOUNTS - {configuration}
        same("other changed files", rest, set())
        same("other removed files", {path for path in removed if not any(path == one or one.startswith(f"{path}/") for one in REMOVED)}, set())
        same("the program", self.disk.inside("usr/local/bin/appliance").stat().st_mode & 0o7777, 0o755)
        same("the directory of secrets", self.disk.inside("etc/mlflow-appliance/secrets").stat().st_mode & 0o7777, 0o700)

    def elsewhere(self):
        either.copied_and_shared("Amazon Linux", lambda **options: self.start(volume_size=10, **options), {"/dev/xvda": "10"})

    def failures(self):
        """The script says what is wrong, changes nothing and takes away what was uploaded."""
        either.fails("a program for another architecture", "set architecture and program to match", lambda: self.start(program=self.foreign()))
        clean("a program for another architecture")

        def program(name, text):
            path = directory / name
            path.write_text(f"#!/bin/sh\n{text}\n")
            return path

        broken = "case $1 in --version) echo appliance {} ;; *) echo '[Service]\nExecStart=relative' >/etc/systemd/system/mlflow-appliance.service ;; esac"
        debian = AmazonLinux(directory / "debian", self.disk.tree, files={"etc/os-release": "ID=debian\nVERSION_ID=12\nPRETTY_NAME=Debian\n"})
        minimal = AmazonLinux(directory / "minimal", self.disk.tree, enabled=["sshd.service"])
        for what, phrase, chosen, within in [
            ("another version", f"`appliance 9.9.9`, and the source of this template {VERSION}", program("old", "echo appliance 9.9.9"), self.disk.within()),
            ("a broken unit", "systemd does not accept the units", program("broken", broken.format(VERSION)), self.disk.within()),
            ("another system", "this is Debian, not Amazon Linux 2023", self.program, debian.within()),
            ("no UEFI", "did not boot with UEFI", self.program, self.disk.within(firmware="sys/firmware/acpi")),
            ("no agent", "the agent of Systems Manager is missing", self.program, minimal.within()),
        ]:
            self.refuses(what, phrase, chosen, within)

    def script(self, program, within, text=SCRIPT):
        """Runs the script alone, as Packer would."""
        instance.forget()
        instance.within.write_text(within)
        shutil.copy(program, "/var/tmp/mlflow-appliance.program")
        Path("/var/tmp/mlflow-appliance.sh").write_text(text)
        command = [instance.sudo, "bash", "/var/tmp/mlflow-appliance.sh", "/var/tmp/mlflow-appliance", VERSION]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def broken_copies(self):
        """The comparison of the disk has to notice each broken copy of the script."""
        for part, instead in BROKEN.items():
            same(f"the script has {part!r} once", SCRIPT.count(part), 1)
            done = self.script(self.program, self.disk.within(), SCRIPT.replace(part, instead))
            same(f"the script with {instead!r} for {part!r} {done.stderr}", done.returncode, 0)
            try:
                self.check_disk()
            except AssertionError:
                continue
            raise AssertionError(f"the script may have {instead!r} for {part!r}")

    def refuses(self, what, phrase, program, within):
        done = self.script(program, within)
        same(f"{what} fails {done.stdout}{done.stderr}", done.returncode, 1)
        holds(f"{what} is explained", phrase in done.stderr, done.stderr)
        same(f"left after {what}", instance.leftovers(), [])

    def common(self):
        either.refused(self.start)
        either.interrupted(self.start)
