"""Provides what all peers share: the upstream, where things are, and how a process becomes a peer that answers."""

import functools
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import processes

ROOT = Path(__file__).resolve().parents[2]
# The path that a load asks for, wherever the answer is small.
CALL = "/api/2.0/mlflow/runs/get?run_id=0123456789abcdef0123456789abcdef"
ARN = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/bench"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "session-token-of-the-benchmarks",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Missing(Exception):
    """Why a peer cannot take part."""


@dataclass
class Running:
    """A peer that answers. The upstream itself has no process of its own here."""

    port: int
    process: processes.Process | None = None
    headers: dict = field(default_factory=dict)
    is_tls: bool = False
    signs: bool = False
    # True if each body goes to the upstream in S3's signed chunks.
    signs_chunks: bool = False
    # The bytes of its answer, where that is not the upstream's.
    received: int | None = None
    # MLflow's client signs by itself, with the plugin.
    is_plugin: bool = False
    first_answer_ms: float | None = None

    @property
    def url(self):
        return f"{'https' if self.is_tls else 'http'}://127.0.0.1:{self.port}"


class Scene:
    """A directory for what is made, the upstream, and the appliance's binary."""

    def __init__(self, directory, upstream, appliance):
        self.directory, self.upstream, self.appliance = directory, upstream, appliance
        # The command that runs a peer, if it does not run by itself.
        self.wrapper = []

    def started(self, name, arguments, port, environment=None, headers=None, signs=False, directory=None):
        """Starts a peer and waits for its first answer; a fresh process, which the caller ends."""
        # Valgrind's processor is fifty times as slow.
        patience = 300 if self.wrapper else 30
        arguments, log = [*self.wrapper, *arguments], self.directory / f"{name}.log"
        process = processes.Process(arguments, environment or {}, log, directory, patience=patience)
        try:
            seconds = process.first_answer(port, CALL, headers or {})
        except RuntimeError:
            process.__exit__()
            raise
        return Running(port, process, headers or {}, signs=signs, first_answer_ms=seconds * 1000)

    def filled(self, template, path, **values):
        """Writes a configuration file in which `@NAME@` stands for a value."""
        text = Path(__file__).with_name(template).read_text()
        for name, value in {"ARN": ARN, "CA": self.upstream.authority, **values}.items():
            text = text.replace(f"@{name}@", str(value))
        path.write_text(text)
        return str(path)


def shell(script):
    """Returns what a script prints that has the functions of `tests/system/tools.sh`. The functions report on standard error."""
    command = ["bash", "-euc", f". tests/system/tools.sh\n{script}"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Missing(f"`{script.splitlines()[0]}` ended with {done.returncode}")
    return done.stdout.strip()


@functools.cache
def python(*lists):
    """The directory of programs of a Python environment with what the lists of requirements name."""
    return Path(shell(f"environment {' '.join(lists)} >&2\necho $venv")) / "bin"


def python_of_tests():
    return python("tests/system/python/requirements.txt")


def python_of_peers():
    return python("tests/system/python/requirements.txt", "benches/peers/requirements.txt")


@functools.cache
def nginx():
    """The program, installed where it is missing."""
    find = "PATH=$PATH:/usr/sbin command -v nginx"
    if os.path.isdir("/run/systemd/system"):
        # There the package would start a server for all, so that is left to you.
        return shell(f"{find} || {{ echo 'nginx is missing: apt-get install nginx-light' >&2; exit 1; }}")
    return shell(f"{find} || {{ debian nginx-light >&2; {find}; }}")
