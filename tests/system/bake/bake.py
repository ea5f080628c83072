"""Whole bakes with the real Packer, against moto's EC2 and an sshd on this machine that plays the instance.

usage: bake.py DIRECTORY PACKER PLUGINS
DIRECTORY is made, PACKER is the program, PLUGINS the directory in which it has its plugins. The template is used as it
is. Prints one JSON line with its figures.
"""

import datetime
import hashlib
import json
import os
import re
import signal
import time

from aws import ADDRESS, REGION
from promises import FREE, REFUSED, UNSEEN, actions, by_hand, declared, documented, policies
from scene import STORE, bake, clean, close, cloud, directory, disk, figures, holds, image, instance, left, manifest, performed, run, same, shell

ACCOUNT, REVISION = "123456789012", "0123456789abcdef0123456789abcdef01234567"
FOREIGN = "us-west-2"
KEYS = {region: f"arn:aws:kms:{region}:{ACCOUNT}:key/12345678-1234-1234-1234-123456789012" for region in (REGION, FOREIGN)}


def requests(architecture, size):
    """What was asked of EC2 for an image in one region: exactly what the template promises."""
    (launched,), (snapshot,), (registered,) = (cloud.of(name) for name in ("RunInstances", "CreateSnapshot", "RegisterImage"))
    ours = {
        "project": "sagemaker-mlflow-appliance", "version": "26.05.1", "revision": REVISION, "architecture": architecture,
        "source": f"/nix/store/{STORE}-nixos-system", "closure": STORE, "Name": registered.parameters["Name"],
    }  # fmt: skip
    holds("the name says what it is", re.fullmatch(rf"mlflow-appliance-26\.05\.1-{architecture}-\d{{14}}", ours["Name"]), ours["Name"])

    run_options = launched.parameters
    same("one instance", (run_options["MinCount"], run_options["MaxCount"]), ("1", "1"))
    same("its type", run_options["InstanceType"], {"x86_64": "c6i.large", "arm64": "c6g.large"}[architecture])
    same("its metadata service", {k: v for k, v in run_options.items() if k.startswith("MetadataOptions.")}, {
        "MetadataOptions.HttpEndpoint": "enabled", "MetadataOptions.HttpTokens": "required", "MetadataOptions.HttpPutResponseHopLimit": "1",
    })  # fmt: skip
    source = cloud.client("ec2").describe_images(ImageIds=[run_options["ImageId"]])["Images"][0]
    holds("it runs Amazon Linux 2023", re.fullmatch(rf"al2023-ami-2023\.[\d.]+-kernel-[\d.]+-{architecture}", source["Name"]), source["Name"])
    for resource in ("instance", "volume", "network-interface"):
        same(f"tags of the {resource}", launched.tags(resource), ours)
    volumes = {one.pop("DeviceName"): one for one in launched.group("BlockDeviceMapping")}
    common = {"Ebs.VolumeType": "gp3", "Ebs.Encrypted": "true", "Ebs.DeleteOnTermination": "true"}
    same("its volumes", volumes, {"/dev/sdf": {**common, "Ebs.VolumeSize": size}, "/dev/xvda": {**common, "Ebs.VolumeSize": "16"}})
    (opened,) = cloud.of("AuthorizeSecurityGroupIngress")
    permissions = {name.partition(".")[2]: value for name, value in opened.parameters.items() if name.startswith("IpPermissions")}
    same("who may log in", permissions, {"1.FromPort": str(instance.port), "1.ToPort": str(instance.port), "1.IpProtocol": "tcp", "1.IpRanges.1.CidrIp": f"{ADDRESS}/32"})

    # The snapshot of an encrypted volume is encrypted, and an image that is registered from it too: EC2 allows no
    # word about that where a mapping names a snapshot.
    same("tags of the security group", cloud.of("CreateSecurityGroup")[0].tags("security-group"), ours)
    same("tags of a key pair", [call.tags("key-pair") for call in cloud.of("CreateKeyPair")], [ours] * len(cloud.of("CreateKeyPair")))
    same("tags of the snapshot", snapshot.tags("snapshot"), ours)
    attached = {volume for call in cloud.of("DescribeInstances") for volume in re.findall(r"<deviceName>/dev/sdf</deviceName>.*?<volumeId>(vol-\w+)", call.answer, re.S)}
    same("what is snapshot is the volume that was written", {snapshot.parameters["VolumeId"]}, attached)
    (snapshot_id,) = left()[REGION]["snapshots"]
    mappings = registered.group("BlockDeviceMapping")
    same("the root volume", mappings, [{"DeviceName": "/dev/xvda", "Ebs.SnapshotId": snapshot_id, "Ebs.VolumeType": "gp3", "Ebs.VolumeSize": size, "Ebs.DeleteOnTermination": "true"}])
    rest = {name: value for name, value in registered.parameters.items() if not name.startswith("BlockDeviceMapping")}
    rest.pop("Version")
    same("the image", rest, {
        "Name": ours["Name"], "Architecture": architecture, "BootMode": "uefi", "EnaSupport": "true", "RootDeviceName": "/dev/xvda", "VirtualizationType": "hvm",
    })  # fmt: skip
    attributes = [{k: v for k, v in call.parameters.items() if k not in ("ImageId", "Version")} for call in cloud.of("ModifyImageAttribute")]
    same("its metadata service is version 2", [one for one in attributes if "ImdsSupport.Value" in one], [{"ImdsSupport.Value": "v2.0"}])
    (deprecation,) = cloud.of("EnableImageDeprecation")
    days = datetime.datetime.fromisoformat(deprecation.parameters["DeprecateAt"].replace("Z", "+00:00")) - datetime.datetime.now(datetime.timezone.utc)
    holds("it is deprecated after 90 days", datetime.timedelta(days=89.9) < days < datetime.timedelta(days=90), days)
    for call in cloud.of("CreateTags"):
        same("tags of image and snapshot", call.tags(), ours)
    tagged = {value for call in cloud.of("CreateTags") for name, value in call.parameters.items() if name.startswith("ResourceId")}
    holds("the image is tagged", manifest()[-1]["artifact_id"].split(":")[1] in tagged, tagged)
    return ours, snapshot_id


