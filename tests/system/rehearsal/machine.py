"""A machine that boots: the real systemd as PID 1 over a tree, in a network namespace of its own.

Changes to the tree are kept from one start to the next, as on a disk, and are thrown away with the machine.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

UNITS = ["mlflow-appliance-bootstrap", "mlflow-appliance", "mlflow-appliance-signal"]


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Machine:
    """One machine. Its disk lives below `directory`."""

    def __init__(self, tree, directory, namespace, arguments=()):
        self.arguments = arguments
        self.directory, self.namespace, self.process, self.leader = Path(directory), namespace, None, None
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
            f"--network-namespace-path=/run/netns/{self.namespace}", "--machine=rehearsal", "--console=read-only",
            "--link-journal=no", *self.arguments, *arguments,
        ]  # fmt: skip
        # Its own mounts, and control groups of the kind that systemd wants, wherever this runs.
        script = """
            set -e
            mount -t overlay overlay -o lowerdir="$1",upperdir="$2/upper",workdir="$2/work" "$2/root"
            umount -l /sys/fs/cgroup
            mount -t cgroup2 cgroup2 /sys/fs/cgroup
            mkdir -p /sys/fs/cgroup/rehearsal
            echo $$ > /sys/fs/cgroup/rehearsal/cgroup.procs
            shift 2
            exec "$@"
        """
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", self.tree, self.directory]
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

    def inside(self, *command, check=True, **options):
        """Runs a command on the machine."""
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--"]
        done = subprocess.run([*enter, *command], capture_output=True, text=True, cwd="/", **options)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def show(self, unit, *properties):
        """Properties of a unit."""
        lines = self.inside("systemctl", "show", unit, *(f"-p{name}" for name in properties)).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def journal(self, unit=None):
        chosen = ["-u", unit] if unit else []
        return self.inside("journalctl", "--no-pager", "-b", "-o", "cat", *chosen, check=False).stdout

    def outcome(self, limit):
        """`ready` or `failed`, or `hung` after so many seconds; and how many seconds that took after the network."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            bootstrap, serve, signalled = (self.show(unit, "ActiveState", "SubState", "Result", "ActiveEnterTimestampMonotonic") for unit in UNITS)
            if signalled["ActiveState"] == "active" and serve["ActiveState"] == "active":
                online = self.show("network-online.target", "ActiveEnterTimestampMonotonic")
                moment = lambda unit: int(unit["ActiveEnterTimestampMonotonic"]) / 1e6
                return "ready", moment(serve) - moment(online)
            if bootstrap["Result"] != "success" and bootstrap["SubState"] in ("auto-restart", "failed"):
                return "failed", None
            time.sleep(0.05)
        return "hung", None

    def record(self):
        """What `bootstrap` has written about its last run."""
        return json.loads(self.read("/var/lib/mlflow-appliance/bootstrap.json"))

    def read(self, path):
        """A file of the machine, which is on."""
        return self.inside("cat", path).stdout

    def stop(self):
        """Shuts it down in order; pulls the plug where that does not work."""
        if self.process is None:
            return
        self.inside("systemctl", "poweroff", check=False)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def kill(self):
        if self.process and self.process.poll() is None:
            if self.leader and os.path.exists(f"/proc/{self.leader}"):
                os.kill(self.leader, signal.SIGKILL)
            self.process.kill()
            self.process.wait(10)
