"""Holds the deployer's policy against what CloudFormation's own schemas say that it calls for each type of resource.

Arguments: the policy, what Fargate needs in addition, and the templates. The policy alone has to suffice for the templates but
fargate.yaml. Every permission of a type's handlers has to be allowed, those that it needs to
tag what it makes (`appliance deploy` puts tags on each stack, which CloudFormation hands on), and the actions on which the
allowed ones depend by the Service Authorization Reference; or it has to be one that only properties need which the
templates do not use. Prints the policy as a template, for cfn-lint to say whether its actions exist.
"""

import fnmatch
import json
import sys
from pathlib import Path

import policy_sentry
from cfnlint.decode import decode
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

# The template that needs the second policy as well.
FARGATE = "fargate"

# Of what the templates leave out. IAM ignores case.
UNUSED = """
# Other kinds of resource that can have a web ACL.
amplify:* apigateway:* apprunner:* appsync:* bedrock-agentcore:* cognito-idp:* ec2:*VerifiedAccess* payments:*
# Other things that scale, on a schedule; capacity providers, settings of the account and volumes of ECS, Service Connect.
lambda:* application-autoscaling:*ScheduledAction ecs:PutClusterCapacityProviders ecs:PutAccountSetting*
# Traffic by VPC Lattice, fleets, lifecycle hooks, notifications, instance refreshes, classic balancers.
vpc-lattice:* vpce:* managed-fleets:* autoscaling:*LifecycleHook autoscaling:*NotificationConfiguration
autoscaling:*InstanceRefresh autoscaling:*LoadBalancers ec2:Get*
# Private NAT, more addresses, IPv6, VPN, tenancy, encryption controls, address transfers, addresses of instances.
ec2:*NatGatewayAddress ec2:*SubnetCidrBlock ec2:*VpnGateway ec2:ModifyVpcTenancy ec2:CreateVpcEncryptionControl
ec2:AcceptAddressTransfer ec2:AssociateAddress
# Reserved capacity and address pools of balancers.
elasticloadbalancing:ModifyCapacityReservation elasticloadbalancing:ModifyIpPools
# Managed policies, policies of users and groups.
iam:*AttachRolePolicy iam:DetachRolePolicy iam:*GroupPolicy iam:*UserPolicy
# Keys are never disabled.
kms:DisableKey kms:DisableKeyRotation kms:EnableKey
# Log groups with data protection, indexes, resource policies, other destinations of flow logs.
firehose:* ecs:ListClusters ecs:ListContainerInstances ecs:ListServices ecs:ListTask* logs:PutDataProtectionPolicy
logs:DeleteDataProtectionPolicy logs:*IndexPolicy logs:*ResourcePolicy
logs:PutBearerTokenAuthentication logs:PutLogGroupDeletionProtection s3:REST.PUT.OBJECT
# Buckets can have these besides.
s3tables:* s3:*Object* s3:*Analytics* s3:*Cors s3:*Metadata* s3:*Metrics* s3:*Replication* s3:*Website s3:*Accelerate*
s3:*Abac s3:*Acl s3:*Logging s3:*Notification s3:*IntelligentTiering* s3:*Inventory* s3:DeleteBucketEncryption
s3:DeleteBucketLifecycle
# The schema's name for what IAM allows with s3:PutBucketTagging.
s3:DeleteBucketTagging
# Data protection of topics.
sns:PutDataProtectionPolicy
# Custom images and identity centre in Studio. The schema calls EFS `efs`, which is no prefix of IAM.
sagemaker:CreateApp sso:* identitystore:* efs:*
# Generated and replicated secrets.
secretsmanager:GetRandomPassword secretsmanager:*Replicat*
# Quotas of other services.
dynamodb:* iam:GetAccountSummary kinesis:* rds:* route53:GetAccountLimit
# The image's parameter is resolved with ssm:GetParameters.
ssm:Get*
"""


def matches(action: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)


def actions_of(statements: list[dict]) -> list[str]:
    found = []
    for statement in statements:
        actions = statement["Action"]
        found += [actions] if isinstance(actions, str) else actions
    return found


policy, more = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3])
base = actions_of(policy["Statement"])
allowed = base + actions_of(more["Statement"])
unused = [word for line in UNUSED.splitlines() if not line.startswith("#") for word in line.split()]

# Each type, and whether a template without tasks has it.
types: dict[str, bool] = {}
for path in sys.argv[3:]:
    template, problems = decode(path)
    if problems:
        sys.exit(f"{path} cannot be read")
    for resource in template["Resources"].values():
        types[resource["Type"]] = types.get(resource["Type"], False) or Path(path).stem != FARGATE

needed: dict[str, set[str]] = {}
for kind in types:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    permissions = [one for name, handler in schema["handlers"].items() if name != "list" for one in handler.get("permissions", [])]
    for permission in permissions + schema.get("tagging", {}).get("permissions", []):
        needed.setdefault(permission.strip(), set()).add(kind)

# checkov brings along a copy of the Service Authorization Reference.
reference = json.loads((Path(policy_sentry.__file__).parent / "shared/data/iam-definition.json").read_text(encoding="utf-8"))
dependents = 0
for action in allowed:
    service, _, wanted = action.partition(":")
    for name, privilege in reference[service]["privileges"].items():
        if matches(name, [wanted]):
            for resource in privilege["resource_types"].values():
                for dependent in resource["dependent_actions"]:
                    needed.setdefault(dependent, set()).add(f"{service}:{name}")
                    dependents += 1

def is_for_tasks(kinds: set[str]) -> bool:
    """True if only the template for Fargate has the types, and only the second policy the actions, that need a permission."""
    return not any(types.get(kind, matches(kind, base)) for kind in kinds)


missing = {}
for one, kinds in needed.items():
    of, path = (allowed, sys.argv[2]) if is_for_tasks(kinds) else (base, sys.argv[1])
    if not matches(one, of) and not matches(one, unused):
        missing[one] = kinds
        print(f"{path} lacks {one}, for {', '.join(sorted(kinds))}", file=sys.stderr)
idle = [pattern for pattern in unused if not any(matches(one, [pattern]) for one in needed)]
if idle:
    print(f"no type needs what is left out: {' '.join(idle)}", file=sys.stderr)
if missing or idle or len(types) < 30 or not dependents:
    sys.exit(1)
size, size_of_more = (len(json.dumps(one, separators=(",", ":"))) for one in (policy, more))
# The inline policies of a role may have the first size together, and a managed policy the second. White space does not count.
if size > 10240 or size_of_more > 6144:
    sys.exit(f"the policies have {size} and {size_of_more} characters, of which IAM takes 10240 and 6144")
resources = {
    name: {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": one}} for name, one in (("Deployer", policy), ("Fargate", more))
}
json.dump({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}, sys.stdout)
print(f"{len(types)} types, {len(needed)} permissions, {size} and {size_of_more} characters", file=sys.stderr)