def succeeds(architecture, system, temporary_key):
    place, size = image(f"result-{architecture}", system), 8 * 2**20
    volume = disk(size)
    before = len(manifest())
    code, said, seconds = bake(place, volume, temporary_key=temporary_key, revision=REVISION)
    same(f"a bake for {architecture} {said}", code, 0)
    figures["seconds"][architecture] = round(seconds, 1)
    content = (place / "nixos.img").read_bytes()
    with open(volume, "rb") as device:
        same("the volume begins with the image", hashlib.sha256(device.read(len(content))).hexdigest(), hashlib.sha256(content).hexdigest())
        holds("and ends as it was", not any(device.read()))
    ours, snapshot = requests(architecture, "3")
    added = manifest()[before:]
    same("the manifest has one entry more", len(added), 1)
    same("what the manifest says", added[0]["custom_data"], {**ours, "volume_size": "3"})
    region, _, registered = added[0]["artifact_id"].partition(":")
    same("where it was baked", region, REGION)
    name = f"/mlflow-appliance/ami/{architecture}"
    clean(f"a bake for {architecture}", {"snapshots": [snapshot], "images": [registered], "parameters": {name: registered}})
    (put,) = cloud.of("PutParameter")
    same("the parameter", {k: put.parameters[k] for k in ("Name", "Type", "DataType", "Overwrite", "Value")}, {
        "Name": name, "Type": "String", "DataType": "aws:ec2:image", "Overwrite": True, "Value": registered,
    })  # fmt: skip
    tags = cloud.client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"]
    same("tags of the parameter", tags, [{"Key": "project", "Value": "sagemaker-mlflow-appliance"}])


