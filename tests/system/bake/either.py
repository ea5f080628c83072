"""Checks that both bakes pass. `start` bakes one kind with the variables that it needs and with more options, in an empty account."""

import os
import signal
import time

from aws import REGION
from scene import clean, cloud, directory, figures, holds, instance, left, manifest, same, shell

ACCOUNT, FOREIGN = "123456789012", "us-west-2"
KEYS = {region: f"arn:aws:kms:{region}:{ACCOUNT}:key/12345678-1234-1234-1234-123456789012" for region in (REGION, FOREIGN)}


def succeeds(what, start, **options):
    """Bakes, and returns how many entries the manifest had before."""
    before = len(manifest())
    code, said, seconds = start(**options)
    same(f"a bake, {what} {said}", code, 0)
    figures["seconds"][what] = round(seconds, 1)
    return before


def fails(what, phrase, start, **options):
    before = manifest()
    code, said, _ = start(**options)
    same(f"{what} fails", code, 1)
    # Packer breaks long lines.
    holds(f"{what} is explained", phrase in " ".join(said.replace("==>", "").replace("amazon-ebssurrogate.appliance:", "").split()), said)
    if not cloud.of("RegisterImage"):
        same(f"{what}: no snapshot is made", cloud.of("CreateSnapshot"), [])
    return said, manifest()[len(before) :]


def copied_and_shared(kind, start, volumes):
    """Copies, each with a key of its own, that another account may launch; no parameter, no deprecation."""
    other = "210987654321"
    sharing = {"kms_key_id": KEYS[REGION], "copy_to": {FOREIGN: KEYS[FOREIGN]}, "share_with": [other]}
    succeeds(f"{kind}, copied and shared", start, parameter_prefix="", deprecate_after_days=0, subnet=True, **sharing)
    (launched,) = cloud.of("RunInstances")
    found = {one["DeviceName"]: (one["Ebs.KmsKeyId"], one["Ebs.VolumeSize"]) for one in launched.group("BlockDeviceMapping")}
    same("the keys and sizes of the volumes", found, {name: (KEYS[REGION], size) for name, size in volumes.items()})
    copies = {call.region: (call.parameters["Encrypted"], call.parameters["KmsKeyId"]) for call in cloud.of("CopyImage")}
    same("the keys of the copies", copies, {region: ("true", key) for region, key in KEYS.items()})
    images = dict(one.split(":") for one in manifest()[-1]["artifact_id"].split(","))
    same("where the manifest says images are", set(images), set(KEYS))
    found = left(KEYS)
    same("the images that stay", {region: one["images"] for region, one in found.items()}, {region: [made] for region, made in images.items()})
    same("no parameter", [one["parameters"] for one in found.values()], [{}, {}])
    same("no deprecation", cloud.of("EnableImageDeprecation"), [])
    for region, made in images.items():
        allowed = cloud.client("ec2", region).describe_image_attribute(ImageId=made, Attribute="launchPermission")["LaunchPermissions"]
        same(f"the accounts that may launch it in {region}", allowed, [{"UserId": other}])
    imds = {(call.region, call.parameters["ImageId"]) for call in cloud.of("ModifyImageAttribute") if call.parameters.get("ImdsSupport.Value") == "v2.0"}
    same("whose metadata service is version 2", imds, set(images.items()))


def copied(kind, start):
    """Without another key there, the copies are made of the image itself, which is encrypted already."""
    succeeds(f"{kind}, copied", start, copy_to={FOREIGN: ""})
    images = dict(one.split(":") for one in manifest()[-1]["artifact_id"].split(","))
    same("one copy", [(call.region, call.parameters["SourceImageId"], call.parameters.get("Encrypted")) for call in cloud.of("CopyImage")], [(FOREIGN, images[REGION], None)])
    same("the parameter of each region", {region: one["parameters"] for region, one in left(KEYS).items()}, {region: {"/mlflow-appliance/ami/x86_64": made} for region, made in images.items()})


def refused(start):
    """Nothing can be asked of an image that EC2 refused, but all that led to it has to go."""
    faults = {"RegisterImage": ("InvalidParameterValue", "no such image today")}
    fails("an image that EC2 refuses", "no such image today", start, faults=faults)
    clean("an image that EC2 refuses")
    same("its snapshot is removed", len(cloud.of("DeleteSnapshot")), 1)

    faults = {"ModifyImageAttribute": ("UnauthorizedOperation", "not for you")}
    fails("an image that cannot be bound to version 2 of the metadata service", "not for you", start, faults=faults)
    clean("an image that cannot be bound to version 2 of the metadata service")
    same("the image is removed", len(cloud.of("DeregisterImage")), 1)

    faults = {"PutParameter": ("AccessDeniedException", "no parameters for you")}
    _, added = fails("a parameter that is refused", "no parameters for you", start, faults=faults)
    # The image is good, and is published later, as docs/deploy/ami.md says.
    kept = {"snapshots": left()[REGION]["snapshots"], "images": [added[0]["artifact_id"].split(":")[1]]}
    same("one snapshot is kept", len(kept["snapshots"]), 1)
    clean("a parameter that is refused", kept)
    cloud.faults = {}
    shell("packer/publish.sh", directory / "packer-manifest.json", "/mlflow-appliance/ami", "x86_64")
    clean("a parameter that is accepted later", {**kept, "parameters": {"/mlflow-appliance/ami/x86_64": kept["images"][0]}})


def interrupted(start, meanwhile=lambda: None):
    """Ctrl-C while the instance is at work; `meanwhile` looks at what is there then."""

    def interrupt(process):
        instance.hold.touch()
        deadline = time.monotonic() + 60
        while not instance.reached.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"nothing to interrupt: {process.communicate()[0]}")
            time.sleep(0.05)
        meanwhile()
        # As a terminal does it.
        os.killpg(process.pid, signal.SIGINT)

    code, said, _ = start(during=interrupt)
    same(f"an interrupted bake fails {said}", code, 1)
    # An upload disappears with the disk of its instance. That disk is this machine's here, so the test removes the upload.
    instance.forget()
    clean("an interrupted bake")
