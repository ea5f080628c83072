"""The start of an instance, from metadata service to signal, with the real systemd and MLflow's real client.

usage: rehearse.py DIRECTORY APPLIANCE WHOLE_APPLIANCE TREE
APPLIANCE is what the instance gets, WHOLE_APPLIANCE has the sandbox, TREE is a Debian with systemd, or the toplevel of a
NixOS that has the module with `instance`, and neither hosts nor certificates of its own. Needs root: makes three network
namespaces (cloud, machine, client) and removes them. Prints one JSON line with its figures.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

from container import Container
from figures import figures, holds, same
from machine import used
from scene import TAGS, URL, Scene
from starts import SUCCESS, a_client_logs_a_run, changed_user_data, first_start, reboot, succeeds
from systems import system

directory, appliance, whole, tree = map(Path, sys.argv[1:])
chosen = system(tree, appliance)
FAILURE = [("SignalResource", "FAILURE"), ("CompleteLifecycleAction", "ABANDON")]


def machine(made, label):
    return used(Container(made, directory / label, scene.machine, chosen))


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
    same(f"{label}: the readiness signals are sent", scene.told(), signals)
    same(f"{label}: nothing serves", one.show("mlflow-appliance", "ActiveState")["ActiveState"], "inactive")
    same(f"{label}: nothing answers", scene.get("/_appliance/healthz")[0], 0)


def rehearse(made):
    with machine(made, "first") as one:
        first_start(scene, one)
        token = a_client_logs_a_run(scene, one)
        a_restart_refuses_nobody(one)
        systemd_restarts_it(one)
        reboot(scene, one)
        changed_user_data(scene, one, token)

        # The parameters are out of reach at a start: the last configuration will do.
        one.stop()
        scene.tell(scene.configuration(workers="2"), TAGS, {"ssm": "down"})
        patience(one)
        succeeds(one, "parameters out of reach")
        holds("it says so", "the configuration of the last start stays in use" in one.journal("mlflow-appliance-bootstrap"))

    with machine(made, "late") as one:
        scene.tell(scene.configuration(), TAGS, {"absent": True}, seconds=5)
        succeeds(one, "metadata service 5 s late")
        same("the readiness signals are sent", scene.told(), SUCCESS)
        if chosen.can_uninstall:
            installed_with_a_file(one)

    with machine(made, "throttled") as one:
        one.write("/etc/mlflow-appliance/secrets/session-key", "0123456789abcdef" * 4, 0o600)
        scene.tell(scene.configuration(**{"session-key": "credential:secret_session-key"}), TAGS, {"throttled": True})
        succeeds(one, "metadata service throttling two of three")
        same("the readiness signals are sent", scene.told(), SUCCESS)
        its_status_is_for_those_who_may_see_it(one)

    with machine(made, "sts") as one:
        scene.tell(scene.configuration(), TAGS, {"sts": "down"}, seconds=8)
        succeeds(one, "STS down for 8 s")
        same("the readiness signals are sent", scene.told(), SUCCESS)
        holds("it says what it waits for", "waiting: " in one.journal("mlflow-appliance-bootstrap"))

    # STS stays down for longer than anybody waits; the machine heals without a reboot.
    with machine(made, "sts-long") as one:
        scene.tell(scene.configuration(), TAGS, {"sts": "down"})
        patience(one)
        fails(one, "STS down", "sts.us-east-1.amazonaws.com")
        scene.tell(scene.configuration(), TAGS)
        same("it heals", one.outcome(40)[0] if healed(one) else "not", "ready")
        same("the readiness signals are sent", scene.told()[-2:], SUCCESS)

    with machine(made, "role") as one:
        scene.tell(scene.configuration(**{"role-arn": "arn:aws:iam::123456789012:role/other"}), TAGS)
        patience(one)
        fails(one, "wrong role", "add this machine's role to the trust policy of the role to assume")

    with machine(made, "script") as one:
        scene.tell("#!/bin/sh\ntouch /executed\n", {**TAGS, "appliance:lifecycle-hook": "boot"})
        fails(one, "a script as user data", "user data is never executed here")
        same("it was not executed", one.inside("test", "-e", "/executed", check=False).returncode, 1)
        same("and is not tried again", one.show("mlflow-appliance-bootstrap", "SubState")["SubState"], "failed")

    with machine(made, "malformed") as one:
        scene.tell("workers = \n", {**TAGS, "appliance:lifecycle-hook": "boot"})
        fails(one, "malformed user data", "it is neither TOML nor a JSON object: line 1")

    with machine(made, "mistyped") as one:
        scene.tell(scene.configuration(workers="many"), TAGS)
        fails(one, "a value that cannot be", "user data, line 3: workers: `many` is not a whole number")

    with machine(made, "moved") as one:
        scene.tell(scene.configuration(listen="0.0.0.0:8443"), TAGS)
        fails(one, "an address that the socket does not have", "user data, line 3: listen: `0.0.0.0:8443`: systemd opens the socket")

    with machine(made, "full") as one:
        scene.tell(scene.configuration(), TAGS)
        patience(one)
        fails(one, "disk full", "No space left on device", arguments=["--tmpfs=/var/lib/mlflow-appliance:mode=0700,nr_inodes=1"])


def installed_with_a_file(one):
    """The same machine, as one that is no instance: removed, and installed with a configuration file alone."""
    one.inside("cp", chosen.program, "/root/appliance")
    one.inside("/root/appliance", "bootstrap", "uninstall", "--purge")
    same("nothing answers", scene.get("/_appliance/healthz")[0], 0)
    same("nothing is left", one.inside("sh", "-c", "ls /etc/systemd/system | grep mlflow", check=False).stdout, "")
    one.inside("/root/appliance", "bootstrap", "install", "--from", "file", "--start")
    deadline = time.monotonic() + 10
    while (serve := one.show("mlflow-appliance", "ActiveState", "ExecMainStatus", "NRestarts"))["ActiveState"] != "failed":
        holds("without an ARN it fails", time.monotonic() < deadline, serve)
        time.sleep(0.1)
    same("and is not restarted", (serve["ExecMainStatus"], serve["NRestarts"]), ("78", "0"))
    a_connection_does_not_start_it_for_ever(one)
    lines = f'resource-arn = "{scene.sandbox["arns"]["tracking"]}"\nrole-arn = "{scene.sandbox["role_arn"]}"'
    one.inside("sh", "-c", f"echo '{lines}' >> /etc/mlflow-appliance/appliance.toml && systemctl restart mlflow-appliance")
    scene.until_healthy()
    an_upgrade_is_another_install(one)
    an_instance_becomes_a_machine_with_a_file(one)
    a_removal_keeps_drop_ins(one)


def its_status_is_for_those_who_may_see_it(one):
    """Root reads the credentials of the running service as well. Others are not told that there is no state."""
    shown = one.inside(chosen.program, "bootstrap", "status", check=False)
    same(f"the state with a credential {shown.stdout}{shown.stderr}", (shown.returncode, "\nstate: ready\n" in shown.stdout), (0, True))
    if chosen.can_uninstall:
        shown = one.inside("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", chosen.program, "bootstrap", "status", check=False)
        holds("who may not see it is told so", "cannot read `/var/lib/mlflow-appliance/bootstrap.json`" in shown.stderr, shown)
        same("and nothing else", (shown.returncode, shown.stdout), (1, ""))


def a_connection_does_not_start_it_for_ever(one):
    """A connection that waits for a service with an invalid configuration starts it, until systemd closes the socket."""
    same("nothing answers", scene.get("/_appliance/healthz")[0], 0)
    deadline = time.monotonic() + 20
    while (socket := one.show("mlflow-appliance.socket", "ActiveState", "Result"))["ActiveState"] != "failed":
        holds("the socket closes", time.monotonic() < deadline, socket)
        time.sleep(0.1)
    same("because the service failed too often", socket["Result"], "service-start-limit-hit")
    same("and the service stays as it is", one.show("mlflow-appliance", "ActiveState")["ActiveState"], "failed")
    one.inside("systemctl", "reset-failed", "mlflow-appliance.service")


def an_upgrade_is_another_install(one):
    """It restarts what runs."""
    pid = one.show("mlflow-appliance", "MainPID")["MainPID"]
    one.inside("/root/appliance", "bootstrap", "install", "--from", "file")
    holds("an upgrade restarts the service", one.show("mlflow-appliance", "MainPID")["MainPID"] not in (pid, "0"))
    scene.until_healthy()


def an_instance_becomes_a_machine_with_a_file(one):
    """Nothing of the instance is left, and the service goes on with the file."""
    one.inside("/root/appliance", "bootstrap", "install", "--from", "instance", "--start")
    same("it is that of an instance", (one.outcome()[0], scene.told()), ("ready", SUCCESS))
    one.inside("/root/appliance", "bootstrap", "install", "--from", "file", "--start")
    left = one.inside("sh", "-c", "find /etc/systemd/system -name 'mlflow*' -printf '%f\n' | sort -u").stdout.split()
    same("only the units of every machine are left", left, ["mlflow-appliance.service", "mlflow-appliance.socket"])
    states = [one.show(f"mlflow-appliance-{unit}", "ActiveState")["ActiveState"] for unit in ("bootstrap", "signal")]
    same("the others do not run", states, ["inactive", "inactive"])
    scene.until_healthy()


def a_removal_keeps_drop_ins(one):
    """What an operator has written stays, unless everything is removed."""
    drop_ins = "/etc/systemd/system/mlflow-appliance.service.d"
    one.inside("sh", "-c", f"mkdir -p {drop_ins} && printf '[Service]\\nNice=1\\n' >{drop_ins}/mine.conf")
    one.inside("/root/appliance", "bootstrap", "uninstall")
    same("the operator's drop-in is kept", one.inside("ls", drop_ins).stdout.split(), ["mine.conf"])
    one.inside("/root/appliance", "bootstrap", "uninstall", "--purge")
    same("and removed with the rest", one.inside("test", "-e", drop_ins, check=False).returncode, 1)


def healed(one):
    """Waits until the failed start is tried again."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if one.show("mlflow-appliance-bootstrap", "ActiveState")["ActiveState"] == "active":
            return True
        time.sleep(0.1)
    return False