def succeeds_elsewhere():
    """Copies, each with a key of its own, that another account may launch; no parameter, no deprecation."""
    place, other = image("result-shared"), "210987654321"
    sharing = {"kms_key_id": KEYS[REGION], "copy_to": {FOREIGN: KEYS[FOREIGN]}, "share_with": [other]}
    code, said, seconds = bake(place, disk(2**30), revision=REVISION, parameter_prefix="", deprecate_after_days=0, volume_size=5, subnet=True, **sharing)
    same(f"a bake that is copied and shared {said}", code, 0)
    figures["seconds"]["copied and shared"] = round(seconds, 1)
    (launched,) = cloud.of("RunInstances")
    same("the keys of the volumes", [one["Ebs.KmsKeyId"] for one in launched.group("BlockDeviceMapping")], [KEYS[REGION]] * 2)
    same("their sizes", {one["DeviceName"]: one["Ebs.VolumeSize"] for one in launched.group("BlockDeviceMapping")}, {"/dev/sdf": "5", "/dev/xvda": "16"})
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
        same(f"who may launch it in {region}", allowed, [{"UserId": other}])
    imds = {(call.region, call.parameters["ImageId"]) for call in cloud.of("ModifyImageAttribute") if call.parameters.get("ImdsSupport.Value") == "v2.0"}
    same("whose metadata service is version 2", imds, set(images.items()))

    # Without another key there, the copies are made of the image itself, which is encrypted already.
    code, said, seconds = bake(place, disk(2**30), copy_to={FOREIGN: ""})
    same(f"a bake that is copied {said}", code, 0)
    images = dict(one.split(":") for one in manifest()[-1]["artifact_id"].split(","))
    same("one copy", [(call.region, call.parameters["SourceImageId"], call.parameters.get("Encrypted")) for call in cloud.of("CopyImage")], [(FOREIGN, images[REGION], None)])
    same("the parameter of each region", {region: one["parameters"] for region, one in left(KEYS).items()}, {region: {"/mlflow-appliance/ami/x86_64": made} for region, made in images.items()})


def fails(what, phrase, place, volume, **options):
    before = manifest()
    code, said, _ = bake(place, volume, **options)
    same(f"{what} fails", code, 1)
    # Packer breaks long lines.
    holds(f"{what} is explained", phrase in " ".join(said.replace("==>", "").replace("amazon-ebssurrogate.appliance:", "").split()), said)
    if not cloud.of("RegisterImage"):
        same(f"{what}: no snapshot is made", cloud.of("CreateSnapshot"), [])
    return said, manifest()[len(before) :]


def failures():
    place, size = image("result-failing"), 8 * 2**20
    large = image("result-large", content=b"")
    os.truncate(large / "nixos.img", 2**30 + 1)
    said, _ = fails("a volume that is too small", "does not fit on a volume of 1 GiB: set volume_size to 2 or more", large, disk(size), volume_size=1)
    holds("nothing is uploaded then", "Uploading" not in said, said)
    clean("a volume that is too small")

    said, _ = fails("an image that is not what was built", "has the SHA-256", image("result-changed", sha256="0" * 64), disk(size))
    holds("nothing is uploaded then", "Uploading" not in said, said)
    clean("an image that is not what was built")

    said, _ = fails("a device that is too small", f"{directory}/volume has 6291456 bytes, but the image has 6291968", place, disk(6 * 2**20))
    holds("no image is uploaded then", "expected =>" in said and "image.gz =>" not in said, said)
    clean("a device that is too small")

    said, _ = fails("a device that does not read back", "does not read back as the image: SHA-256", place, disk(size, garbage=True))
    clean("a device that does not read back")

    # Nothing can be asked of an image that was refused, but all that led to it has to go.
    refused = {"RegisterImage": ("InvalidParameterValue", "no such image today")}
    fails("an image that EC2 refuses", "no such image today", place, disk(size), faults=refused)
    clean("an image that EC2 refuses")
    same("its snapshot is removed", len(cloud.of("DeleteSnapshot")), 1)

    refused = {"ModifyImageAttribute": ("UnauthorizedOperation", "not for you")}
    fails("an image that cannot be bound to version 2 of the metadata service", "not for you", place, disk(size), faults=refused)
    clean("an image that cannot be bound to version 2 of the metadata service")
    same("the image is removed", len(cloud.of("DeregisterImage")), 1)

    refused = {"PutParameter": ("AccessDeniedException", "no parameters for you")}
    _, added = fails("a parameter that is refused", "no parameters for you", place, disk(size), faults=refused)
    # The image is good, and is published later, as the README says.
    kept = {"snapshots": left()[REGION]["snapshots"], "images": [added[0]["artifact_id"].split(":")[1]]}
    same("one snapshot is kept", len(kept["snapshots"]), 1)
    clean("a parameter that is refused", kept)
    cloud.faults = {}
    shell("packer/publish.sh", directory / "packer-manifest.json", "/mlflow-appliance/ami", "x86_64")
    clean("a parameter that is accepted later", {**kept, "parameters": {"/mlflow-appliance/ami/x86_64": kept["images"][0]}})


