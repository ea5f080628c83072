"""The systems that are rehearsed on: a Debian onto which the appliance is installed, and a NixOS that has the module."""

import shutil
from pathlib import Path

from machine import run


class Debian:
    """A tree with systemd."""

    program, can_uninstall, arguments = "/usr/local/bin/appliance", True, []

    def __init__(self, tree, appliance):
        self.tree, self.appliance = tree, appliance

    def make(self, made):
        run("cp", "-a", str(self.tree), str(made))
        run(str(self.appliance), "bootstrap", "install", "--from", "instance", "--root", str(made))


class NixOS:
    """The system that `config.system.build.toplevel` is. It makes everything but the store when it starts."""

    program, can_uninstall, arguments = "/run/current-system/sw/bin/appliance", False, ["--bind-ro=/nix/store"]

    def __init__(self, toplevel):
        self.toplevel = toplevel

    def make(self, made):
        for name in ("dev", "etc/ssl/certs", "nix/store", "proc", "run", "sbin", "sys", "tmp", "usr", "var"):
            (made / name).mkdir(parents=True)
        shutil.copy(self.toplevel / "etc/os-release", made / "etc/os-release")
        (made / "sbin/init").symlink_to(self.toplevel / "init")


def system(tree, appliance):
    return NixOS(Path(tree).resolve()) if (tree / "nixos-version").exists() else Debian(tree, appliance)
