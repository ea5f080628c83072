"""Starts of a machine that succeed, and what is then true of it, whatever kind of machine it is."""

import gzip
import json
import time

from figures import figures, holds, same
from machine import UNITS
from scene import TAGS, URL

SUCCESS = [("SignalResource", "SUCCESS"), ("CompleteLifecycleAction", "CONTINUE")]


def succeeds(one, label):
    before = time.monotonic()
    one.start()
    outcome, seconds = one.outcome()
    same(label, outcome, "ready")
    figures[f"{label}: seconds from network-online to ready"] = round(seconds, 2)
    figures[f"{label}: seconds from power to ready"] = round(time.monotonic() - before, 2)


def first_start(scene, one):
    """Values come from four sources. The user data is compressed."""
    scene.tell(gzip.compress(scene.configuration().encode()), TAGS)
    succeeds(one, "first start")
    same("the readiness signals are sent", scene.told(), SUCCESS)
    values = {key: (text, origin) for key, text, origin in one.record()["values"]}
    same("user data", values["role-arn"], (scene.sandbox["role_arn"], "user data, line 2"))
    same("parameters", values["workers"], ("1", "parameter `/rehearsal/workers`"))
    same("tags", values["log-format"], ("json", "tag `appliance:log-format`"))
    same("the image", values["listen"][0], "0.0.0.0:5000")
    scene.until_healthy()
    same("a caller without a token is rejected", scene.get("/version")[0], 401)
    for unit in UNITS:
        last = one.inside("systemd-analyze", "security", "--no-pager", f"{unit}.service", check=False).stdout.splitlines()[-1]
        exposure = float(last.split(":")[1].split()[0])
        holds("exposure is at most 1.5", exposure <= 1.5, last)
        figures[f"exposure of {unit}.service"] = exposure
    state = one.inside("stat", "-c", "%a %U", "/var/lib/mlflow-appliance", "/var/lib/mlflow-appliance/appliance.toml").stdout.split()
    same("modes", state, ["700", "mlflow-appliance", "600", "mlflow-appliance"])
    status = one.show("mlflow-appliance", "StatusText", "MainPID", "NRestarts")
    same("systemd knows", (status["StatusText"], status["NRestarts"]), ("ready", "0"))


def a_client_logs_a_run(scene, one):
    """A token is handed out while it runs, and MLflow's own client uses it from elsewhere. Returns the token."""
    new = [one.program, "token", "new", "--file", "/etc/mlflow-appliance/tokens.toml", "--name"]
    tokens = {role: one.inside(*new, role, "--role", role, "--json").stdout for role in ("write", "read")}
    tokens = {role: json.loads(text)["token"] for role, text in tokens.items()}
    one.inside("systemctl", "reload", "mlflow-appliance")
    deadline = time.monotonic() + 10
    while scene.get("/version", tokens["write"])[0] != 200:
        holds("the token is known", time.monotonic() < deadline, one.journal("mlflow-appliance"))
        time.sleep(0.1)
    client = scene.client_runs("client.py", URL, MLFLOW_TRACKING_TOKEN=tokens["write"])
    output, _ = client.communicate(timeout=120)
    same("MLflow's client ends well", client.returncode, 0)
    figures["MLflow's client from a third host"] = json.loads(output.splitlines()[-1])
    return tokens["write"]


def reboot(scene, one):
    """Nothing is said twice, nothing is written twice."""
    one.stop()
    same("nothing has signalled since", scene.told(), [])
    succeeds(one, "reboot")
    same("no signal is sent twice", scene.told(), [])
    holds("nothing is written twice", "the configuration is unchanged" in one.journal("mlflow-appliance-bootstrap"))
    scene.until_healthy()


def changed_user_data(scene, one, token):
    """As after a stop and start of the instance."""
    one.stop()
    scene.tell(scene.configuration(workers="2"), TAGS)
    succeeds(one, "changed user data")
    same("no signal is sent twice", scene.told(), [])
    journal = one.journal("mlflow-appliance-bootstrap")
    holds("the change is named", "`workers` was `1` and is now `2` (user data, line 3)" in journal, journal)
    scene.until_healthy()
    same("the client's token still holds", scene.get("/version", token)[0], 200)
