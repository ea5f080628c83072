"""Runs both kinds of bake with the real Packer, against moto's EC2 and an sshd on this machine that plays the instance.

usage: bake.py DIRECTORY PACKER PLUGINS [PROGRAM TREE]
The test makes DIRECTORY. PACKER is the program, and PLUGINS is the directory in which it has its plugins. The test uses the
templates as they are. PROGRAM is `appliance` and TREE is a Debian with systemd, for the bake on Amazon Linux, which needs
root; without them the test runs only the bake of the disk that Nix built. Prints one JSON line with its figures.
"""

import json
import sys

import al2023
import nixos
from aws import REGION
from promises import FREE, REFUSED, UNSEEN, actions, by_hand, declared, documented, policies
from scene import clean, close, cloud, directory, figures, holds, left, performed, root, run, same, shell


def variables():
    """Each variable has its line in docs/deploy/ami-variables.md, and says what is wrong with a value that cannot be."""
    same("the variables of the page", documented(), declared("shared") | declared("nixos") | declared("al2023"))
    for kind, rounds in REFUSED.items():
        own = declared("shared") | declared(kind) if kind == "nixos" else declared(kind)
        same(f"the variables that are tried with {kind}", set(rounds[0]), set(own) - {"image"})
        # A good value for what has to exist.
        good = {"image": str(nixos.image("result-valid"))} if kind == "nixos" else {"program": sys.executable}
        code, said, _ = run(kind, "validate", **good)
        same(f"the template is valid {said}", code, 0)
        for tried in rounds:
            code, said, _ = run(kind, "validate", **{**good, **{name: value for name, (value, _) in tried.items()}})
            same(f"values that cannot be {said}", code, 1)
            for name, (_, phrase) in tried.items():
                holds(f"what is said about {name}", phrase in " ".join(said.split()), said)
    for place in ("shared", *REFUSED):
        same("the template is formatted", run(place, "fmt", "-check", "-diff")[:2], (0, ""))
    for kind in REFUSED:
        for name in ("source", "variables"):
            holds("both share it", (root / "packer" / kind / f"{name}.pkr.hcl").samefile(root / "packer/shared" / f"{name}.pkr.hcl"))
    nixos.variables()


def without_packer():
    """The page's commands, with a snapshot that is there already for coldsnap to have made."""
    cloud.forget()
    ec2 = cloud.client("ec2")
    volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=volume, Description="disk.img")["SnapshotId"]
    shims = directory / "shims"
    shims.mkdir()
    for name, script in {"cargo": "exit 0", "coldsnap": f'printf "%s\\n" "$@" >{directory}/coldsnap; echo {snapshot}'}.items():
        (shims / name).write_text(f"#!/bin/sh\n{script}\n")
        (shims / name).chmod(0o755)
    shell("bash", "-euo", "pipefail", "-c", by_hand(), first=shims)
    given = (directory / "coldsnap").read_text().split()
    key = cloud.client("kms").describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]["Arn"]
    same("the key of the snapshot", given[given.index("--kms-key-id") + 1], key)
    (registered,), (put,) = cloud.of("RegisterImage"), cloud.of("PutParameter")
    wanted = {
        "Architecture": "x86_64", "BootMode": "uefi", "EnaSupport": "true", "ImdsSupport": "v2.0", "RootDeviceName": "/dev/xvda", "VirtualizationType": "hvm",
    }  # fmt: skip
    same("the image", {name: registered.parameters.get(name) for name in wanted}, wanted)
    mapping = {"DeviceName": "/dev/xvda", "Ebs.SnapshotId": snapshot, "Ebs.VolumeType": "gp3", "Ebs.DeleteOnTermination": "true"}
    same("the root volume", registered.group("BlockDeviceMapping"), [mapping])
    same("the tags", set(registered.tags("image")), {"project", "bake", "revision"})
    same("the parameter", (put.parameters["Value"], put.parameters["DataType"]), (left()[REGION]["images"][0], "aws:ec2:image"))


def permissions(simple):
    """The policy of the page allows what was done, all of it, and nothing that nobody needs."""
    needed, optional = (actions(one) for one in policies())
    for number, statements in enumerate(policies()):
        # Refuses what is no policy.
        cloud.client("iam").create_policy(PolicyName=f"policy{number}", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    same("calls of a bake that the policy does not allow", simple - FREE - needed, set())
    same("calls of any bake that neither policy allows", performed - FREE - needed - optional, set())
    same("allowed actions that no bake has used", (needed | optional) - performed, set(UNSEEN))
    same("actions in both policies", needed & optional, set())


try:
    variables()
    nixos.succeeds("x86_64", "x86_64-linux", temporary_key=False)
    nixos.succeeds("arm64", "aarch64-linux", temporary_key=True)
    nixos.failures()
    nixos.common()
    if sys.argv[4:]:
        amazon = al2023.Bake(*sys.argv[4:])
        amazon.succeeds("x86_64", temporary_key=True)
        amazon.succeeds("arm64", temporary_key=False)
        amazon.failures()
        amazon.broken_copies()
        amazon.common()
    simple = set(performed)
    nixos.elsewhere()
    if sys.argv[4:]:
        amazon.elsewhere()
    permissions(simple)
    without_packer()
finally:
    close()
print(json.dumps(figures))
