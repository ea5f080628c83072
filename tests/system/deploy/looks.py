"""Checks what the stacks have made, as boto3 sees it in moto."""

import base64
import json
import subprocess

from resources import REMEMBERED

try:
    import tomllib
except ImportError:  # Before Python 3.11, pip brings it along.
    from pip._vendor import tomli as tomllib

CIDR = "10.42.0.0/16"


class Looks:
    """Looks at resources; `check` counts, and ends the run with the first that fails."""

    def __init__(self, aws, directory, program):
        self.aws, self.directory, self.program, self.checks = aws, directory, program, 0

    def check(self, is_right, why):
        self.checks += 1
        if not is_right:
            raise SystemExit(f"deploy against moto, check {self.checks}: {why}")

    def same(self, found, wanted, what):
        self.check(found == wanted, f"{what}: {found!r} instead of {wanted!r}")

    @staticmethod
    def outputs(stack):
        return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}

    def parameters(self, stack):
        return {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}

    def ids(self, stack):
        """The ids of a stack's resources by their names in the template."""
        found = self.aws("cloudformation").describe_stack_resources(StackName=stack["StackName"])["StackResources"]
        return {one["LogicalResourceId"]: one.get("PhysicalResourceId") for one in found}

    def buckets(self, part):
        return [one["Name"] for one in self.aws("s3").list_buckets()["Buckets"] if part in one["Name"]]

    def log_groups(self, part):
        return [one["logGroupName"] for one in self.aws("logs").describe_log_groups()["logGroups"] if part in one["logGroupName"]]

    def bucket(self, name, algorithm):
        """Encrypted, versioned, not public, and only over TLS."""
        client = self.aws("s3")
        rule = client.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"][0]
        self.same(rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"], algorithm, f"{name}'s encryption")
        blocks = client.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        self.check(len(blocks) == 4 and all(blocks.values()), f"{name}: {blocks}")
        self.same(client.get_bucket_versioning(Bucket=name).get("Status"), "Enabled", f"{name}'s versions")
        ends = [key for rule in client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"] for key in rule if rule["Status"] == "Enabled"]
        self.check({"AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"} <= set(ends), f"{name}: {ends}")
        policy = json.loads(client.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
        denied = [one for one in policy if one["Effect"] == "Deny" and one["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}]
        self.same(
            [sorted(one["Resource"]) for one in denied], [[f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]], f"what {name} denies without TLS"
        )

    def network(self, stacks):
        ec2, outputs = self.aws("ec2"), self.outputs(stacks["mlflow-networking"])
        vpc = ec2.describe_vpcs(VpcIds=[outputs["VpcId"]])["Vpcs"][0]
        self.same((vpc["CidrBlock"], outputs["VpcCidr"]), (CIDR, CIDR), "the VPC's addresses")
        ways = {}
        for kind in ("Public", "Private", "Isolated"):
            subnets = outputs[f"{kind}SubnetIds"].split(",")
            described = {one["SubnetId"]: one for one in ec2.describe_subnets(SubnetIds=subnets)["Subnets"]}
            zones = {one["AvailabilityZone"] for one in described.values()}
            if kind != "Isolated":
                blocks = ",".join(described[subnet]["CidrBlock"] for subnet in subnets)
                self.same(outputs[f"{kind}SubnetCidrs"], blocks, f"networks of {kind} subnets")
            self.same((len(subnets), len(zones)), (2, 2), f"{kind} subnets and their zones")
            for subnet in subnets:
                (table,) = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])["RouteTables"]
                default = [route for route in table["Routes"] if route.get("DestinationCidrBlock") == "0.0.0.0/0"]
                ways.setdefault(kind, set()).update("nat" if "NatGatewayId" in one else one["GatewayId"].split("-")[0] for one in default)
        self.same(ways, {"Public": {"igw"}, "Private": {"nat"}, "Isolated": set()}, "ways out")
        endpoints = ec2.describe_vpc_endpoints()["VpcEndpoints"]
        self.same([one["ServiceName"] for one in endpoints], ["com.amazonaws.us-east-1.s3"], "endpoints")
        self.same(ec2.describe_flow_logs()["FlowLogs"][0]["ResourceId"], outputs["VpcId"], "the resource of the flow log")

    def studio(self, stacks):
        stack = stacks["mlflow-sagemaker-domain"]
        outputs, given, network = self.outputs(stack), self.parameters(stack), self.outputs(stacks["mlflow-networking"])
        for name in ("VpcId", "VpcCidr", "PrivateSubnetIds", "EndpointClientSecurityGroupId"):
            self.same(given[name], network[name], f"{name} of the domain's stack")
        domain = self.aws("sagemaker").describe_domain(DomainId=outputs["StudioDomainId"])
        self.same((domain["AppNetworkAccessType"], domain["VpcId"]), ("VpcOnly", network["VpcId"]), "where Studio is")
        self.same(domain["DefaultUserSettings"]["ExecutionRole"], outputs["StudioExecutionRoleArn"], "Studio's role")
        self.bucket(outputs["StudioBucket"], "aws:kms")

    def template(self, mode, stacks):
        """The launch template that the group uses: its version and its data."""
        name = self.outputs(stacks[f"mlflow-appliance-{mode}"])["AutoScalingGroupName"]
        (group,) = self.aws("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        used = group["LaunchTemplate"]
        found = self.aws("ec2").describe_launch_template_versions(LaunchTemplateId=used["LaunchTemplateId"], Versions=[used["Version"]])
        return group, found["LaunchTemplateVersions"][0]["LaunchTemplateData"]

    def instances(self):
        """The ids and user data of the instances that a group has launched."""
        ec2, found = self.aws("ec2"), []
        for reservation in ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])["Reservations"]:
            for instance in reservation["Instances"]:
                data = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")["UserData"]["Value"]
                found.append((instance["InstanceId"], tomllib.loads(base64.b64decode(data).decode())))
        return found

    def appliance(self, mode, stacks, image, values):
        stack = stacks[f"mlflow-appliance-{mode}"]
        outputs, given, ids = self.outputs(stack), self.parameters(stack), self.ids(stack)
        network, mlflow = self.outputs(stacks["mlflow-networking"]), self.outputs(stacks[f"mlflow-mlflow-{mode}"])
        arn = "mlflow-tracking-server/mlflow-mlflow-tracking" if mode == "tracking" else "mlflow-app/app-"
        self.check(mlflow["ResourceArn"].startswith(f"arn:aws:sagemaker:us-east-1:123456789012:{arn}"), mlflow)
        self.bucket(mlflow["ArtifactBucket"], "AES256" if mode == "tracking" else "aws:kms")
        self.bucket(outputs["AccessLogBucket"], "AES256")
        # The outputs of the stacks before it must have arrived.
        subnets = ("PublicSubnetIds", "PublicSubnetCidrs", "PrivateSubnetIds", "PrivateSubnetCidrs")
        passed = {name: network[name] for name in ("VpcId", "VpcCidr", *subnets, "EndpointClientSecurityGroupId")}
        passed |= {name: mlflow.get(name) for name in ("ResourceArn", "ArtifactStoreUri")} | {"Mode": mode} | values
        passed["ArtifactKmsKeyArn"] = mlflow.get("ArtifactKmsKeyArn", "")
        self.same({name: given.get(name) for name in passed}, passed, "parameters of the appliance's stack")
        self.same(bool(passed["ArtifactKmsKeyArn"]), mode == "serverless", "whether there is a key")
        self.mlflow(mode, mlflow)
        self.launch_template(mode, stacks, image, outputs, ids)
        self.user_data(mode, stacks, (outputs, ids), mlflow, values)
        self.roles(mode, (outputs, ids), mlflow, values)
        self.logs(outputs, ids)
        self.connections(ids, outputs, values)
        self.balancer(outputs, network, ids, values)

    def mlflow(self, mode, outputs):
        """moto has no MLflow that could be asked; what was asked for is all that there is to see."""
        kind = "AWS::SageMaker::MlflowTrackingServer" if mode == "tracking" else "AWS::SageMaker::MlflowApp"
        ((_, asked),) = ((key, asked) for key, asked in REMEMBERED.items() if key[0] == kind)
        self.same((asked["RoleArn"], asked["ArtifactStoreUri"]), (outputs["ServiceRoleArn"], outputs["ArtifactStoreUri"]), "the role and the store of MLflow")
        trust = self.aws("iam").get_role(RoleName=asked["RoleArn"].rpartition("/")[2])["Role"]["AssumeRolePolicyDocument"]["Statement"]
        self.same([one["Principal"] for one in trust], [{"Service": "sagemaker.amazonaws.com"}], "the principal of MLflow's role")

    def launch_template(self, mode, stacks, image, outputs, ids):
        group, data = self.template(mode, stacks)
        self.same(data["ImageId"], image, "the image")
        wanted = {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"}
        self.same(data["MetadataOptions"], wanted, "metadata of instances")
        (disk,) = data["BlockDeviceMappings"]
        self.same((disk["DeviceName"], disk["Ebs"]["Encrypted"]), ("/dev/xvda", True), "the disk")
        self.check(ids["InstanceSecurityGroup"] in data["NetworkInterfaces"][0]["Groups"], data["NetworkInterfaces"])
        self.same(data["NetworkInterfaces"][0]["AssociatePublicIpAddress"], False, "public addresses")
        self.same(group["TargetGroupARNs"], [outputs["TargetGroupArn"]], "the group's targets")
        self.same(len(group["Instances"]), group["MinSize"], "instances")
        profile = self.aws("iam").get_instance_profile(InstanceProfileName=data["IamInstanceProfile"]["Arn"].rpartition("/")[2])
        self.same([one["Arn"] for one in profile["InstanceProfile"]["Roles"]], [outputs["InstanceRoleArn"]], "the role of the instance profile")

    def user_data(self, mode, stacks, made, mlflow, values):
        outputs, ids = made
        text = base64.b64decode(self.template(mode, stacks)[1]["UserData"]).decode()
        document, name = tomllib.loads(text), f"mlflow-appliance-{mode}"
        wanted = {
            "listen": "0.0.0.0:5000", "resource-arn": mlflow["ResourceArn"], "role-arn": outputs["RoleArn"],
            "tokens": f"secretsmanager:{outputs['TokenSecretArn']}", "artifact-store": mlflow["ArtifactStoreUri"],
            "session-key": f"secretsmanager:{ids['SessionKey']}",
            "trusted-proxies": self.outputs(stacks["mlflow-networking"])["PrivateSubnetCidrs"],
            "cloudwatch-log-group": outputs["LogGroupName"],
            "bootstrap": {"parameters": f"/{name}", "stack-name": name, "logical-id": "Group", "target-group": outputs["TargetGroupArn"]},
        }  # fmt: skip
        if values:
            wanted |= {"oidc-signer": outputs["LoadBalancerArn"], "oidc-issuer": values["OidcIssuer"], "oidc-client-id": values["OidcClientId"]}
            more = tomllib.loads(values["ServeConfiguration"])
            ours = [{"claim": values["OidcAdminClaim"], "role": "admin"}, {"claim": "*", "role": "read"}]
            wanted |= more | {"caller": more["caller"] + ours, "personal-tokens": f"secretsmanager:{ids['PersonalTokenSecret']}"}
        self.same({key: document.get(key) for key in wanted}, wanted, "user data")
        self.same(set(document) - set(wanted), {"keep-alive", "log-format"}, "the other keys of user data")
        # The program itself takes what `appliance bootstrap` would write from it.
        path = self.directory / f"{mode}.toml"
        path.write_text(text.partition("[bootstrap]")[0])
        done = subprocess.run([self.program, "check", "--elsewhere", "--config", str(path)], env={}, capture_output=True, text=True, timeout=60)
        self.check(done.returncode == 0, f"{path}: {done.stdout}{done.stderr}")

    def roles(self, mode, made, mlflow, values):
        outputs, ids = made
        iam = self.aws("iam")
        role, machine = (outputs[key].rpartition("/")[2] for key in ("RoleArn", "InstanceRoleArn"))
        (trust,) = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
        self.same((trust["Effect"], trust["Principal"]), ("Allow", {"AWS": outputs["InstanceRoleArn"]}), "the principals that may assume the role")
        (trust,) = iam.get_role(RoleName=machine)["Role"]["AssumeRolePolicyDocument"]["Statement"]
        self.same(trust["Principal"], {"Service": "ec2.amazonaws.com"}, "the principal of the instances' role")
        allowed = {}
        for name in (role, machine):
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                for statement in document["Statement"]:
                    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                    resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
                    for action in actions:
                        allowed.setdefault((name, action), []).extend(resources)
        one = lambda role, action: only[0] if len(only := allowed.get((role, action), [None])) == 1 else only  # noqa: E731
        action = "sagemaker-mlflow:*" if mode == "tracking" else "sagemaker:CallMlflowAppApi"
        self.same(one(role, action), mlflow["ResourceArn"], f"the resource of {action}")
        self.same((role, "sagemaker-mlflow:AccessUI") in allowed, mode == "tracking", "whether pages may be looked at")
        self.same(one(role, "s3:PutObject"), f"arn:aws:s3:::{mlflow['ArtifactBucket']}/mlflow/*", "the prefix that may be written")
        self.same(one(role, "kms:Decrypt"), mlflow.get("ArtifactKmsKeyArn"), "the key that is used")
        self.same(one(machine, "sts:AssumeRole"), outputs["RoleArn"], "the role that instances may assume")
        written = [ids["PersonalTokenSecret"]] if values else []
        read = [outputs["TokenSecretArn"], ids["SessionKey"], *written, *(values["ReadableSecretArns"].split(",") if values else [])]
        self.same(sorted(allowed[machine, "secretsmanager:GetSecretValue"]), sorted(read), "the secrets that instances read")
        self.same(allowed.get((machine, "secretsmanager:PutSecretValue"), []), written, "the secrets that instances write")
        self.check(not any(name == machine and action.startswith(("sagemaker", "s3:")) for name, action in allowed), allowed)

    def logs(self, outputs, ids):
        """The instances write to one group, and read from none."""
        (group,) = self.aws("logs").describe_log_groups(logGroupNamePrefix=outputs["LogGroupName"])["logGroups"]
        self.same((group["logGroupName"], group["retentionInDays"]), (ids["LogGroup"], 90), "the log group and its retention")
        iam, machine, granted = self.aws("iam"), outputs["InstanceRoleArn"].rpartition("/")[2], {}
        for policy in iam.list_role_policies(RoleName=machine)["PolicyNames"]:
            for statement in iam.get_role_policy(RoleName=machine, PolicyName=policy)["PolicyDocument"]["Statement"]:
                if any(action.startswith("logs:") for action in statement["Action"]):
                    granted[statement["Resource"]] = sorted(statement["Action"])
        # In AWS, the attribute of the resource ends in an asterisk as well.
        self.same(granted, {group["arn"].removesuffix(":*"): ["logs:CreateLogStream", "logs:PutLogEvents"]}, "what instances may do with logs")

    def connections(self, ids, outputs, values):
        """Callers to the balancer, the balancer to the instances, the instances to AWS; nothing else."""

        def short(rules):
            ends = lambda rule: {one["CidrIp"] for one in rule["IpRanges"]} | {one["GroupId"] for one in rule["UserIdGroupPairs"]}  # noqa: E731
            return {(rule["FromPort"], end) for rule in rules for end in ends(rule)}

        groups = [ids["LoadBalancerSecurityGroup"], ids["InstanceSecurityGroup"]]
        found = {one["GroupId"]: one for one in self.aws("ec2").describe_security_groups(GroupIds=groups)["SecurityGroups"]}
        balancer, instance = (found[group] for group in groups)
        self.same(short(balancer["IpPermissions"]), {(80, CIDR), (443, CIDR)}, "the networks that may connect")
        provider = {(443, "0.0.0.0/0")} if values else set()
        self.same(short(balancer["IpPermissionsEgress"]), {(1, "127.0.0.1/32"), (5000, groups[1])} | provider, "where the balancer may go")
        self.same(short(instance["IpPermissions"]), {(5000, groups[0])}, "the group that may connect to instances")
        self.same(short(instance["IpPermissionsEgress"]), {(443, "0.0.0.0/0")}, "where instances may go")

    def balancer(self, outputs, network, ids, values, health="/_appliance/healthz"):
        elb, arn = self.aws("elbv2"), outputs["LoadBalancerArn"]
        (one,) = elb.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"]
        self.same((one["Scheme"], one["VpcId"]), ("internal", network["VpcId"]), "where the balancer is")
        self.same({zone["SubnetId"] for zone in one["AvailabilityZones"]}, set(network["PrivateSubnetIds"].split(",")), "its subnets")
        attributes = {one["Key"]: one["Value"] for one in elb.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]}
        self.same(attributes["access_logs.s3.bucket"], outputs["AccessLogBucket"], "where access logs go")
        self.same(attributes["routing.http.drop_invalid_header_fields.enabled"], "true", "whether invalid headers are dropped")
        # Both are turned on by the second step of `apply`.
        for key in ("access_logs.s3.enabled", "deletion_protection.enabled"):
            self.same(attributes[key], "true", key)
        (target,) = elb.describe_target_groups(TargetGroupArns=[outputs["TargetGroupArn"]])["TargetGroups"]
        self.same((target["HealthCheckPath"], target["Port"], target["Protocol"]), (health, 5000, "HTTP"), "the targets")
        listeners = {one["Port"]: one for one in elb.describe_listeners(LoadBalancerArn=arn)["Listeners"]}
        kinds = {port: [action["Type"] for action in one["DefaultActions"]] for port, one in listeners.items()}
        self.same(kinds, {80: ["redirect"], 443: ["authenticate-oidc", "forward"]} if values else {80: ["forward"]}, "listeners")
        if values:
            self.same(listeners[443]["Certificates"][0]["CertificateArn"], values["CertificateArn"], "the certificate")
            acl = self.aws("wafv2").get_web_acl_for_resource(ResourceArn=arn)["WebACL"]
            self.check(len(acl["Rules"]) > 1, acl)
        alarms = self.aws("cloudwatch").describe_alarms()["MetricAlarms"]
        of = [one for one in alarms if {"Name": "LoadBalancer", "Value": arn.partition("loadbalancer/")[2]} in one["Dimensions"]]
        self.check(len(of) >= 5 and all(one["AlarmActions"] == [outputs["AlarmTopicArn"]] for one in of), of)
        targets = {pair["Value"] for one in of for pair in one["Dimensions"] if pair["Name"] == "TargetGroup"}
        self.same(targets, {outputs["TargetGroupArn"].rpartition(":")[2]}, "the targets that alarms watch")
        body = json.loads(self.aws("cloudwatch").get_dashboard(DashboardName=ids["Dashboard"])["DashboardBody"])
        self.check(len(body["widgets"]) > 3 and arn.partition("loadbalancer/")[2] in json.dumps(body), body)

    def nothing_is_left(self, buckets, groups):
        """But for what the templates keep."""
        ec2, iam = self.aws("ec2"), self.aws("iam")
        mine = {"Name": "tag:aws:cloudformation:stack-name", "Values": ["mlflow-networking"]}
        self.same([one["VpcId"] for one in ec2.describe_vpcs(Filters=[mine])["Vpcs"]], [], "VPCs that are left")
        self.same([one["State"] for one in ec2.describe_nat_gateways()["NatGateways"] if one["State"] != "deleted"], [], "NAT gateways that are left")
        self.same(ec2.describe_addresses()["Addresses"], [], "addresses that are left")
        self.same([one["RoleName"] for one in iam.list_roles()["Roles"] if one["RoleName"].startswith("mlflow-")], [], "roles that are left")
        self.same(self.aws("elbv2").describe_target_groups()["TargetGroups"], [], "targets that are left")
        self.same(self.aws("cloudwatch").describe_alarms()["MetricAlarms"], [], "alarms that are left")
        self.same(self.aws("sagemaker").list_domains()["Domains"], [], "domains that are left")
        self.same(REMEMBERED, {}, "MLflow and users of Studio that are left")
        kept = self.buckets("mlflow-")
        # Artifacts and logs of each mode, and Studio's.
        self.same(len(kept), buckets, f"buckets that are kept: {kept}")
        # Of each mode that has started.
        logs = self.log_groups("mlflow-")
        self.same(len(logs), groups, f"log groups that are kept: {logs}")
