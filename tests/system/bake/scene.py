"""One bake at a time: the account, the instance, Packer, and what is left behind.

Takes its arguments from the command line, as bake.py has them: DIRECTORY PACKER PLUGINS.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from aws import REGION, Cloud
from instance import Instance

sys.path.append(str(Path(__file__).parents[1] / "rehearsal"))

from figures import figures, holds, same  # noqa: E402, F401

directory, packer, plugins = (Path(argument).absolute() for argument in sys.argv[1:4])
root, venv = Path(__file__).parents[3], Path(sys.executable).parent
figures["seconds"], performed = {}, set()
NOTHING = {"instances": [], "volumes": [], "snapshots": [], "images": [], "groups": [], "keys": [], "parameters": {}}

# SIGTERM ends the test and what it has started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
directory.mkdir()
for one in ("home", "tmp"):
    (directory / one).mkdir()
cloud, instance = Cloud(directory), Instance(directory / "instance")


def environment():
    return {
        "PATH": f"{venv}:/usr/bin:/bin", "HOME": str(directory / "home"), "TMPDIR": str(directory / "tmp"),
        "PACKER_PLUGIN_PATH": str(plugins), "CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1", **cloud.environment(),
    }  # fmt: skip


def shell(*command, first=None):
    """A command of the page, with another directory before those in which programs are looked for."""
    variables = environment()
    if first:
        variables["PATH"] = f"{first}:{variables['PATH']}"
    done = subprocess.run(list(map(str, command)), cwd=root, env=variables, capture_output=True, text=True, timeout=120)
    same(f"{command[0]} {done.stdout}{done.stderr}", done.returncode, 0)


def run(kind, *arguments, during=None, **variables):
    """Packer with variables of the template of this kind of bake: its exit code, what it said, and how long it took."""
    command = [str(packer), *arguments]
    for name, value in variables.items():
        command.append(f"-var={name}={value if isinstance(value, str) else json.dumps(value)}")
    began = time.monotonic()
    process = subprocess.Popen([*command, str(root / "packer" / kind)], cwd=directory, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        if during:
            during(process)
        said = process.communicate(timeout=120)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said, time.monotonic() - began


def bake(kind, *, within=None, faults=(), during=None, temporary_key=False, subnet=False, **variables):
    """A bake from the start, in an account that has nothing in it. `within` is the other root of the instance, if it has one."""
    cloud.forget()
    instance.forget()
    if within:
        instance.within.write_text(within)
    cloud.faults = dict(faults)
    if temporary_key:
        cloud.answered = lambda call: call.operation == "CreateKeyPair" and instance.admit(re.search(r"<keyMaterial>(.*?)</keyMaterial>", call.answer, re.S)[1])
    else:
        cloud.client("ec2").import_key_pair(KeyName="test", PublicKeyMaterial=instance.public.encode())
        variables |= {"ssh_keypair_name": "test", "ssh_private_key_file": str(instance.key)}
    if subnet:
        variables["subnet_id"] = cloud.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    variables |= {"ssh_host": "127.0.0.1", "ssh_port": instance.port, "ssh_username": instance.user}
    code, said, seconds = run(kind, "build", "-color=false", during=during, **variables)
    performed.update(call.action for call in cloud.calls)
    same("only AWS was called", cloud.outside, [])
    return code, said, seconds


def left(regions=(REGION,)):
    """Returns what there is in the account, except the key pair of the test and the default security groups."""
    found = {}
    for region in regions:
        ec2, ssm = cloud.client("ec2", region), cloud.client("ssm", region)
        instances = [one for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
        snapshots = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        found[region] = {
            "instances": [one["InstanceId"] for one in instances if one["State"]["Name"] != "terminated"],
            "volumes": [one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]],
            # moto makes up a snapshot for each image that is registered, and keeps it.
            "snapshots": [one["SnapshotId"] for one in snapshots if not one["Description"].startswith("Auto-created snapshot for AMI")],
            "images": [one["ImageId"] for one in ec2.describe_images(Owners=["self"])["Images"]],
            "groups": [one["GroupName"] for one in ec2.describe_security_groups()["SecurityGroups"] if one["GroupName"] != "default"],
            "keys": [one["KeyName"] for one in ec2.describe_key_pairs()["KeyPairs"] if one["KeyName"] != "test"],
            "parameters": {one["Name"]: ssm.get_parameter(Name=one["Name"])["Parameter"]["Value"] for one in ssm.describe_parameters()["Parameters"]},
        }
    return found



def clean(what, account=None):
    """Nothing stays but what is named: not in the account, not on the instance, not here."""
    for region, found in left().items():
        same(f"left in {region} after {what}", found, {**NOTHING, **(account or {})})
    same(f"left on the instance after {what}", instance.leftovers(), [])
    deadline = time.monotonic() + 5
    while os.listdir(directory / "tmp") and time.monotonic() < deadline:
        time.sleep(0.05)
    same(f"left on this machine after {what}", sorted(os.listdir(directory / "tmp")), [])


def manifest():
    path = directory / "packer-manifest.json"
    return json.loads(path.read_text())["builds"] if path.exists() else []


def close():
    instance.close()
    cloud.close()
