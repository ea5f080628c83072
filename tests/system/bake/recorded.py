"""Compares the requests that a bake made for an image in one region with those that the templates promise.

Both bakes share one source, so they differ only in the volumes, the version and where the image comes from.
"""

import datetime
import re

from aws import ADDRESS, REGION
from scene import clean, cloud, holds, instance, left, manifest, same

REVISION = "0123456789abcdef0123456789abcdef01234567"
SYSTEMS = {"nixos": "NixOS", "al2023": "Amazon Linux 2023"}
TYPES = {"x86_64": "c6i.large", "arm64": "c6g.large"}


def check(kind, architecture, version, volumes, root, size, before, **origin):
    """`volumes` has the size of each volume of the instance, `root` is the one that becomes the image, of `size` GiB."""
    (launched,), (snapshot,), (registered,) = (cloud.of(name) for name in ("RunInstances", "CreateSnapshot", "RegisterImage"))
    source = cloud.client("ec2").describe_images(ImageIds=[launched.parameters["ImageId"]])["Images"][0]["Name"]
    holds("it runs Amazon Linux 2023", re.fullmatch(rf"al2023-ami-2023\.[\d.]+-kernel-[\d.]+-{architecture}", source), source)
    ours = {
        "project": "sagemaker-mlflow-appliance", "bake": kind, "version": version, "revision": REVISION,
        "architecture": architecture, "source": source, "Name": registered.parameters["Name"], **origin,
    }  # fmt: skip
    holds("the name says what it is", re.fullmatch(rf"mlflow-appliance-{re.escape(version)}-{architecture}-\d{{14}}", ours["Name"]), ours["Name"])
    instances(launched, ours, volumes, TYPES[architecture])
    snapshot_id = images(snapshot, registered, ours, root, size)
    published(ours, snapshot_id, size, before)


def instances(launched, ours, volumes, kind):
    options = launched.parameters
    same("one instance", (options["MinCount"], options["MaxCount"]), ("1", "1"))
    same("its type", options["InstanceType"], kind)
    same("it gets no user data", options.get("UserData", ""), "")
    same("its metadata service", {k: v for k, v in options.items() if k.startswith("MetadataOptions.")}, {
        "MetadataOptions.HttpEndpoint": "enabled", "MetadataOptions.HttpTokens": "required", "MetadataOptions.HttpPutResponseHopLimit": "1",
    })  # fmt: skip
    for resource in ("instance", "volume", "network-interface"):
        same(f"tags of the {resource}", launched.tags(resource), ours)
    found = {one.pop("DeviceName"): one for one in launched.group("BlockDeviceMapping")}
    common = {"Ebs.VolumeType": "gp3", "Ebs.Encrypted": "true", "Ebs.DeleteOnTermination": "true"}
    same("its volumes", found, {name: {**common, "Ebs.VolumeSize": size} for name, size in volumes.items()})
    (opened,) = cloud.of("AuthorizeSecurityGroupIngress")
    permissions = {name.partition(".")[2]: value for name, value in opened.parameters.items() if name.startswith("IpPermissions")}
    same("the network that may log in", permissions, {"1.FromPort": str(instance.port), "1.ToPort": str(instance.port), "1.IpProtocol": "tcp", "1.IpRanges.1.CidrIp": f"{ADDRESS}/32"})
    same("tags of the security group", cloud.of("CreateSecurityGroup")[0].tags("security-group"), ours)
    same("tags of a key pair", [call.tags("key-pair") for call in cloud.of("CreateKeyPair")], [ours] * len(cloud.of("CreateKeyPair")))


def images(snapshot, registered, ours, root, size):
    # The snapshot of an encrypted volume is encrypted, and an image that is registered from it too: EC2 allows no
    # word about that where a mapping names a snapshot.
    same("tags of the snapshot", snapshot.tags("snapshot"), ours)
    attached = {volume for call in cloud.of("DescribeInstances") for volume in re.findall(rf"<deviceName>{root}</deviceName>.*?<volumeId>(vol-\w+)", call.answer, re.S)}
    same("the snapshot is of the volume that was written", {snapshot.parameters["VolumeId"]}, attached)
    (snapshot_id,) = left()[REGION]["snapshots"]
    mappings = registered.group("BlockDeviceMapping")
    same("the root volume", mappings, [{"DeviceName": "/dev/xvda", "Ebs.SnapshotId": snapshot_id, "Ebs.VolumeType": "gp3", "Ebs.VolumeSize": size, "Ebs.DeleteOnTermination": "true"}])
    rest = {name: value for name, value in registered.parameters.items() if not name.startswith("BlockDeviceMapping")}
    rest.pop("Version")
    same("the image", rest, {
        "Name": ours["Name"], "Architecture": ours["architecture"], "BootMode": "uefi", "EnaSupport": "true", "RootDeviceName": "/dev/xvda", "VirtualizationType": "hvm",
    })  # fmt: skip
    attributes = [{k: v for k, v in call.parameters.items() if k not in ("ImageId", "Version")} for call in cloud.of("ModifyImageAttribute")]
    same("its metadata service is version 2", [one for one in attributes if "ImdsSupport.Value" in one], [{"ImdsSupport.Value": "v2.0"}])
    # `appliance deploy plan` shows the description, and so which bake made the image.
    described = f"SageMaker MLflow appliance {ours['version']}, {SYSTEMS[ours['bake']]}, {ours['architecture']}"
    same("its description", [one["Description.Value"] for one in attributes if "Description.Value" in one], [described])
    (deprecation,) = cloud.of("EnableImageDeprecation")
    days = datetime.datetime.fromisoformat(deprecation.parameters["DeprecateAt"].replace("Z", "+00:00")) - datetime.datetime.now(datetime.timezone.utc)
    holds("it is deprecated after 90 days", datetime.timedelta(days=89.9) < days < datetime.timedelta(days=90), days)
    for call in cloud.of("CreateTags"):
        same("tags of image and snapshot", call.tags(), ours)
    tagged = {value for call in cloud.of("CreateTags") for name, value in call.parameters.items() if name.startswith("ResourceId")}
    holds("the image is tagged", manifest()[-1]["artifact_id"].split(":")[1] in tagged, tagged)
    return snapshot_id


def published(ours, snapshot, size, before):
    """The manifest has one entry more than `before`, and the parameter that the stacks read has the image's id."""
    added = manifest()[before:]
    same("the manifest has one entry more", len(added), 1)
    same("the manifest", added[0]["custom_data"], {**ours, "volume_size": size})
    region, _, registered = added[0]["artifact_id"].partition(":")
    same("where it was baked", region, REGION)
    name = f"/mlflow-appliance/ami/{ours['architecture']}"
    clean(f"a bake for {ours['architecture']}", {"snapshots": [snapshot], "images": [registered], "parameters": {name: registered}})
    (put,) = cloud.of("PutParameter")
    same("the parameter", {k: put.parameters[k] for k in ("Name", "Type", "DataType", "Overwrite", "Value")}, {
        "Name": name, "Type": "String", "DataType": "aws:ec2:image", "Overwrite": True, "Value": registered,
    })  # fmt: skip
    tags = cloud.client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"]
    same("tags of the parameter", tags, [{"Key": "project", "Value": "sagemaker-mlflow-appliance"}])
