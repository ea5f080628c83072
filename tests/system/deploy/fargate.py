"""Tasks on Fargate beside the instances of a mode: launched, upgraded, looked at and removed."""

import json
import subprocess
import tomllib

HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
STACK = "mlflow-fargate-serverless"


class Fargate:
    def __init__(self, launch):
        self.launch, self.look = launch, launch.look
        self.aws, self.check, self.same, self.deploy = launch.aws, launch.check, launch.look.same, launch.deploy

    def push(self, tag):
        """An image, where an operator would push it."""
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"digest": tag}, "layers": []}
        self.aws("ecr").put_image(repositoryName="mlflow-appliance", imageTag=tag, imageManifest=json.dumps(manifest))
        return f"{HOST}/mlflow-appliance:{tag}"

    def run(self, serverless, values):
        arguments = [*serverless, "--compute", "fargate", "--parameter"]
        ecr = self.aws("ecr")
        arn = ecr.create_repository(repositoryName="mlflow-appliance")["repository"]["repositoryArn"]
        _, said = self.deploy("apply", "--yes", *arguments, f"ContainerImage={HOST}/mlflow-appliance:0.1.0", code=1)
        self.check("the registry has no" in said and STACK not in self.launch.stacks(), said)
        # The account has never used ECS, and the fix is the one that the obstacle names.
        self.check("the account has never used ECS" in said and "create-service-linked-role --aws-service-name ecs.amazonaws.com" in said, said)
        # moto's own name for the role differs in its case.
        trust = {"Effect": "Allow", "Principal": {"Service": "ecs.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        self.aws("iam").create_role(RoleName="AWSServiceRoleForECS", Path="/aws-service-role/ecs.amazonaws.com/", AssumeRolePolicyDocument=document)

        # Sign-in, personal tokens and more configuration, as instances get them.
        image = self.push("0.1.0")
        given = [part for name, value in values.items() for part in ("--parameter", f"{name.replace('Instances', 'Tasks')}={value}")]
        shown, said = self.deploy("apply", "--yes", *arguments, f"ContainerImage={image}", *given)
        self.check("mlflow-appliance-serverless still serves" in said and "https://mlflow.example.com" in shown, shown + said)
        before = self.is_right(image, arn, values)
        _, said = self.deploy("apply", "--yes", *arguments, f"ContainerImage={image}")
        self.check(said.count(": no changes") == 4, said)
        _, said = self.deploy("apply", "--yes", *serverless, code=1)
        self.check("choose one with `--compute instances`" in said, said)

        # Another tag is another task definition, which the service then runs.
        image = self.push("0.2.0")
        _, said = self.deploy("plan", *arguments, f"ContainerImage={image}", "--detailed-exitcode", code=2)
        self.check("TaskDefinition" in said and "Service" in said, said)
        self.deploy("apply", "--yes", *arguments, f"ContainerImage={image}")
        self.check(self.is_right(image, arn, values) != before, "the task definition is the old one")

        # The instances serve on, and need what both use.
        _, said = self.deploy("destroy", "--yes", *serverless, "--compute", "fargate")
        self.check("mlflow-mlflow-serverless is kept, because mlflow-appliance-serverless needs it" in said, said)
        self.check(sorted(self.launch.stacks()) == sorted(self.launch.all_stacks()), self.launch.statuses())
        self.same([one["status"] for one in self.clusters()], ["INACTIVE"] * len(self.clusters()), "clusters")
        groups = [one["logGroupName"] for one in self.aws("logs").describe_log_groups()["logGroups"]]
        self.check(any(name in said for name in groups), f"the log is kept: {groups}\n{said}")

    def clusters(self):
        ecs = self.aws("ecs")
        return ecs.describe_clusters(clusters=ecs.list_clusters()["clusterArns"])["clusters"]

    def is_right(self, image, repository, values):
        """Looks at everything, and returns the ARN of the task definition."""
        stack = self.launch.stacks()[STACK]
        outputs, ids, ecs = self.look.outputs(stack), self.look.ids(stack), self.aws("ecs")
        network = self.look.outputs(self.launch.stacks()["mlflow-networking"])
        mlflow = self.look.outputs(self.launch.stacks()["mlflow-mlflow-serverless"])
        (service,) = ecs.describe_services(cluster=outputs["ClusterName"], services=[outputs["ServiceName"]])["services"]
        self.same((service["launchType"], service["propagateTags"]), ("FARGATE", "SERVICE"), "the service")
        inside = service["networkConfiguration"]["awsvpcConfiguration"]
        self.same((inside["subnets"], inside["assignPublicIp"]), (network["PrivateSubnetIds"].split(","), "DISABLED"), "where tasks are")
        self.check(ids["TaskSecurityGroup"] in inside["securityGroups"], inside)
        (balancer,) = service["loadBalancers"]
        self.same((balancer["targetGroupArn"], balancer["containerPort"]), (outputs["TargetGroupArn"], 5000), "the service's targets")
        (target,) = self.aws("elbv2").describe_target_groups(TargetGroupArns=[outputs["TargetGroupArn"]])["TargetGroups"]
        self.same((target["TargetType"], target["HealthCheckPath"]), ("ip", "/_appliance/readyz"), "the targets")

        task = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
        self.same((task["cpu"], task["memory"], task["networkMode"]), ("512", "1024", "awsvpc"), "the task")
        (container,) = task["containerDefinitions"]
        self.same((container["image"], container["user"], container["readonlyRootFilesystem"]), (image, "65534:65534", True), "the container")
        log = container["logConfiguration"]["options"]
        self.same(log["awslogs-group"], outputs["LogGroupName"], "the log")
        (group,) = self.aws("logs").describe_log_groups(logGroupNamePrefix=outputs["LogGroupName"])["logGroups"]
        self.same(group["retentionInDays"], 90, "the days that the log is kept")
        self.environment(container, outputs, ids, mlflow, values)
        self.roles(task, outputs, ids, repository, values)

        found = self.aws("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
        wanted = f"service/{outputs['ClusterName']}/{outputs['ServiceName']}"
        self.same([(one["ResourceId"], one["MinCapacity"], one["MaxCapacity"]) for one in found], [(wanted, 2, 4)], "how tasks scale")
        self.look.balancer(outputs, network, ids, values, "/_appliance/readyz")
        return service["taskDefinition"]

    def environment(self, container, outputs, ids, mlflow, values):
        """The variables name secrets and hold none, and the program itself takes them as they are."""
        variables = {one["name"]: one["value"] for one in container["environment"]}
        self.same((list(variables), container.get("secrets", [])), (["APPLIANCE_CONFIG_TEXT"], []), "the variables")
        document = tomllib.loads(variables["APPLIANCE_CONFIG_TEXT"])
        more = tomllib.loads(values["ServeConfiguration"])
        ours = [{"claim": values["OidcAdminClaim"], "role": "admin"}, {"claim": "*", "role": "read"}]
        wanted = more | {
            "resource-arn": mlflow["ResourceArn"], "role-arn": outputs["RoleArn"], "artifact-store": mlflow["ArtifactStoreUri"],
            "tokens": f"secretsmanager:{outputs['TokenSecretArn']}", "session-key": f"secretsmanager:{ids['SessionKey']}",
            "personal-tokens": f"secretsmanager:{ids['PersonalTokenSecret']}", "oidc-signer": outputs["LoadBalancerArn"],
            "oidc-issuer": values["OidcIssuer"], "oidc-client-id": values["OidcClientId"], "caller": more["caller"] + ours,
            "cloudwatch-log-group": outputs["LogGroupName"], "cloudwatch-log-content": "audit",
        }  # fmt: skip
        self.same({key: document.get(key) for key in wanted}, wanted, "the configuration of a task")
        self.same(set(document) - set(wanted), {"listen", "keep-alive", "log-format", "trusted-proxies"}, "the other keys")
        done = subprocess.run([self.look.program, "check", "--elsewhere"], env=variables, capture_output=True, text=True, timeout=60)
        self.check(done.returncode == 0, f"{variables}: {done.stdout}{done.stderr}")
        broken = {"APPLIANCE_CONFIG_TEXT": variables["APPLIANCE_CONFIG_TEXT"].replace("keep-alive", "keep-alife", 1)}
        done = subprocess.run([self.look.program, "check", "--elsewhere"], env=broken, capture_output=True, text=True, timeout=60)
        self.check(done.returncode == 78 and "APPLIANCE_CONFIG_TEXT:" in done.stderr, done.stderr)

    def roles(self, task, outputs, ids, repository, values):
        iam = self.aws("iam")
        allowed = {}
        for key in ("taskRoleArn", "executionRoleArn"):
            role = task[key].rpartition("/")[2]
            (trust,) = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
            self.same(trust["Principal"], {"Service": "ecs-tasks.amazonaws.com"}, f"the principal of {key}")
            for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
                for one in iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]:
                    listed = lambda part: part if isinstance(part, list) else [part]  # noqa: E731
                    for action in listed(one["Action"]):
                        allowed.setdefault((key, action), []).extend(listed(one["Resource"]))
        self.same(task["taskRoleArn"], outputs["TaskRoleArn"], "the role of tasks")
        self.same(allowed["taskRoleArn", "sts:AssumeRole"], [outputs["RoleArn"]], "the role that tasks may assume")
        read = [outputs["TokenSecretArn"], ids["SessionKey"], ids["PersonalTokenSecret"], *values["ReadableSecretArns"].split(",")]
        self.same(sorted(allowed["taskRoleArn", "secretsmanager:GetSecretValue"]), sorted(read), "the secrets that tasks read")
        self.same(allowed["executionRoleArn", "ecr:BatchGetImage"], [repository], "the repository")
        others = {action for key, action in allowed if key == "taskRoleArn" and not action.startswith(("sts:", "secretsmanager:"))}
        # Both add events, the one of the log and the other of the audit log, and neither reads or deletes any.
        self.same(others, {"logs:CreateLogStream", "logs:PutLogEvents"}, "what tasks may do besides")
        for key in ("taskRoleArn", "executionRoleArn"):
            groups = [arn.removesuffix(":*").rpartition(":")[2] for arn in allowed[key, "logs:PutLogEvents"]]
            self.same(groups, [outputs["LogGroupName"]], f"the log groups of {key}")
