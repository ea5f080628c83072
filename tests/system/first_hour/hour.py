"""The first hour on AWS in one mode: from `appliance deploy apply` in an empty account to a run that MLflow's client logs
through the load balancer, then an upgrade under load, and `appliance deploy destroy`.

usage: hour.py DIRECTORY APPLIANCE WHOLE_APPLIANCE TREE MODE, in network, mount and process namespaces of its own (tests/run)

The steps are those of docs/deploy/stacks.md. The account is moto with what tests/system/deploy adds; the instances are machines of
tests/system/rehearsal, booted from what the stack says. The managed MLflow is the sandbox's, which is there already, so the
stack is told of it (ExistingResourceArn) and makes none: tests/system/deploy sees one made. IAM's policies are not enforced.
Prints one line of JSON with the seconds of each step.
"""

import contextlib
import json
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

here = Path(__file__).parent
sys.path += [str(here.parent / name) for name in ("deploy", "rehearsal")]

import account  # noqa: E402
import shim  # noqa: E402
from fleet import Fleet, explain  # noqa: E402
from figures import figures, holds, same  # noqa: E402
from launch import REGION, DomainDispatcherApplication, Launch, Quiet, create_backend_app, make_server  # noqa: E402
from systems import system  # noqa: E402
from world import World  # noqa: E402

STORE = "s3://sandbox-artifacts/mlflow"
# The seconds that users work before and after the upgrade.
WORK = 3


