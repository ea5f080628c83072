"""The quick kind of machine: the real systemd as PID 1 over a tree, in a network namespace of its own.

Changes to the tree are kept from one start to the next, as on a disk, and are thrown away with the machine.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from machine import Machine


class Container(Machine):
    """Its disk lives below `directory`, over `tree`, which `system` has made. Machines that run at once have different names."""

    def __init__(self, tree, directory, namespace, system, name="rehearsal"):
        self.name = name
        self.arguments, self.program = system.arguments, system.program
        self.directory, self.namespace, self.leader = Path(directory), namespace, None
        shutil.rmtree(self.directory, ignore_errors=True)
        for name in ("upper", "work", "root"):
            (self.directory / name).mkdir(parents=True)
        self.tree, self.upper, self.starts = tree, self.directory / "upper", 0

    def write(self, path, text, mode=0o644):
        """Puts a file onto the disk of the machine, which is off."""
        place = self.upper / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def start(self, arguments=()):
        """Starts it; returns as soon as systemd answers."""
        self.starts += 1
        self.console = self.directory / f"console-{self.starts}"
        nspawn = [
            "systemd-nspawn", "--quiet", f"--directory={self.directory}/root", "--boot", "--register=no", "--keep-unit",
            f"--network-namespace-path=/run/netns/{self.namespace}", f"--machine={self.name}", "--console=read-only",
            "--link-journal=no", *self.arguments, *arguments,
        ]  # fmt: skip
        # Its own mounts, and control groups of the kind that systemd wants, wherever this runs.
        script = """
            set -e
            mount -t overlay overlay -o lowerdir="$1",upperdir="$2/upper",workdir="$2/work" "$2/root"
            umount -l /sys/fs/cgroup
            mount -t cgroup2 cgroup2 /sys/fs/cgroup
            mkdir -p "/sys/fs/cgroup/$3"
            echo $$ > "/sys/fs/cgroup/$3/cgroup.procs"
            shift 3
            exec "$@"
        """
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", self.tree, self.directory, self.name]
        with open(self.console, "w") as console:
            self.process = subprocess.Popen([*command, *nspawn], stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the machine did not start: {self.console.read_text()}")
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            for child in children:
                self.leader = int(child)
                if self.inside("systemctl", "show", "-p", "Version", check=False).returncode == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"systemd does not answer: {self.console.read_text()}")

    def execute(self, command):
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, cwd="/")

    def kill(self):
        if self.process and self.process.poll() is None:
            if self.leader and os.path.exists(f"/proc/{self.leader}"):
                os.kill(self.leader, signal.SIGKILL)
            self.process.kill()
            self.process.wait(10)
