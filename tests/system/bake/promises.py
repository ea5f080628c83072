"""The promises of the pages about bakes and of the templates' variables, read from there, and values that each variable rejects."""

import json
import re
from pathlib import Path

packer = Path(__file__).parents[3] / "packer"
pages = Path(__file__).parents[3] / "docs/deploy"

# Actions of the policy that no bake of the test performs, each with the reason why it stands there.
UNSEEN = {
    "ec2:DeleteVolume": "Packer removes volumes that stay after the instance; moto's never do",
    "iam:GetInstanceProfile": "only session_manager needs a profile, and has no counterpart here",
    "iam:PassRole": "is no request, but permission to launch with that profile",
    "ssm:StartSession": "session_manager",
    "ssm:TerminateSession": "session_manager",
    "kms:CreateGrant": "EC2 asks KMS itself, in the name of whoever asked EC2; so it is for all of KMS",
    "kms:Decrypt": "EC2",
    "kms:DescribeKey": "EC2",
    "kms:GenerateDataKeyWithoutPlaintext": "EC2",
    "kms:ReEncryptFrom": "EC2",
    "kms:ReEncryptTo": "EC2",
}
# The AWS CLI and the SDK may ask who they are without permission.
FREE = {"sts:GetCallerIdentity"}

# Values that are refused by each kind of bake, and what is said then. All of a round are tried at once. The variables that
# both share are tried with one.
REFUSED = {
    "nixos": [
        {
            "revision": ("main", "must be what `git rev-parse HEAD` prints"),
            "volume_size": (1.5, "must be a whole number of GiB"),
            "region": ("europe", "must look like eu-central-1."),
            "kms_key_id": ("alias/images", "must be named by its full ARN"),
            "copy_to": ({"eu-west-1": "arn:aws:kms:us-east-1:123456789012:key/ab"}, "full ARN of a key in that region"),
            "share_with": (["12345678901"], "has 12 digits"),
            "deprecate_after_days": (-1, "after 1 to 3650 whole days"),
            "parameter_prefix": ("/mlflow/", "without a slash at its end"),
            "manifest": ("manifest.txt", "end with .json"),
            "source_ami": ("al2023", "begins with ami-"),
            "instance_type": ("large", "looks like c6i.large"),
            "subnet_id": ("net", "begins with subnet-"),
            "surrogate_device": ("sdf", "must be an absolute path, such as /dev/sdf"),
            "ssh_interface": ("telnet", "by session_manager (with `instance_profile`)"),
            "ssh_source_cidrs": (["0.0.0.0/0"], "none may be the whole internet"),
            "instance_profile": ("arn:aws:iam::123456789012:instance-profile/x", "not its ARN"),
            "ssh_username": ("Root User", "has small letters"),
            "ssh_host": ("a host", "must be a name or an address"),
            "ssh_port": (0, "from 1 to 65535"),
            "ssh_keypair_name": ("Schlüssel", "only ASCII"),
            "ssh_private_key_file": ("/nowhere/key", "no such file of a private key"),
            "temporary_directory": ("tmp", "The temporary directory must be an absolute path"),
        },
        {
            "parameter_prefix": ("/aws/mlflow", "AWS reserves names"),
            "volume_size": (20000, "from 1 to 16384"),
            "copy_to": ({"somewhere": ""}, "must look like eu-central-1, and its KMS key"),
            "ssh_source_cidrs": (["203.0.113.7"], "203.0.113.7/32"),
        },
        {"share_with": (["123456789012"], "Cannot share AMI encrypted with default KMS key")},
        {"ssh_interface": ("session_manager", "no iam_instance_profile defined")},
    ],
    "al2023": [
        {"architecture": ("aarch64", "x86_64 or arm64, as EC2 calls them"), "program": ("/nowhere/appliance", "There is no such program")},
    ],
}


def policies():
    """The policies of the page: what each bake needs, and what some need as well."""
    blocks = re.findall(r"```json\n(.*?)```", (pages / "ami-permissions.md").read_text(), re.S)
    return [json.loads(block)["Statement"] for block in blocks]


def by_hand():
    """The commands of the page that do without Packer."""
    return re.search(r"^```sh\n(.*?)^```$", (pages / "ami-without-packer.md").read_text(), re.S | re.M)[1]


def actions(statements):
    found = set()
    for statement in statements:
        found |= {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
    return found


def documented():
    """The variables of the page's tables, with what it says about them."""
    return dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", (pages / "ami-variables.md").read_text(), re.M))


def declared(place):
    """The variables of the files in one directory of the templates, links aside."""
    texts = [path.read_text() for path in sorted((packer / place).glob("*.pkr.hcl")) if not path.is_symlink()]
    return dict(re.findall(r'^variable "(\w+)" \{\n  description = "(.*)"$', "\n".join(texts), re.M))
