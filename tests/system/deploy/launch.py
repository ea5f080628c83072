"""`appliance deploy` against moto: all stacks in both modes and on both kinds of compute, from nothing to nothing.

    launch.py DIRECTORY APPLIANCE

What came of it is asked of moto with boto3, which shares nothing with the appliance. It prints one line of JSON with
figures, and ends with 1 at the first thing that is not as it should be. DIRECTORY gets the files that it writes.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

# Certificates are issued at once. moto reads it when it is imported.
os.environ["MOTO_ACM_VALIDATION_WAIT"] = "0"

import boto3
import account
import shim
from fargate import Fargate
from looks import Looks
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

REGION, AMI_PARAMETER = "us-east-1", "/mlflow-appliance/ami/x86_64"
SHARED = ["mlflow-networking", "mlflow-sagemaker-domain"]


def own(mode):
    return [f"mlflow-mlflow-{mode}", f"mlflow-appliance-{mode}"]


# Options, an issuer and callers as an operator would write them, with what TOML allows: quotes, lists and braces.
SERVE_CONFIGURATION = """
aws-audience = "https://mlflow.example.com"
sign-in-help = 'Ask "ops".'

[[issuer]]
name = "gha"
url = "https://token.actions.githubusercontent.com"
audience = ["mlflow", "mlflow-test"]

[[caller]]
issuer = "gha"
claim = ["repository=corp/models", "ref=refs/heads/main"]
name = "gha-{repository}"
role = "write"

