"""A serial console: every line with the time at which it came, and the steps of a start that can be seen there."""

import re
import threading
import time

ESCAPES = re.compile(r"\x1b(\[[0-9;?=]*[A-Za-z]|c|[()][A-Z0-9])")
# systemd cuts off what is longer than a line.
STEPS = {
    "the firmware starts the UKI": "BdsDxe: starting",
    "the kernel starts": "EFI stub: Loaded initrd",
    "the root is mounted": "Mounted sysroot.mount",
    "the system starts": "Welcome to Debian",
    "the partition has grown": "Finished growpart.service",
    "the root has grown": "Finished systemd-growfs-root.service",
    "the network is there": "Reached target network-online.target",
    "the configuration is there": "Finished mlflow-appliance-bootstra",
    "the appliance is ready": "Started mlflow-appliance.service",
    "CloudFormation is signalled": "readiness signal to CloudFormation",
    "Auto Scaling is signalled": "readiness signal to Auto Scaling",
}


class Console(threading.Thread):
    """Reads `stream` to its end, and keeps a copy in the file `path`."""

    def __init__(self, stream, path):
        super().__init__(daemon=True)
        self.stream, self.path = stream, path
        self.began, self.lines = time.monotonic(), []
        self.start()

    def run(self):
        with open(self.path, "w") as copy:
            for line in self.stream:
                text = ESCAPES.sub("", line.decode(errors="replace")).rstrip()
                if text:
                    self.lines.append((time.monotonic() - self.began, text))
                    print(f"{self.lines[-1][0]:7.1f} {text}", file=copy, flush=True)

    def text(self):
        return "\n".join(text for _, text in self.lines)

    def steps(self):
        """The steps that were seen, each with its seconds since the power was switched on."""
        first = {what: next((seconds for seconds, text in self.lines if mark in text), None) for what, mark in STEPS.items()}
        return {what: round(seconds, 1) for what, seconds in first.items() if seconds is not None}

    def tail(self, count=40):
        return "\n".join(f"{seconds:7.1f} {text}" for seconds, text in self.lines[-count:])
