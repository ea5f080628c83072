"""Who is compared: how each peer is told of the upstream, and started."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import processes

# What is asked for, wherever the answer is small.
CALL = "/api/2.0/mlflow/runs/get?run_id=0123456789abcdef0123456789abcdef"
ARN = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/bench"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "session-token-of-the-benchmarks",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Running:
    """A peer that answers. `direct` is the upstream itself and has no process of its own."""

    port: int
    process: processes.Process | None = None
    headers: dict = field(default_factory=dict)
    is_tls: bool = False
    signs: bool = False
    first_answer_ms: float | None = None


class Missing(Exception):
    """Why a peer cannot take part."""


class Scene:
    """What all peers share: a directory, the upstream and the appliance's binary."""

    def __init__(self, directory, upstream, appliance):
        self.directory, self.upstream, self.appliance = directory, upstream, appliance

    def started(self, name, arguments, port, environment=None, headers=None, signs=False):
        """Starts a peer and waits for its first answer; a fresh process, which the caller ends."""
        process = processes.Process(arguments, environment or {}, self.directory / f"{name}.log")
        try:
            seconds = process.first_answer(port, CALL, headers or {})
        except RuntimeError:
            process.__exit__()
            raise
        return Running(port, process, headers or {}, signs=signs, first_answer_ms=seconds * 1000)


def direct(scene):
    return Running(scene.upstream.port, is_tls=True)


def nginx(scene):
    """TLS to the upstream over kept connections, no signature, no log: the practical limit."""
    binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if not binary:
        raise Missing("nginx is not installed: apt-get install nginx-light")
    port, directory = processes.free_port(), scene.directory / "nginx"
    directory.mkdir(exist_ok=True)
    values = {
        "ARN": ARN,
        "CA": scene.upstream.authority,
        "DIRECTORY": directory,
        "PORT": port,
        "UPSTREAM": f"127.0.0.1:{scene.upstream.port}",
    }
    text = Path(__file__).with_name("nginx.conf").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    (directory / "nginx.conf").write_text(text)
    return scene.started("nginx", [binary, "-p", str(directory), "-c", str(directory / "nginx.conf")], port)


def appliance(scene, name="appliance", *options):
    """It authenticates each caller by a token and signs each request."""
    tokens, token = scene.directory / "tokens.toml", scene.directory / "token"
    if not token.exists():
        command = [scene.appliance, "token", "new", "--file", str(tokens), "--name", "bench", "--role", "write", "--json"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise RuntimeError(f"`appliance token new` ended with {made.returncode}: {made.stderr}")
        token.write_text(json.loads(made.stdout)["token"])
    port = processes.free_port()
    arguments = [scene.appliance, "serve", "--listen", f"127.0.0.1:{port}", "--resource-arn", ARN]
    arguments += ["--upstream-endpoint", f"https://127.0.0.1:{scene.upstream.port}"]
    arguments += ["--ca-file", str(scene.upstream.authority), "--tokens", str(tokens), *options]
    # 256 MiB are sent as a call of the API, since the artifact gateway would sign for S3 and nobody else has one.
    arguments += ["--api-body-size-limit", "1GiB"]
    headers = {"authorization": f"Bearer {token.read_text()}"}
    return scene.started(name, arguments, port, CREDENTIALS, headers, signs=True)


# In the order of the tables.
PEERS = {
    "direct": direct,
    "nginx": nginx,
    "appliance": lambda scene: appliance(scene, "appliance", "--log-filter", "warn"),
    "appliance-log": lambda scene: appliance(scene, "appliance-log"),
}
