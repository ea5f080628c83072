"""The image of a container is built from files, runs with the least that it needs, and ends under load without a failed request.

usage: container.py DIRECTORY APPLIANCE WHOLE_APPLIANCE
APPLIANCE is what the image has, WHOLE_APPLIANCE has the sandbox. Needs root, Podman and crun, and networks, mounts and processes
that end with the process that called this. Prints one JSON line with its figures.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

here = Path(__file__).parent
sys.path.append(str(here.parent / "rehearsal"))

from figures import figures, holds, same  # noqa: E402
from identities import POD_TOKEN, ROLE, WEB_IDENTITY, Identities  # noqa: E402
from load import Load  # noqa: E402
from machine import run  # noqa: E402

directory, appliance, whole = map(Path, sys.argv[1:])
build = here.parents[2] / "packer/container/build"
FIRST, SECOND = 5101, 5102
# Everything that Podman keeps is below the directory of this test.
PODMAN = ["podman", f"--root={directory}/images", f"--runroot={directory}/run", "--storage-driver=vfs", "--cgroup-manager=cgroupfs"]
# Kubernetes' profile `restricted` demands these, apart from the read-only root. Root may set these limits on any machine, even without
# the capability to raise its own.
RESTRICTED = [
    "--runtime=crun", "--cgroups=disabled", "--network=host", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all",
    "--security-opt=no-new-privileges", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096",
]  # fmt: skip


def isolate():
    """Podman's and crun's state, the mounts and the kind of control groups are those of this test alone."""
    run("ip", "link", "set", "lo", "up")
    run("umount", "-l", "/sys/fs/cgroup")
    run("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
    for place in ("/run", "/dev/shm"):
        run("mount", "-t", "tmpfs", "tmpfs", place)
    wrapper = directory / "bin/podman"
    wrapper.parent.mkdir()
    wrapper.write_text("#!/bin/sh\nexec " + " ".join([f"/usr/bin/{PODMAN[0]}", *PODMAN[1:]]) + ' "$@"\n')
    wrapper.chmod(0o755)
    os.environ["PATH"] = f"{wrapper.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ["HOME"] = str(directory)


def built(identity):
    """What an image consists of. Docker's format also records the container in which it was built, which differs each time."""
    (image,) = json.loads(run("podman", "inspect", identity))
    return {key: image[key] for key in ("Architecture", "Config", "Created", "Healthcheck", "Os", "RootFS")}


def images():
    """The image of this machine's architecture, twice, and one for the other, of which the head of a program is enough."""
    os.environ["SOURCE_DATE_EPOCH"] = "1790000000"
    first, again = (built(run(build, appliance, "appliance", "--quiet", "--no-cache").strip()) for _ in range(2))
    same("the same files make the same layers and configuration", first, again)
    head = directory / "head"
    head.write_bytes(appliance.read_bytes()[:18] + (183).to_bytes(2, "little") + bytes(44))
    run(build, head, "other", "--quiet")
    same("the architecture of the other image", run("podman", "inspect", "--format={{.Architecture}}", "other").strip(), "arm64")
    (image,) = json.loads(run("podman", "inspect", "appliance"))
    same("the image runs without root", image["Config"]["User"], "65534:65534")
    same("its health check", image["Healthcheck"]["Test"], ["CMD", "/usr/bin/appliance", "healthcheck"])
    figures["MiB of the image"] = round(image["Size"] / 2**20, 1)