def interrupted():
    """Ctrl-C while the instance is at work."""
    place = image("result-interrupted")

    def interrupt(process):
        instance.hold.touch()
        deadline = time.monotonic() + 60
        while not instance.reached.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"nothing to interrupt: {process.communicate()[0]}")
            time.sleep(0.05)
        holds("the compressed image is there", any(directory.glob("tmp/mlflow-appliance-*/image.gz")))
        # As a terminal does it.
        os.killpg(process.pid, signal.SIGINT)

    code, said, _ = bake(place, disk(8 * 2**20), during=interrupt)
    same(f"an interrupted bake fails {said}", code, 1)
    # What was uploaded goes with the disk of the instance, which here is this machine's.
    instance.forget()
    clean("an interrupted bake")


def variables():
    """Each variable has its line in the README, and says what is wrong with a value that cannot be."""
    same("the variables of the README", documented(), declared())
    same("the variables that are tried", set(REFUSED[0]), set(declared()) - {"image"})
    place = image("result-valid")
    code, said, _ = run("validate", image=str(place))
    same(f"the template is valid {said}", code, 0)
    for tried in REFUSED:
        code, said, _ = run("validate", image=str(place), **{name: value for name, (value, _) in tried.items()})
        same(f"values that cannot be {said}", code, 1)
        for name, (_, phrase) in tried.items():
            holds(f"what is said about {name}", phrase in " ".join(said.split()), said)
    two, none = image("result-two"), image("result-none")
    (two / "second.raw").symlink_to(two / "nixos.img")
    (none / "nixos.img").rename(none / "nixos.vhd")
    for what, phrase in [
        (directory / "nowhere", "has no nix-support/image-info.json"),
        (two, "must have exactly one raw disk image"),
        (none, "must have exactly one raw disk image"),
        (image("result-other", system="riscv64-linux"), "must be x86_64-linux or aarch64-linux"),
        (image("result-bios", boot_mode="legacy-bios"), "must be uefi"),
    ]:
        code, said, _ = run("validate", image=str(what))
        same(f"{what} is refused {said}", code, 1)
        holds(f"why {what} is refused", phrase in " ".join(said.split()), said)
    same("the template is formatted", run("fmt", "-check", "-diff")[:2], (0, ""))


def without_packer():
    """The README's commands, with a snapshot that is there already for coldsnap to have made."""
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
    same("the tags", set(registered.tags("image")), {"project", "revision"})
    same("the parameter", (put.parameters["Value"], put.parameters["DataType"]), (left()[REGION]["images"][0], "aws:ec2:image"))


def permissions(simple):
    """The policy of the README allows what was done, all of it, and nothing that nobody needs."""
    needed, optional = (actions(one) for one in policies())
    for number, statements in enumerate(policies()):
        # Refuses what is no policy.
        cloud.client("iam").create_policy(PolicyName=f"policy{number}", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    same("what a bake does beyond the policy", simple - FREE - needed, set())
    same("what any bake does beyond both policies", performed - FREE - needed - optional, set())
    same("what the policies allow and nobody did", (needed | optional) - performed, set(UNSEEN))
    same("what both policies allow", needed & optional, set())


try:
    variables()
    succeeds("x86_64", "x86_64-linux", temporary_key=False)
    succeeds("arm64", "aarch64-linux", temporary_key=True)
    failures()
    interrupted()
    simple = set(performed)
    succeeds_elsewhere()
    permissions(simple)
    without_packer()
finally:
    close()
print(json.dumps(figures))