[[caller]]
principal = "arn:aws:iam::123456789012:role/ml-*"
role = "read"
""".strip()

class Quiet(MotoRequestHandler):
    def log_request(self, *_):
        pass


class Instances(threading.Thread):
    """Does what the instances do in AWS: once they are ready, each signals what its own user data says."""

    def __init__(self, look):
        super().__init__(daemon=True)
        self.look, self.are_healthy, self.over, self.errors = look, False, threading.Event(), []

    def run(self):
        signalled = set()
        while not self.over.wait(0.2):
            if not self.are_healthy:
                continue
            try:
                for identity, document in self.look.instances():
                    if identity not in signalled:
                        bootstrap = document["bootstrap"]
                        self.look.aws("cloudformation").signal_resource(
                            StackName=bootstrap["stack-name"], LogicalResourceId=bootstrap["logical-id"], UniqueId=identity, Status="SUCCESS"
                        )
                        signalled.add(identity)
            except Exception as error:  # The main thread has to hear of it.
                self.errors.append(repr(error))


class Launch:
    def __init__(self, directory, appliance, url):
        self.directory, self.appliance, self.url, self.commands = directory, appliance, url, 0
        self.look = Looks(self.aws, directory, appliance)
        self.check = self.look.check

    def aws(self, service):
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, aws_access_key_id="AKIATEST", aws_secret_access_key="x")

    def deploy(self, action, *arguments, code=0):
        """Runs the real program; its output and what it said."""
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.directory), "AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AKIADEPLOY", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }  # fmt: skip
        command = [self.appliance, "deploy", action, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        self.commands += 1
        (self.directory / f"{self.commands:02}-{action}.txt").write_text(f"{command}\n{done.returncode}\n{done.stdout}\n{done.stderr}")
        self.check(done.returncode == code, f"{' '.join(command[1:])}: {done.returncode} instead of {code}\n{done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def stacks(self):
        return {one["StackName"]: one for one in self.aws("cloudformation").describe_stacks()["Stacks"]}

    def all_stacks(self):
        return [*SHARED, *own("tracking"), *own("serverless")]

    def statuses(self):
        return {name: one["StackStatus"] for name, one in self.stacks().items()}

    def publish(self, name):
        """A new image, where the bake would say it."""
        image = self.aws("ec2").register_image(Name=name, Architecture="x86_64", RootDeviceName="/dev/xvda")["ImageId"]
        self.aws("ssm").put_parameter(Name=AMI_PARAMETER, Value=image, Type="String", Overwrite=True)
        return image

    def options(self):
        """The tracking server's: HTTPS, browsers that sign in, a firewall; written as somebody would keep them."""
        acm, secrets = self.aws("acm"), self.aws("secretsmanager")
        oidc = "https://idp.example.com"
        values = {
            "CertificateArn": acm.request_certificate(DomainName="mlflow.example.com")["CertificateArn"], "DomainName": "mlflow.example.com",
            "OidcIssuer": oidc, "OidcAuthorizationEndpoint": f"{oidc}/a", "OidcTokenEndpoint": f"{oidc}/t", "OidcUserInfoEndpoint": f"{oidc}/u",
            "OidcClientId": "appliance", "OidcClientSecretArn": secrets.create_secret(Name="oidc", SecretString="x")["ARN"],
            "OidcAdminClaim": "groups=mlflow-admins", "PersonalTokens": "on", "ServeConfiguration": SERVE_CONFIGURATION,
            "ReadableSecretArns": ",".join(secrets.create_secret(Name=name, SecretString="x")["ARN"] for name in ("okta", "entra")), "WebAcl": "managed", "MinInstances": "2", "AlarmEmail": "ops@example.com",
        }  # fmt: skip
        path = self.directory / "tracking.toml"
        path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
        return str(path), values

    def run(self, instances):
        tracking, serverless = ["--mode", "tracking", "--domain", "--tag", "team=ml"], ["--mode", "serverless", "--domain"]
        file, values = self.options()

        # Nothing is there, and a plan makes nothing; it can be read before there is an image.
        shown, said = self.deploy("plan", *tracking, "--config", file, "--json", "--detailed-exitcode", code=2)
        planned = json.loads(shown)
        self.check(said.count("would be created") == 4 and not self.stacks(), said)
        self.check(f"has no `{AMI_PARAMETER}`" in said, said)

        # The image was never baked, or a rule of the last template speaks: refused before anything is made.
        _, said = self.deploy("apply", "--yes", *tracking, "--config", file, code=1)
        self.check(f"has no `{AMI_PARAMETER}`" in said and not self.stacks(), said)
        first = self.publish("first")
        _, said = self.deploy("apply", "--yes", *tracking, "--parameter", f"CertificateArn={values['CertificateArn']}", code=78)
        self.check("DomainName has to be one of the certificate's names" in said and not self.stacks(), said)

        # An instance that never gets ready: rolled back, with the cause. The balancer lets itself be deleted until all is well.
        _, said = self.deploy("apply", "--yes", *tracking, "--config", file, code=1)
        self.check("Group (AWS::AutoScaling::AutoScalingGroup) CREATE_FAILED" in said and "Received 0 SUCCESS signal(s) out of 2" in said, said)
        self.check(self.statuses()["mlflow-appliance-tracking"] == "ROLLBACK_COMPLETE", self.statuses())
        self.check(not self.aws("elbv2").describe_load_balancers()["LoadBalancers"], "rolled back, but not all of it")
        # Nothing has been logged before all was well, so that the bucket of the logs could go as well.
        self.nothing_is_left_of_a_failed_start()

        # The same command recovers; a certificate and sign-in come from the file.
        instances.are_healthy = True
        shown, said = self.deploy("apply", "--yes", *tracking, "--config", file)
        self.check(shown == "export MLFLOW_TRACKING_URI='https://mlflow.example.com'\n" and "left over from a failed creation" in said, shown + said)
        self.check(said.count(": no changes") == 3 and "[permissions]" in said, said)
        self.tracking_is_right(first, values)
        self.is_as_planned(planned)

        # Again, without saying anything anew.
        _, said = self.deploy("apply", "--yes", *tracking)
        self.check(said.count(": no changes") == 4, said)
        self.deploy("plan", *tracking, "--detailed-exitcode")

        # The other mode beside it, over plain HTTP within the network, with a key of its own.
        shown, said = self.deploy("apply", "--yes", *serverless, "--parameter", "ArtifactEncryption=kms")
        self.check(said.count(": no changes") == 2 and shown.startswith("export MLFLOW_TRACKING_URI='http://"), shown + said)
        self.look.appliance("serverless", self.stacks(), first, {})
        self.check(not instances.errors, instances.errors)
        self.reports(tracking, serverless)
        self.by_hand(tracking)
        Fargate(self).run(serverless, values)

        # A new image: the template says nothing new, Parameter Store does. The other mode keeps the old one for now.
        second = self.publish("second")
        _, said = self.deploy("plan", *tracking, "--detailed-exitcode", code=2)
        self.check(said.count(": no changes") == 3 and "~ change" in said and "LaunchTemplate" in said and "Group" in said, said)
        self.check(f"the image was {first} and is now {second}" in said, said)
        self.check(self.look.template("tracking", self.stacks())[1]["ImageId"] == first, "a plan has changed the image")
        self.deploy("apply", "--yes", *tracking)
        self.check(self.look.template("tracking", self.stacks())[1]["ImageId"] == second, "not the new image")
        self.check(self.look.template("serverless", self.stacks())[1]["ImageId"] == first, "not the old image")
        self.destroy(tracking, serverless)

    def nothing_is_left_of_a_failed_start(self):
        """Of the appliance's stack nothing is left: no bucket, no log group, no role, no target group."""
        left = self.look.buckets("accesslog") + self.look.log_groups("mlflow-appliance-") + self.aws("elbv2").describe_target_groups()["TargetGroups"]
        left += [one["RoleName"] for one in self.aws("iam").list_roles()["Roles"] if one["RoleName"].startswith("mlflow-appliance-")]
        self.check(not left, f"left behind by a failed start: {left}")

    def tracking_is_right(self, image, values):
        stacks = self.stacks()
        # The balancer's protection is a change of its own, once all is well.
        ends = {name: "UPDATE_COMPLETE" if "appliance" in name else "CREATE_COMPLETE" for name in stacks}
        self.check(self.statuses() == ends, self.statuses())
        self.check(all(one["EnableTerminationProtection"] for one in stacks.values()), "a stack is not protected")
        for name, one in stacks.items():
            tags = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
            self.check(tags == {"project": "sagemaker-mlflow-appliance", "mlflow-appliance-set": "mlflow", "team": "ml"}, f"{name}: {tags}")
        self.look.network(stacks)
        self.look.studio(stacks)
        self.look.appliance("tracking", stacks, image, values)

    def is_as_planned(self, planned):
        """Checks that the stacks have what a plan had predicted from the templates' conditions alone."""
        for name, stack in self.stacks().items():
            of = {certainty: {one["resource"] for one in planned[name]["changes"] if one["action"] == certainty} for certainty in ("Add", "Dynamic")}
            made = set(self.look.ids(stack))
            self.check(of["Add"] <= made <= of["Add"] | of["Dynamic"], f"{name}: {made ^ of['Add']}")

    def reports(self, tracking, serverless):
        for arguments, mode in ((tracking, "tracking"), (serverless, "serverless")):
            names = [*SHARED, *own(mode)]
            status = json.loads(self.deploy("status", *arguments, "--json")[0])
            ends = {name: "UPDATE_COMPLETE" if "appliance" in name else "CREATE_COMPLETE" for name in names}
            self.check({name: one["status"] for name, one in status.items()} == ends, status)
            outputs, stacks = json.loads(self.deploy("outputs", *arguments, "--json")[0]), self.stacks()
            self.check(outputs == {name: self.look.outputs(stacks[name]) for name in names}, outputs)
            line = self.deploy("outputs", *arguments, "--env")[0]
            self.check(line == f"export MLFLOW_TRACKING_URI='{outputs[own(mode)[1]]['Url']}'\n", line)

    def by_hand(self, tracking):
        """Somebody opens a port of the instances, and shuts it again."""
        ec2, arguments = self.aws("ec2"), [*tracking, "--json", "--drift"]
        group = self.look.ids(self.stacks()["mlflow-appliance-tracking"])["InstanceSecurityGroup"]
        port = {"GroupId": group, "IpPermissions": [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}
        ec2.authorize_security_group_ingress(**port)
        for expected in ({"mlflow-appliance-tracking": ["InstanceSecurityGroup"]}, {}):
            found = {name: one["drifted"] for name, one in json.loads(self.deploy("status", *arguments)[0]).items()}
            self.check(found == dict.fromkeys([*SHARED, *own("tracking")], []) | expected, found)
            if expected:
                ec2.revoke_security_group_ingress(**port)

    def destroy(self, tracking, serverless):
        formation = self.aws("cloudformation")
        _, said = self.deploy("destroy", "--yes", "--shared", *tracking, code=1)
        self.check("is needed by mlflow-" in said and len(self.stacks()) == 6, said)
        try:
            formation.delete_stack(StackName="mlflow-networking")
            self.check(False, "a protected stack was deleted")
        except formation.exceptions.ClientError as error:
            self.check("TerminationProtection" in str(error), error)
        # The image is gone: stacks that only go need none.
        self.aws("ssm").delete_parameter(Name=AMI_PARAMETER)
        _, said = self.deploy("destroy", "--yes", *serverless)
        self.check("disabling the deletion protection of its load balancer" in said, said)
        self.check(sorted(self.stacks()) == sorted([*SHARED, *own("tracking")]), self.statuses())
        self.check(len(self.aws("elbv2").describe_load_balancers()["LoadBalancers"]) == 1, "not one load balancer")
        kept = self.look.buckets("serverless")
        # Of MLflow and of the instances. That of the tasks was named when they went; moto puts no tags of stacks on buckets.
        named = [name for name in kept if "fargate" not in name]
        self.check(len(kept) == 3 and len(named) == 2 and all(name in said for name in named), f"{kept}\n{said}")
        # An audit trail outlives its stack.
        kept = self.look.log_groups("serverless")
        named = [name for name in kept if "fargate" not in name]
        self.check(len(kept) == 2 and len(named) == 1 and f"AWS::Logs::LogGroup {named[0]}" in said, f"{kept}\n{said}")
        self.deploy("destroy", "--yes", "--shared", *tracking)
        self.check(not self.stacks(), self.statuses())
        self.look.nothing_is_left(buckets=6, groups=3)
        _, said = self.deploy("destroy", "--yes", "--shared", *tracking)
        self.check("there is nothing to remove" in said, said)


def main(directory, appliance):
    began = time.monotonic()
    warnings.simplefilter("ignore")
    shim.install()
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    account.ENDPOINT["url"] = f"http://127.0.0.1:{server.server_port}"
    with contextlib.ExitStack() as stack:
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        launch = Launch(directory, appliance, account.ENDPOINT["url"])
        instances = Instances(launch.look)
        stack.callback(instances.over.set)
        instances.start()
        launch.run(instances)
    figures = {"checks": launch.look.checks, "commands": launch.commands, "seconds": round(time.monotonic() - began, 1)}
    print(json.dumps({"deploy against moto": figures}))


if __name__ == "__main__":
    scratch = Path(sys.argv[1]).resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    main(scratch, str(Path(sys.argv[2]).resolve()))
