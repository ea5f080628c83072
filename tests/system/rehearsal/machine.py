"""A machine under test: it has a disk of its own, is started and stopped, and runs commands.

`Container` in container.py is the quick kind, `Guest` in ../boot/guest.py the whole one. The checks are the same for both.
"""

import contextlib
import json
import subprocess
import sys
import time

UNITS = ["mlflow-appliance-bootstrap", "mlflow-appliance", "mlflow-appliance-signal"]


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Machine:
    """A kind of machine has `program`, which is where the appliance is on it, `start`, `execute`, `kill` and, while it runs,
    `process`."""

    # Seconds from its power to an outcome, to its end after `poweroff`, and between two looks at it.
    start_limit, stop_limit, pause = 40, 30, 0.05
    process = None

    def inside(self, *command, check=True):
        """Runs a command on the machine."""
        done = self.execute(command)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def shows(self, units, *properties):
        """Properties of units, all of one moment."""
        shown = self.inside("systemctl", "show", *units, *(f"-p{name}" for name in properties)).stdout
        return [dict(line.split("=", 1) for line in unit.splitlines()) for unit in shown.split("\n\n")]

    def show(self, unit, *properties):
        return self.shows([unit], *properties)[0]

    def journal(self, unit=None):
        chosen = ["-u", unit] if unit else []
        return self.inside("journalctl", "--no-pager", "-b", "-o", "cat", *chosen, check=False).stdout

    def outcome(self, limit=None):
        """`ready` or `failed`, or `hung` after so many seconds; and how many seconds that took after the network."""
        deadline = time.monotonic() + (limit or self.start_limit)
        while time.monotonic() < deadline:
            properties = ["ActiveState", "SubState", "Result", "ActiveEnterTimestampMonotonic"]
            bootstrap, serve, signalled, online = self.shows([*UNITS, "network-online.target"], *properties)
            if signalled["ActiveState"] == "active" and serve["ActiveState"] == "active":
                return "ready", (int(serve[properties[3]]) - int(online[properties[3]])) / 1e6
            if bootstrap["Result"] != "success" and bootstrap["SubState"] in ("auto-restart", "failed"):
                return "failed", None
            time.sleep(self.pause)
        return "hung", None

    def record(self):
        """Returns what `bootstrap` has written about its last run."""
        return json.loads(self.read("/var/lib/mlflow-appliance/bootstrap.json"))

    def read(self, path):
        """A file of the machine, which is on."""
        return self.inside("cat", path).stdout

    def poweroff(self):
        self.inside("systemctl", "poweroff", check=False)

    def stop(self):
        """Shuts it down in order; pulls the plug where that does not work."""
        if self.process is None:
            return
        self.poweroff()
        try:
            self.process.wait(self.stop_limit)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def explain(self):
        """Prints what a person would look at after a failure."""
        for unit in UNITS:
            last = "\n".join(self.journal(unit).splitlines()[-12:])
            print(f"{unit}:\n{last}", file=sys.stderr)


@contextlib.contextmanager
def used(one):
    """The machine, which explains a failure and is always stopped."""
    try:
        yield one
        one.stop()
    except BaseException:
        if one.process:
            one.explain()
        raise
    finally:
        one.kill()
