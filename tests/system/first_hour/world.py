"""The networks of an account: AWS itself, which is this process, and beside it load balancer, instances and a client.

Each of them is a network namespace with one address of the VPC, and this one routes between them. Whoever starts this has
made the namespaces of this process for it (`unshare`), so that nothing is left of them in the end.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request as web
from pathlib import Path

import boto3
from figures import holds
from machine import run
from moto.elbv2.models import FakeTargetGroup
from moto.sts.models import STSBackend
from scene import Scene, stop

here = Path(__file__).parent
REGION, AWS, METADATA = "us-east-1", "10.77.0.1", "169.254.169.254"
# Of the services that the rehearsal imitates, those that moto answers for here: stacks and instances speak to the same one.
MOTO = ["elasticloadbalancing", "logs", "secretsmanager", "ssm", "sts"]


class World(Scene):
    """The directory, what undoes it in the end, and the parts of it that run."""

    def __init__(self, directory, stack):
        super().__init__(directory, stack)
        self.cloud, self.client, self.balancer = "cloud", "client", None

    def network(self):
        """This namespace becomes AWS."""
        run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
        run("ip", "netns", "attach", self.cloud, str(os.getpid()))
        run("ip", "link", "set", "lo", "up")
        for address in (AWS, METADATA):
            run("ip", "addr", "add", f"{address}/32", "dev", "lo")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def join(self, name, address):
        """A host with this address, by a network namespace of this name."""
        run("ip", "netns", "add", name)
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", name, "up")
        run("ip", "route", "add", f"{address}/32", "dev", name, "src", AWS)
        for command in (["link", "set", "lo", "up"], ["addr", "add", f"{address}/32", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            run("ip", "-n", name, *command)
        run("ip", "-n", name, "route", "add", AWS, "dev", "eth0", "src", address)
        run("ip", "-n", name, "route", "add", "default", "via", AWS, "dev", "eth0", "src", address)

    def start(self, whole, mode, aws, port):
        """`aws` makes clients of the moto in this process, which listens on `port`."""
        self.aws = aws
        names = {f"{name}.{REGION}.amazonaws.com": "moto" for name in MOTO}
        self.start_cloud(whole, mode, moto=port, parameters=None, names=names)
        self.roles_are_the_sandboxs()

    def announce(self, instances):
        """Sets what the metadata service says to each instance, by the address of the instance."""
        self.replace("state.json", {"since": time.time(), "instances": instances})

    def roles_are_the_sandboxs(self):
        """moto's STS hands out what the sandbox's doors accept, for a role that trusts the role of an instance profile."""
        original, world = STSBackend.assume_role, self

        def assume_role(backend, *args, **kwargs):
            role = original(backend, *args, **kwargs)
            iam = world.aws("iam")
            policy = iam.get_role(RoleName=role.role_arn.rpartition("/")[2])["Role"]["AssumeRolePolicyDocument"]
            trusted = {one["Principal"].get("AWS") for one in policy["Statement"]}
            profiles = iam.list_instance_profiles()["InstanceProfiles"]
            holds("the role trusts the instances", trusted & {one["Arn"] for profile in profiles for one in profile["Roles"]}, trusted)
            issued = world.credentials(role.session_name)
            role.access_key_id, role.secret_access_key = issued["AccessKeyId"], issued["SecretAccessKey"]
            role.session_token, role.expiration = issued["SessionToken"], issued["Expiration"]
            return role

        STSBackend.assume_role = assume_role

    def credentials(self, session):
        imds = self.sandbox["imds"] + "/latest"
        token = web.urlopen(web.Request(f"{imds}/api/token", method="PUT", headers={"x-aws-ec2-metadata-token-ttl-seconds": "60"})).read().decode()

        def get(path):
            return web.urlopen(web.Request(f"{imds}/{path}", headers={"x-aws-ec2-metadata-token": token})).read().decode()

        path = "meta-data/iam/security-credentials/"
        mine = json.loads(get(path + get(path).strip()))
        client = boto3.client(
            "sts", endpoint_url=self.sandbox["sts"], verify=self.sandbox["authority"], region_name=REGION,
            aws_access_key_id=mine["AccessKeyId"], aws_secret_access_key=mine["SecretAccessKey"], aws_session_token=mine["Token"],
        )  # fmt: skip
        return client.assume_role(RoleArn=self.sandbox["role_arn"], RoleSessionName=session)["Credentials"]

    # The load balancer.

    def start_balancer(self, settings, address):
        """balancer.py with what the stack says of balancer and targets. moto then knows as healthy what it finds healthy."""
        (self.directory / "balancer.json").write_text(json.dumps(settings))
        self.register({})
        self.join("balancer", address)
        command = ["ip", "netns", "exec", "balancer", sys.executable, str(here / "balancer.py"), str(self.directory)]
        log = open(self.directory / "balancer.log", "w")
        self.balancer = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        self.stack.callback(stop, self.balancer)
        original, world = FakeTargetGroup.health_for, self

        def health_for(group, target, ec2):
            said = original(group, target, ec2)
            if said.status == "healthy":
                said.status = world.health().get(target["Id"], "initial")
            return said

        FakeTargetGroup.health_for = health_for

    def register(self, targets):
        """The targets that the balancer has from now on, with their addresses."""
        self.replace("targets.json", targets)

    def health(self):
        """Returns what the balancer says of each target. A target that it has let go is not among them."""
        holds("the load balancer runs", self.balancer.poll() is None, (self.directory / "balancer.log").read_text())
        path = self.directory / "health.json"
        return json.loads(path.read_text()) if path.exists() else {}

    # The client.

    def start_client(self, address, url_host, balancer):
        """A host that resolves the name of the load balancer, and knows nothing else."""
        self.join(self.client, address)
        self.client_address = address
        hosts = self.directory / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{balancer} {url_host}\n")
        run("mount", "--bind", str(hosts), "/etc/hosts")