def start_sandbox(stack):
    log = open(directory / "sandbox.log", "w")
    command = [whole, "sandbox", "--json", "--mode", "tracking", "--credential-lifetime", "1h"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    stack.callback(process.wait, 30)
    stack.callback(process.terminate)
    return process


def configure(sandbox):
    """A directory that both containers mount, as they would a ConfigMap and a Secret. Returns a token."""
    made = directory / "configuration"
    made.mkdir()
    values = {
        "resource-arn": sandbox["arns"]["tracking"], "upstream-endpoint": sandbox["front_doors"]["tracking"],
        "ca-file": "/etc/mlflow-appliance/authority.pem", "tokens": "/etc/mlflow-appliance/tokens.toml", "admin-listen": "off",
        "artifact-store": "auto", "artifact-access": "proxied", "s3-endpoint": sandbox["s3"],
        "sagemaker-endpoint": sandbox["sagemaker"], "body-memory-limit": "64 KiB",
    }  # fmt: skip
    (made / "appliance.toml").write_text("".join(f'{key} = "{value}"\n' for key, value in values.items()))
    (made / "authority.pem").write_bytes(Path(sandbox["authority"]).read_bytes())
    new = run(whole, "token", "new", "--file", made / "tokens.toml", "--name", "ci", "--role", "write", "--json")
    (made / "pod").write_text(POD_TOKEN)
    (made / "identity").write_text(WEB_IDENTITY)
    made.chmod(0o755)
    for file in made.iterdir():
        file.chmod(0o644)
    return json.loads(new)["token"]


def status(port, path, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        return urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers), timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


class Running:
    """A container, whose exit code is that of `process`."""

    def __init__(self, stack, name, port, **variables):
        self.name, self.port, self.log = name, port, directory / f"{name}.log"
        if "APPLIANCE_CONFIG_TEXT" not in variables:
            variables["APPLIANCE_CONFIG"] = "/etc/mlflow-appliance/appliance.toml"
        variables["APPLIANCE_LISTEN"] = f"127.0.0.1:{port}"
        variables |= {"AWS_EC2_METADATA_DISABLED": "true"}
        settings = [f"--env={key}={value}" for key, value in variables.items()]
        mount = f"--volume={directory}/configuration:/etc/mlflow-appliance:ro"
        command = ["podman", "run", "--rm", f"--name={name}", *RESTRICTED, mount, *settings, "appliance"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=open(self.log, "w"), stderr=subprocess.STDOUT)
        stack.callback(subprocess.run, ["podman", "rm", "--force", "--time=0", name], capture_output=True)

    def until_ready(self):
        deadline = time.monotonic() + 20
        while status(self.port, "/_appliance/readyz") != 200:
            holds(f"{self.name} is ready in time", time.monotonic() < deadline and self.process.poll() is None, self.log.read_text())
            time.sleep(0.05)
        same("the health check", run("podman", "exec", self.name, "/usr/bin/appliance", "healthcheck", "--ready").strip(), "ok")

    def holds_no_privilege(self):
        pid = run("podman", "inspect", "--format={{.State.Pid}}", self.name).strip()
        found = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        same("the user", found["Uid"].split(), ["65534"] * 4)
        same("capabilities", (found["CapEff"], found["CapBnd"], found["NoNewPrivs"]), ("0" * 16, "0" * 16, "1"))
        mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
        options = {fields[4]: fields[5].split(",") for fields in mounts}
        holds("the root is read-only", "ro" in options["/"], options)
        holds("large bodies have a directory", "rw" in options["/var/tmp"], options)

    def stop(self):
        """Seconds from SIGTERM to its end, and its exit code."""
        before = time.monotonic()
        run("podman", "stop", "--time=45", self.name)
        return time.monotonic() - before, self.process.wait(10)


def a_client_logs_a_run(port, token):
    environment = os.environ | {"MLFLOW_TRACKING_TOKEN": token, "MLFLOW_DISABLE_TELEMETRY": "true"}
    run(sys.executable, here.parent / "rehearsal/client.py", f"http://127.0.0.1:{port}", env=environment)


def a_stop_under_load_fails_no_request(first, second, token):
    load = Load([first.port, second.port], token)
    try:
        time.sleep(3)
        began = time.monotonic()
        seconds, code = first.stop()
        time.sleep(1)
    finally:
        load.end()
    same("requests that failed", load.failed, [])
    same("exit code of the container that was stopped", code, 0)
    holds("both containers served requests", min(load.served.values()) > 10, load.served)
    under_way = [one for one in load.uploads if one[0] == first.port and one[1] < began < one[2]]
    holds("uploads were under way at SIGTERM and ended well", len(under_way) >= 3, load.uploads)
    log = first.log.read_text()
    holds("the log shows the graceful shutdown", re.search(r"draining in_flight=\d", log) and "stopped in_flight=0" in log, log)
    figures["requests around a stop, none of which failed"] = sum(load.served.values())
    figures["uploads under way at SIGTERM"] = len(under_way)
    figures["seconds from SIGTERM to the end of the container"] = round(seconds, 2)


isolate()
with contextlib.ExitStack() as stack:
    sandbox = start_sandbox(stack)
    images()
    sandbox = json.loads(sandbox.stdout.readline())
    identities, token = Identities(sandbox), configure(sandbox)
    provider = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{identities.url}/v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/etc/mlflow-appliance/pod",
        "SM_MLFLOW_ROLE_ARN": sandbox["role_arn"], "AWS_ENDPOINT_URL_STS": sandbox["sts"],
    }  # fmt: skip
    # As a task on Fargate has it; the second finds a file, as a pod does.
    text = (directory / "configuration/appliance.toml").read_text()
    first = Running(stack, "first", FIRST, **provider, APPLIANCE_CONFIG_TEXT=text)
    web = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/etc/mlflow-appliance/identity", "AWS_ENDPOINT_URL_STS": identities.url}
    second = Running(stack, "second", SECOND, **web)
    for one in (first, second):
        one.until_ready()
        one.holds_no_privilege()
        same("a caller without a token is rejected", status(one.port, "/version"), 401)
        same("a caller with a token is served", status(one.port, "/version", token), 200)
    same("each container got its credentials in its own way", sorted(set(identities.given)), ["container provider", "web identity"])
    a_client_logs_a_run(FIRST, token)
    a_stop_under_load_fails_no_request(first, second, token)
print(json.dumps(figures))