class Hour:
    def __init__(self, world, launch, fleet, mode):
        self.world, self.launch, self.fleet, self.mode = world, launch, fleet, mode
        self.arguments, self.aws = ["--yes", "--mode", mode], launch.aws
        self.stack = f"mlflow-appliance-{mode}"

    @contextlib.contextmanager
    def step(self, name):
        before = time.monotonic()
        yield
        same(f"{name}: nothing fails beside", self.fleet.errors, [])
        figures.setdefault("seconds", {})[name] = round(time.monotonic() - before, 1)

    def run(self):
        with self.step("deploy apply"):
            self.image = self.launch.publish("first")
            self.parameters()
            url = self.apply()
        with self.step("a token"):
            token = self.token(url)
        with self.step("a run with an artifact"):
            client = self.world.client_runs("client.py", url, MLFLOW_TRACKING_TOKEN=token)
            output, _ = client.communicate(timeout=60)
            same("MLflow's client ends well", client.returncode, 0)
            figures["MLflow's client"] = json.loads(output.splitlines()[-1])
            self.is_known_by_its_address()
        with self.step("an upgrade under load"):
            self.upgrade(url, token)
        with self.step("deploy destroy"):
            self.destroy()

    def parameters(self):
        """Further options, where docs/deploy/stacks.md has them go."""
        options = {
            # The client reaches no S3, and the sandbox's knows buckets by path.
            "artifact-access": "proxied", "s3-endpoint": f"https://s3.{REGION}.amazonaws.com",
            # The test does not wait for a minute.
            "reload-interval": "2s",
        }  # fmt: skip
        for name, value in options.items():
            self.aws("ssm").put_parameter(Name=f"/{self.stack}/{name}", Value=value, Type="String")

    def apply(self):
        """The URL that the stack gives out."""
        existing = {"ExistingResourceArn": self.world.sandbox["arns"][self.mode], "ExistingArtifactStoreUri": STORE}
        given = [part for name, value in existing.items() for part in ("--parameter", f"{name}={value}")]
        shown, _ = self.launch.deploy("apply", *self.arguments, *given)
        url = shown.removeprefix("export MLFLOW_TRACKING_URI='").removesuffix("'\n")
        (one,) = self.fleet.running()
        same("one instance has signalled, once", self.fleet.told, {one: ["SUCCESS"]})
        same("which URL", url, self.outputs()["Url"])
        return url

    def outputs(self):
        return self.launch.look.outputs(self.launch.stacks()[self.stack])

    def token(self, url):
        """A token for the secret that the stack has made, stored there by hand."""
        secrets, file = self.aws("secretsmanager"), self.world.directory / "tokens.toml"
        secret = self.outputs()["TokenSecretArn"]
        file.write_text(secrets.get_secret_value(SecretId=secret)["SecretString"])
        command = [self.launch.appliance, "token", "new", "--file", str(file), "--name", "ci", "--role", "write", "--json"]
        token = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)["token"]
        same("a caller without a token is rejected", self.get(url)[0], 401)
        secrets.put_secret_value(SecretId=secret, SecretString=file.read_text())
        deadline = time.monotonic() + 30
        while (answer := self.get(url, token))[0] != 200:
            holds("the token is known in time", time.monotonic() < deadline, answer)
            time.sleep(0.2)
        return token

    def get(self, url, token=None):
        return self.world.get(f"{url}/version", token)

    def is_known_by_its_address(self):
        """The appliance believes the load balancer, which says who asks."""
        (machine,) = self.fleet.machines.values()
        requests = [json.loads(line) for line in machine.journal("mlflow-appliance").splitlines() if '"caller":"ci"' in line]
        same("whom the appliance sees", {one["client"] for one in requests}, {self.world.client_address})

    def upgrade(self, url, token):
        """A new image, and the same command again."""
        (old,) = self.fleet.running()
        stop = self.world.directory / "stop"
        load = self.world.client_runs(here / "load.py", url, str(stop), MLFLOW_TRACKING_TOKEN=token)
        time.sleep(WORK)
        image = self.launch.publish("second")
        self.launch.deploy("apply", *self.arguments)
        time.sleep(WORK)
        stop.touch()
        output, _ = load.communicate(timeout=60)
        result = json.loads(output)
        figures["load during the upgrade"] = {**result, "failed": len(result["failed"])}
        holds("no request failed", not result["failed"], (len(result["failed"]), result["failed"][:3]))
        holds("enough was asked", result["requests"] > 100 and result["uploads"] > 4, result)
        ((new, instance),) = self.fleet.running().items()
        same("the new image", instance["ImageId"], image)
        holds("another machine, and the old one is off", new != old and self.fleet.has_ended(old), (old, new))
        same("the token still holds", self.get(url, token)[0], 200)
        self.audit_log_outlasts(old)

    def audit_log_outlasts(self, machine):
        """What was done on a machine that is gone is still known."""
        logs, group = self.aws("logs"), self.outputs()["LogGroupName"]
        names = [one["logStreamName"] for one in logs.describe_log_streams(logGroupName=group)["logStreams"]]
        of_machine = [name for name in names if name.startswith(f"audit/{machine}/")]
        same(f"streams of the audit log of {machine}, among {names}", len(of_machine), 1)
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, logStreamNames=of_machine)
        events = [json.loads(event["message"]) for page in pages for event in page["events"]]
        done = {one["action"] for one in events if one["caller"] == "ci"}
        holds("the run and its artifact are in it", {"runs:create", "artifacts:upload"} <= done, done)

    def destroy(self):
        before = {one["Name"] for one in self.aws("s3").list_buckets()["Buckets"]}
        _, said = self.launch.deploy("destroy", *self.arguments, "--shared")
        same("stacks that are left", self.launch.stacks(), {})
        kept = {one["Name"] for one in self.aws("s3").list_buckets()["Buckets"]}
        same("buckets that are left, and not listed", [name for name in kept if name not in said], [])
        holds("buckets that were listed are left", kept and kept <= before, kept)
        self.launch.look.nothing_is_left(len(kept), groups=1)
        same("instances that are left", self.fleet.running(), {})
        self.fleet.until(lambda: not self.fleet.machines, "the last machine ends")


def main(directory, appliance, whole, tree, mode):
    began = time.monotonic()
    warnings.simplefilter("ignore")
    shim.install()
    with contextlib.ExitStack() as stack:
        world = World(directory, stack)
        world.network()
        server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True, request_handler=Quiet)
        launch = Launch(directory, str(whole), f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        account.ENDPOINT["url"] = launch.url
        world.start(whole, mode, launch.aws, server.server_port)
        chosen = system(tree, appliance)
        fleet = Fleet(world, launch, mode, world.image(chosen), chosen)
        figures["seconds"] = {"account and MLflow": round(time.monotonic() - began, 1)}
        stack.callback(fleet.stop)
        fleet.start()
        try:
            Hour(world, launch, fleet, mode).run()
        except BaseException:
            explain(fleet)
            raise
    print(json.dumps({f"first hour, {mode}": figures}))


if __name__ == "__main__":
    scratch, *programs = map(Path, sys.argv[1:5])
    main(scratch, *(one.resolve() for one in programs), sys.argv[5])
