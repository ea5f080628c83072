"""The start of an instance, from metadata service to signal, with the real systemd and MLflow's real client.

usage: rehearse.py DIRECTORY APPLIANCE WHOLE_APPLIANCE TREE
APPLIANCE is what the instance gets, WHOLE_APPLIANCE has the sandbox, TREE is a Debian with systemd, or the toplevel of a
NixOS that has the module with `instance`, and neither hosts nor certificates of its own. Needs root: makes three network namespaces (cloud, instance, client) and removes them. Prints one JSON line with its figures.
"""

import base64
import contextlib
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from machine import UNITS, Machine, run
from systems import system

directory, appliance, whole, tree = map(Path, sys.argv[1:])
here, venv = Path(__file__).parent, Path(sys.executable).parent
chosen = system(tree, appliance)
name = f"rehearsal{os.getpid()}"
CLOUD, INSTANCE, CLIENT = (f"{name}-{part}" for part in ("cloud", "instance", "client"))
URL = "http://10.78.0.1:5000"
SERVICES = [
    f"{service}.us-east-1.{suffix}"
    for service, suffix in [("sts", "amazonaws.com"), ("ssm", "amazonaws.com"), ("cloudformation", "amazonaws.com"), ("autoscaling", "amazonaws.com")]
] + ["us-east-1.experiments.sagemaker.aws"]
figures, checks = {}, 0


def same(what, found, expected):
    global checks
    checks += 1
    if found != expected:
        raise AssertionError(f"{what}: {found!r}, expected {expected!r}")


def holds(what, truth, context=""):
    same(f"{what} {context}", bool(truth), True)


def network():
    """Three hosts: the instance has a wire to the cloud, with the metadata service on it, and one to a client."""
    for one in (CLOUD, INSTANCE, CLIENT):
        run("ip", "netns", "add", one)
        run("ip", "-n", one, "link", "set", "lo", "up")
    for wire, other, ours, theirs in [("aws", CLOUD, "10.77.0.2/24", "10.77.0.1/24"), ("lan", CLIENT, "10.78.0.1/24", "10.78.0.2/24")]:
        run("ip", "-n", INSTANCE, "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", other)
        run("ip", "-n", INSTANCE, "addr", "add", ours, "dev", wire)
        run("ip", "-n", other, "addr", "add", theirs, "dev", "eth0")
        run("ip", "-n", INSTANCE, "link", "set", wire, "up")
        run("ip", "-n", other, "link", "set", "eth0", "up")
    run("ip", "-n", CLOUD, "addr", "add", "169.254.169.254/32", "dev", "lo")
    run("ip", "-n", INSTANCE, "route", "add", "169.254.169.254/32", "dev", "aws")


def tell(user_data=None, tags=None, faults=None, seconds=None):
    """What the metadata service says from now on, and what is wrong with AWS."""
    state = {"since": time.time(), "faults": faults or {}, "tags": tags or {}}
    if seconds is not None:
        state["for"] = seconds
    if user_data is not None:
        raw = user_data if isinstance(user_data, bytes) else user_data.encode()
        state["user_data"] = base64.b64encode(raw).decode()
    new = directory / "state.new"
    new.write_text(json.dumps(state))
    new.rename(directory / "state.json")


def told():
    path = directory / "told.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    holds("whoever signals proves who it is", all(line["proven"] for line in lines), lines)
    return [(line["Action"], line.get("Status") or line.get("LifecycleActionResult")) for line in lines]


