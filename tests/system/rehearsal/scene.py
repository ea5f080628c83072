"""Makes what is around a machine: a cloud with AWS's names and a metadata service, and a client that reaches only the machine.

Each of them is a network namespace. That of the machine has a wire to the cloud and one to the client.
"""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from figures import holds
from machine import run

# SIGTERM ends the test and what it has started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
here, venv = Path(__file__).parent, Path(sys.executable).parent
URL = "http://10.78.0.1:5000"
OF_AWS = ("api.sagemaker", "autoscaling", "cloudformation", "elasticloadbalancing", "logs", "s3", "secretsmanager", "ssm", "sts")
SERVICES = [f"{name}.us-east-1.amazonaws.com" for name in OF_AWS]
SERVICES += ["us-east-1.experiments.sagemaker.aws", "mlflow.sagemaker.us-east-1.app.aws"]
TAGS = {"Name": "x", "appliance:stack-name": "mlflow", "appliance:logical-id": "Group", "appliance:auto-scaling-group": "asg", "appliance:log-format": "json"}


class Scene:
    """`directory` is empty. `network` and `start_cloud` leave on `stack` what undoes them."""

    def __init__(self, directory, stack):
        self.directory, self.stack = directory, stack
        self.cloud, self.machine, self.client = (f"rehearsal{os.getpid()}-{part}" for part in ("cloud", "machine", "client"))
        self.environment = {"PATH": f"{venv}:{os.environ['PATH']}", "HOME": str(directory), "MLFLOW_DISABLE_TELEMETRY": "true"}

    def network(self):
        for one in (self.cloud, self.machine, self.client):
            self.stack.callback(subprocess.run, ["ip", "netns", "del", one], capture_output=True)
            run("ip", "netns", "add", one)
            run("ip", "-n", one, "link", "set", "lo", "up")
        for wire, other, ours, theirs in [("aws", self.cloud, "10.77.0.2/24", "10.77.0.1/24"), ("lan", self.client, "10.78.0.1/24", "10.78.0.2/24")]:
            run("ip", "-n", self.machine, "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", other)
            run("ip", "-n", self.machine, "addr", "add", ours, "dev", wire)
            run("ip", "-n", other, "addr", "add", theirs, "dev", "eth0")
            run("ip", "-n", self.machine, "link", "set", wire, "up")
            run("ip", "-n", other, "link", "set", "eth0", "up")
        run("ip", "-n", self.cloud, "addr", "add", "169.254.169.254/32", "dev", "lo")
        run("ip", "-n", self.machine, "route", "add", "169.254.169.254/32", "dev", "aws")

    def start_cloud(self, whole, mode="tracking", **different):
        """`whole` is an appliance with the sandbox; `different` is what cloud.json says otherwise."""
        self.tell()
        command = ["ip", "netns", "exec", self.cloud, str(whole), "sandbox", "--json", "--mode", mode, "--credential-lifetime", "1h"]
        log = open(self.directory / "sandbox.log", "w")
        sandbox = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=self.environment, text=True)
        self.stack.callback(stop, sandbox)
        self.sandbox = json.loads(sandbox.stdout.readline())
        cloud = {"sandbox": self.sandbox, "address": "10.77.0.1", "moto": 5555, "parameters": {"/rehearsal/workers": "1", "/rehearsal/drain-timeout": "5s"}}
        cloud = {key: value for key, value in (cloud | different).items() if value is not None}
        (self.directory / "cloud.json").write_text(json.dumps(cloud))
        command = ["ip", "netns", "exec", self.cloud, sys.executable, str(here / "cloud.py"), str(self.directory)]
        services = subprocess.Popen(command, stdout=open(self.directory / "cloud.log", "w"), stderr=subprocess.STDOUT, env=self.environment)
        self.stack.callback(stop, services)
        deadline = time.monotonic() + 60
        while not (self.directory / "up").exists():
            if services.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.directory / "cloud.log").read_text())
            time.sleep(0.05)

    def image(self, system):
        """The tree of a system with the appliance installed, as an image has it, and with this cloud's names and authority."""
        made = self.directory / "image"
        system.make(made)
        (made / "etc/hosts").write_text("127.0.0.1 localhost\n" + "".join(f"10.77.0.1 {one}\n" for one in SERVICES))
        authority = (self.directory / "authority.pem").read_text()
        with open(made / "etc/ssl/certs/ca-certificates.crt", "a") as bundle:
            bundle.write(authority)
        return made

    def tell(self, user_data=None, tags=None, faults=None, seconds=None):
        """Sets what the metadata service says from now on, and what is wrong with AWS."""
        state = {"since": time.time(), "faults": faults or {}, "tags": tags or {}}
        if seconds is not None:
            state["for"] = seconds
        if user_data is not None:
            raw = user_data if isinstance(user_data, bytes) else user_data.encode()
            state["user_data"] = base64.b64encode(raw).decode()
        self.replace("state.json", state)

    def replace(self, name, document):
        """Writes a file that others read again and again, and never see half of."""
        new = self.directory / f"{name}.new"
        new.write_text(json.dumps(document))
        new.rename(self.directory / name)

    def calls(self):
        """The calls of CloudFormation and Auto Scaling since this was last asked."""
        path, read = self.directory / "told.jsonl", self.directory / "told.read"
        if not path.exists():
            return []
        path.rename(read)
        lines = [json.loads(line) for line in read.read_text().splitlines()]
        holds("whoever signals proves who it is", all(line["proven"] for line in lines), lines)
        return lines

    def told(self):
        """Returns what CloudFormation and Auto Scaling were told since this was last asked."""
        lines = self.calls()
        return [(line["Action"], line.get("Status") or line.get("LifecycleActionResult")) for line in lines]

    def configuration(self, **changes):
        """User data as an operator writes it."""
        values = {
            "resource-arn": self.sandbox["arns"]["tracking"], "role-arn": self.sandbox["role_arn"], **changes,
            # The sandbox's S3 knows buckets by path, and the client reaches no S3.
            "artifact-store": "auto", "artifact-access": "proxied", "s3-endpoint": "https://s3.us-east-1.amazonaws.com",
        }  # fmt: skip
        lines = [f'{key} = "{value}"' for key, value in values.items()]
        return "\n".join([*lines, "", "[bootstrap]", 'parameters = "/rehearsal"', 'lifecycle-hook = "boot"', ""])

    def client_runs(self, program, *arguments, **variables):
        """A program, by its path or its name beside this one, as a process of the client's host."""
        command = ["ip", "netns", "exec", self.client, sys.executable, str(here / program), *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**self.environment, **variables})

    def get(self, path, token=None):
        """A request from the client, for a path of the machine or a URL; status and body."""
        code = (
            "import sys,urllib.request as u,urllib.error as e\n"
            "r=u.Request(sys.argv[1],headers={'Authorization':'Bearer '+sys.argv[2]} if sys.argv[2] else {})\n"
            "try:\n a=u.urlopen(r,timeout=5); print(a.status); print(a.read().decode())\n"
            "except e.HTTPError as a: print(a.code); print(a.read().decode())\n"
            "except OSError as a: print(0); print(a)\n"
        )
        output = run("ip", "netns", "exec", self.client, sys.executable, "-c", code, path if "://" in path else URL + path, token or "")
        status, _, body = output.partition("\n")
        return int(status), body

    def until_healthy(self, limit=20):
        """As a load balancer decides: two good answers in a row."""
        deadline, good = time.monotonic() + limit, 0
        while good < 2:
            good = good + 1 if self.get("/_appliance/healthz")[0] == 200 else 0
            holds("the load balancer finds it healthy in time", time.monotonic() < deadline)
            time.sleep(0.1)


def stop(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