def a_restart_refuses_nobody(one):
    """systemd keeps the socket."""
    pid, stop = one.show("mlflow-appliance", "MainPID")["MainPID"], directory / "restarted"
    polling = scene.client_runs("poll.py", f"{URL}/_appliance/healthz", str(stop))
    same("requests are sent before the restart", polling.stdout.readline(), "asking\n")
    one.inside("systemctl", "restart", "mlflow-appliance")
    holds("it was restarted", one.show("mlflow-appliance", "MainPID")["MainPID"] not in (pid, "0"))
    stop.touch()
    answers = json.loads(polling.communicate(timeout=30)[0])
    same("no request fails during a restart", [status for status in answers if status != 200], [])
    holds("many asked", len(answers) >= 100, len(answers))
    figures["requests around a restart, none refused"] = len(answers)


def systemd_restarts_it(one):
    """Checks that systemd restarts the appliance after a crash, and when a worker hangs."""
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


def restarted(one, pid, why):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        now = one.show("mlflow-appliance", "MainPID", "ActiveState")
        if now["ActiveState"] == "active" and now["MainPID"] not in (pid, "0"):
            return scene.until_healthy()
        time.sleep(0.1)
    raise AssertionError(f"not restarted after a {why}: {one.journal('mlflow-appliance')}")


with contextlib.ExitStack() as stack:
    scene = Scene(directory, stack)
    scene.network()
    scene.start_cloud(whole)
    rehearse(scene.image(chosen))
print(json.dumps(figures))
