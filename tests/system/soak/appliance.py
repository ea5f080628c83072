"""The appliance as a process under load: starts, watches and ends it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time

ARN = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/soak"


class Appliance:
    """One process. `stop` ends it gracefully and returns its last output."""

    number = 0

    def __init__(self, scene, binary, upstream, listener=None, arguments=(), before=(), environment=None):
        Appliance.number += 1
        self.log = scene / f"appliance-{Appliance.number}.log"
        self.socket_path = scene / f"notify-{Appliance.number}"
        self.binary, self.upstream, self.listener = binary, upstream, listener
        self.arguments, self.before = list(arguments), list(before)
        self.environment = environment or {}
        self.port = listener.getsockname()[1] if listener else free_port()

    async def start(self):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(self.socket_path))
        notify.setblocking(False)
        environment = {
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SM_MLFLOW_RESOURCE_ARN": ARN,
            "NOTIFY_SOCKET": str(self.socket_path),
            "PATH": os.environ["PATH"],
            **self.environment,
        }
        command = [*self.before, str(self.binary), "serve", "--listen", f"127.0.0.1:{self.port}", "--log-format", "json"]
        command += ["--log-filter", "info,access=off", "--upstream-endpoint", f"http://127.0.0.1:{self.upstream}"]
        inherited = ()
        if self.listener:
            # As systemd passes a socket: number 3, and a variable that says to whom.
            shell = f'exec 3<&{self.listener.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
            command, inherited = ["bash", "-c", shell, "bash", *command], (self.listener.fileno(),)
        with open(self.log, "wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, *self.arguments, env=environment, stdin=asyncio.subprocess.DEVNULL,
                stdout=log, stderr=log, pass_fds=inherited,
            )
        deadline = time.monotonic() + 20
        while b"READY=1" not in (await self.heard(notify)):
            if time.monotonic() > deadline or self.process.returncode is not None:
                raise SystemExit(f"the appliance did not become ready:\n{self.log.read_text()}")
        notify.close()
        return self

    async def heard(self, notify):
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(notify, 4096), 1)
        return b""

    def signal(self, number):
        self.process.send_signal(number)

    async def stop(self):
        """Ends the process with SIGTERM; returns its exit code and the number of truncated requests."""
        self.signal(signal.SIGTERM)
        code = await asyncio.wait_for(self.process.wait(), 60)
        stopped = [event for event in self.events() if event["message"] == "stopped"]
        return code, stopped[-1]["in_flight"] if stopped else None

    def events(self):
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def kill(self):
        if self.process.returncode is None:
            self.process.kill()

    def resident(self):
        """The resident memory of the process in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