def start_cloud(stack):
    environment = {"PATH": f"{venv}:{os.environ['PATH']}", "HOME": str(directory), "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = ["ip", "netns", "exec", CLOUD, str(whole), "sandbox", "--json", "--mode", "tracking", "--credential-lifetime", "1h"]
    log = open(directory / "sandbox.log", "w")
    sandbox = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
    stack.callback(stop, sandbox)
    ready = json.loads(sandbox.stdout.readline())
    cloud = {"sandbox": ready, "address": "10.77.0.1", "moto": 5555, "parameters": {"/rehearsal/workers": "1", "/rehearsal/drain-timeout": "5s"}}
    (directory / "cloud.json").write_text(json.dumps(cloud))
    command = ["ip", "netns", "exec", CLOUD, sys.executable, str(here / "cloud.py"), str(directory)]
    services = subprocess.Popen(command, stdout=open(directory / "cloud.log", "w"), stderr=subprocess.STDOUT, env=environment)
    stack.callback(stop, services)
    deadline = time.monotonic() + 60
    while not (directory / "up").exists():
        if services.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError((directory / "cloud.log").read_text())
        time.sleep(0.05)
    return ready


def stop(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


def image():
    """The tree with the appliance installed, as an image has it, and with this cloud's names and authority."""
    made = directory / "image"
    chosen.make(made)
    (made / "etc/hosts").write_text("127.0.0.1 localhost\n" + "".join(f"10.77.0.1 {one}\n" for one in SERVICES))
    authority = (directory / "authority.pem").read_text()
    with open(made / "etc/ssl/certs/ca-certificates.crt", "a") as bundle:
        bundle.write(authority)
    return made


def get(path, token=None):
    """A request from the client's namespace; status and body."""
    code = (
        "import sys,urllib.request as u,urllib.error as e\n"
        "r=u.Request(sys.argv[1],headers={'Authorization':'Bearer '+sys.argv[2]} if sys.argv[2] else {})\n"
        "try:\n a=u.urlopen(r,timeout=5); print(a.status); print(a.read().decode())\n"
        "except e.HTTPError as a: print(a.code); print(a.read().decode())\n"
        "except OSError as a: print(0); print(a)\n"
    )
    output = run("ip", "netns", "exec", CLIENT, sys.executable, "-c", code, URL + path, token or "")
    status, _, body = output.partition("\n")
    return int(status), body


def until_healthy(limit=20):
    """As a load balancer decides: two good answers in a row."""
    deadline, good = time.monotonic() + limit, 0
    while good < 2:
        good = good + 1 if get("/_appliance/healthz")[0] == 200 else 0
        holds("the load balancer finds it healthy in time", time.monotonic() < deadline)
        time.sleep(0.1)


def configuration(sandbox, **changes):
    """User data as an operator writes it."""
    values = {"resource-arn": sandbox["arns"]["tracking"], "role-arn": sandbox["role_arn"], **changes}
    lines = [f'{key} = "{value}"' for key, value in values.items() if value is not None]
    return "\n".join([*lines, "", "[bootstrap]", 'parameters = "/rehearsal"', 'lifecycle-hook = "boot"', ""])


TAGS = {"Name": "x", "appliance:stack-name": "mlflow", "appliance:logical-id": "Group", "appliance:auto-scaling-group": "asg", "appliance:log-format": "json"}
SUCCESS = [("SignalResource", "SUCCESS"), ("CompleteLifecycleAction", "CONTINUE")]
FAILURE = [("SignalResource", "FAILURE"), ("CompleteLifecycleAction", "ABANDON")]


@contextlib.contextmanager
def machine(made, label):
    one = Machine(made, directory / label, INSTANCE, chosen.arguments)
    try:
        yield one
    except BaseException:
        if one.leader:
            for unit in UNITS:
                last = "\n".join(one.journal(unit).splitlines()[-12:])
                print(f"{label}: {unit}:\n{last}", file=sys.stderr)
        raise
    finally:
        one.stop()
        one.kill()


def succeeds(one, label, limit=40):
    before = time.monotonic()
    one.start()
    outcome, seconds = one.outcome(limit)
    same(f"{label}", outcome, "ready")
    figures[f"{label}: seconds from network-online to ready"] = round(seconds, 2)
    figures[f"{label}: seconds from power to ready"] = round(time.monotonic() - before, 2)


def patience(one, timeout="4s"):
    """Less of it than an instance has, for starts that are to fail."""
    one.write(
        "/etc/systemd/system.control/mlflow-appliance-bootstrap.service.d/test.conf",
        f"[Service]\nExecStart=\nExecStart={chosen.program} bootstrap --metadata-timeout=10s --timeout={timeout}\nRestartSec=3s\n",
    )


def fails(one, label, reason, signals=FAILURE, arguments=(), limit=40):
    before = time.monotonic()
    one.start(arguments)
    outcome, _ = one.outcome(limit)
    same(label, outcome, "failed")
    figures[f"{label}: seconds from power to failure"] = round(time.monotonic() - before, 2)
    journal = one.journal("mlflow-appliance-bootstrap")
    holds(f"{label}: the journal says why", reason in journal, journal)
    console = one.console.read_text()
    holds(f"{label}: the console says why", reason in console, console)
    same(f"{label}: whoever waits knows", told(), signals)
    same(f"{label}: nothing serves", one.show("mlflow-appliance", "ActiveState")["ActiveState"], "inactive")
    same(f"{label}: nothing answers", get("/_appliance/healthz")[0], 0)


def rehearse(sandbox, made):
    # A first start, with values from four sources. The user data is compressed.
    with machine(made, "first") as one:
        tell(gzip.compress(configuration(sandbox).encode()), TAGS)
        succeeds(one, "first start")
        same("whoever waits knows", told(), SUCCESS)
        values = {key: (text, origin) for key, text, origin in one.record()["values"]}
        same("user data", values["role-arn"], (sandbox["role_arn"], "user data, line 2"))
        same("parameters", values["workers"], ("1", "parameter `/rehearsal/workers`"))
        same("tags", values["log-format"], ("json", "tag `appliance:log-format`"))
        same("the image", values["listen"][0], "0.0.0.0:5000")
        until_healthy()
        same("nobody without a token", get("/version")[0], 401)
        for unit in UNITS:
            last = one.inside("systemd-analyze", "security", "--no-pager", f"{unit}.service", check=False).stdout.splitlines()[-1]
            exposure = float(last.split(":")[1].split()[0])
            holds("exposure is at most 1.5", exposure <= 1.5, last)
            figures[f"exposure of {unit}.service"] = exposure
        state = one.inside("stat", "-c", "%a %U", "/var/lib/mlflow-appliance", "/var/lib/mlflow-appliance/appliance.toml").stdout.split()
        same("modes", state, ["700", "mlflow-appliance", "600", "mlflow-appliance"])
        status = one.show("mlflow-appliance", "StatusText", "MainPID", "NRestarts")
        same("systemd knows", (status["StatusText"], status["NRestarts"]), ("ready", "0"))

        # A token is handed out while it runs, and MLflow's own client uses it from elsewhere.
        new = [chosen.program, "token", "new", "--file", "/etc/mlflow-appliance/tokens.toml", "--name"]
        tokens = {role: one.inside(*new, role, "--role", role, "--json").stdout for role in ("write", "read")}
        tokens = {role: json.loads(text)["token"] for role, text in tokens.items()}
        one.inside("systemctl", "reload", "mlflow-appliance")
        deadline = time.monotonic() + 10
        while get("/version", tokens["write"])[0] != 200:
            holds("the token is known", time.monotonic() < deadline, one.journal("mlflow-appliance"))
            time.sleep(0.1)
        environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "MLFLOW_TRACKING_TOKEN": tokens["write"], "MLFLOW_DISABLE_TELEMETRY": "true"}
        client = ["ip", "netns", "exec", CLIENT, sys.executable, str(here / "client.py"), URL]
        figures["MLflow's client from a third host"] = json.loads(run(*client, env=environment).splitlines()[-1])

        # A restart refuses nobody: systemd keeps the socket.
        poll = ["ip", "netns", "exec", CLIENT, sys.executable, str(here / "poll.py"), f"{URL}/_appliance/healthz", "4"]
        polling = subprocess.Popen(poll, stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        one.inside("systemctl", "restart", "mlflow-appliance")
        answers = json.loads(polling.communicate(timeout=30)[0])
        same("nobody is refused during a restart", [status for status in answers if status != 200], [])
        holds("many asked", len(answers) > 50, len(answers))
        figures["requests around a restart, none refused"] = len(answers)

        # What systemd is there for: a crash, a worker that hangs, a stop under way.
        pid = one.show("mlflow-appliance", "MainPID")["MainPID"]
        one.inside("sh", "-c", f"kill -KILL {pid}")
        restarted(one, pid, "crash")
        one.inside("mkdir", "-p", "/run/systemd/system/mlflow-appliance.service.d")
        one.inside("sh", "-c", "printf '[Service]\\nWatchdogSec=2s\\n' > /run/systemd/system/mlflow-appliance.service.d/watchdog.conf")
        one.inside("systemctl", "daemon-reload")
        one.inside("systemctl", "restart", "mlflow-appliance")
        pid = one.show("mlflow-appliance", "MainPID")["MainPID"]
        time.sleep(5)
        same("it is not killed while it is well", one.show("mlflow-appliance", "MainPID")["MainPID"], pid)
        one.inside("sh", "-c", f"kill -STOP {pid}")
        restarted(one, pid, "hang")

        # A reboot: nothing is said twice, nothing is written twice.
        one.stop()
        same("a restart of the service signals nothing", told(), [])
        succeeds(one, "reboot")
        same("nothing is said twice", told(), [])
        holds("nothing is written twice", "configuration unchanged" in one.journal("mlflow-appliance-bootstrap"))
        until_healthy()

        # Other user data, as after a stop and start of the instance.
        one.stop()
        tell(configuration(sandbox, **{"workers": "2"}), TAGS)
        succeeds(one, "changed user data")
        journal = one.journal("mlflow-appliance-bootstrap")
        holds("the change is named", "`workers` was `1`, is `2` (user data, line 3)" in journal, journal)
        same("the client's token still holds", get("/version", tokens["write"])[0], 200)

        # The parameters are out of reach at a start: the last configuration will do.
        one.stop()
        tell(configuration(sandbox, **{"workers": "2"}), TAGS, {"ssm": "down"})
        patience(one)
        succeeds(one, "parameters out of reach")
        holds("it says so", "keeping the configuration of the last start" in one.journal("mlflow-appliance-bootstrap"))

    with machine(made, "late") as one:
        tell(configuration(sandbox), TAGS, {"absent": True}, seconds=5)
        succeeds(one, "metadata service 5 s late")
        same("whoever waits knows", told(), SUCCESS)
        if chosen.can_uninstall:
            installed_with_a_file(one, sandbox)

    with machine(made, "throttled") as one:
        tell(configuration(sandbox), TAGS, {"throttled": True})
        succeeds(one, "metadata service throttling two of three")
        same("whoever waits knows", told(), SUCCESS)

    with machine(made, "sts") as one:
        tell(configuration(sandbox), TAGS, {"sts": "down"}, seconds=8)
        succeeds(one, "STS down for 8 s")
        same("whoever waits knows", told(), SUCCESS)
        holds("it says what it waits for", "waiting: " in one.journal("mlflow-appliance-bootstrap"))

    # STS stays down for longer than anybody waits; the machine heals without a reboot.
    with machine(made, "sts-long") as one:
        tell(configuration(sandbox), TAGS, {"sts": "down"})
        patience(one)
        fails(one, "STS down", "sts.us-east-1.amazonaws.com")
        tell(configuration(sandbox), TAGS)
        same("it heals", one.outcome(40)[0] if healed(one) else "not", "ready")
        same("whoever waits knows", told()[-2:], SUCCESS)

    with machine(made, "role") as one:
        tell(configuration(sandbox, **{"role-arn": "arn:aws:iam::123456789012:role/other"}), TAGS)
        patience(one)
        fails(one, "wrong role", "add this machine's role to the trust policy of the role to assume")

    with machine(made, "script") as one:
        tell("#!/bin/sh\ntouch /executed\n", {**TAGS, "appliance:lifecycle-hook": "boot"})
        fails(one, "a script as user data", "user data is never executed here")
        same("it was not executed", one.inside("test", "-e", "/executed", check=False).returncode, 1)
        same("and is not tried again", one.show("mlflow-appliance-bootstrap", "SubState")["SubState"], "failed")

    with machine(made, "malformed") as one:
        tell("workers = \n", {**TAGS, "appliance:lifecycle-hook": "boot"})
        fails(one, "malformed user data", "it is neither TOML nor a JSON object: line 1")

    with machine(made, "mistyped") as one:
        tell(configuration(sandbox, **{"workers": "many"}), TAGS)
        fails(one, "a value that cannot be", "user data, line 3: `many`: not a whole number")

    with machine(made, "full") as one:
        tell(configuration(sandbox), TAGS)
        patience(one)
        fails(one, "disk full", "No space left on device", arguments=["--tmpfs=/var/lib/mlflow-appliance:mode=0700,nr_inodes=1"])


def installed_with_a_file(one, sandbox):
    """The same machine, as one that is no instance: removed, and installed with a configuration file alone."""
    one.inside("cp", chosen.program, "/root/appliance")
    one.inside("/root/appliance", "bootstrap", "uninstall", "--purge")
    same("nothing answers", get("/_appliance/healthz")[0], 0)
    same("nothing is left", one.inside("sh", "-c", "ls /etc/systemd/system | grep mlflow", check=False).stdout, "")
    one.inside("/root/appliance", "bootstrap", "install", "--from", "file", "--start")
    deadline = time.monotonic() + 10
    while (serve := one.show("mlflow-appliance", "ActiveState", "ExecMainStatus", "NRestarts"))["ActiveState"] != "failed":
        holds("without an ARN it fails", time.monotonic() < deadline, serve)
        time.sleep(0.1)
    same("and is not restarted", (serve["ExecMainStatus"], serve["NRestarts"]), ("78", "0"))
    lines = f'resource-arn = "{sandbox["arns"]["tracking"]}"\nrole-arn = "{sandbox["role_arn"]}"'
    one.inside("sh", "-c", f"echo '{lines}' >> /etc/mlflow-appliance/appliance.toml && systemctl restart mlflow-appliance")
    until_healthy()


def healed(one):
    """Waits until the failed start is tried again."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if one.show("mlflow-appliance-bootstrap", "ActiveState")["ActiveState"] == "active":
            return True
        time.sleep(0.1)
    return False


def restarted(one, pid, why):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        now = one.show("mlflow-appliance", "MainPID", "ActiveState")
        if now["ActiveState"] == "active" and now["MainPID"] not in (pid, "0"):
            return until_healthy()
        time.sleep(0.1)
    raise AssertionError(f"not restarted after a {why}: {one.journal('mlflow-appliance')}")


with contextlib.ExitStack() as stack:
    for space in (CLOUD, INSTANCE, CLIENT):
        stack.callback(subprocess.run, ["ip", "netns", "del", space], capture_output=True)
    network()
    tell()
    sandbox = start_cloud(stack)
    rehearse(sandbox, image())
print(json.dumps({"checks": checks, **figures}))
