"""Types of resources that moto's CloudFormation lacks, and how to remove those that it cannot.

What moto's own services know is made there, through their API and with boto3: it refuses names and types of properties
that the API does not have, which makes each run a check of the templates, too. What moto has no service for is held
against botocore's description of the API's request, and only remembered.
"""

import json
import uuid

import botocore.session
import tasks
from account import aws
from botocore.validate import ParamValidator

# Before ours, with all of moto's types: of two types of one name, the later wins.
from moto.cloudformation import parsing as _of_moto  # noqa: F401
from moto.core.common_models import CloudFormationModel

# The resources for which moto has no service, as CloudFormation would ask for them: (type, id) to properties.
REMEMBERED = {}


def valid(operation, properties):
    """Checks that SageMaker's API knows the request, and raises an error if it does not."""
    shape = botocore.session.get_session().get_service_model("sagemaker").operation_model(operation).input_shape
    report = ParamValidator().validate(properties, shape)
    # The validator knows types, but lets names that no request has pass.
    unknown = sorted(set(properties) - set(shape.members))
    if report.has_errors() or unknown:
        raise ValueError(f"{operation}: {report.generate_report()} {', '.join(unknown)}")


def remembered(operation, type_name, identity, properties):
    """Remembers what CloudFormation would ask SageMaker for, since moto has nothing that could be asked."""
    valid(operation, properties)
    REMEMBERED[type_name, identity] = properties
    return identity


def forgotten(type_name):
    return lambda region, identity, properties: REMEMBERED.pop((type_name, identity))


def permission(rule):
    """A rule of a security group, as the API of EC2 wants it."""
    said = {"Description": rule["Description"]} if "Description" in rule else {}
    group = rule.get("DestinationSecurityGroupId") or rule.get("SourceSecurityGroupId")
    to = {"UserIdGroupPairs": [{"GroupId": group, **said}]} if group else {"IpRanges": [{"CidrIp": rule["CidrIp"], **said}]}
    return {"IpProtocol": rule["IpProtocol"], "FromPort": rule["FromPort"], "ToPort": rule["ToPort"], **to}


# Types that moto's CloudFormation does not know: how they are made. Each gives the resource's id and its attributes.


def bucket_policy(region, name, asked):
    """AWS::S3::BucketPolicy: S3 of moto has policies."""
    aws("s3", region).put_bucket_policy(Bucket=asked["Bucket"], Policy=json.dumps(asked["PolicyDocument"]))
    return asked["Bucket"], {}


def egress(region, name, asked):
    """AWS::EC2::SecurityGroupEgress: EC2 of moto has rules for what leaves."""
    aws("ec2", region).authorize_security_group_egress(GroupId=asked["GroupId"], IpPermissions=[permission(asked)])
    return f"sgr-{uuid.uuid4().hex[:17]}", {}


def ingress(region, name, asked):
    """AWS::EC2::SecurityGroupIngress: moto's own loses what the rule is for, and cannot remove it."""
    aws("ec2", region).authorize_security_group_ingress(GroupId=asked["GroupId"], IpPermissions=[permission(asked)])
    return f"sgr-{uuid.uuid4().hex[:17]}", {}


def scaling_policy(region, name, asked):
    """AWS::AutoScaling::ScalingPolicy: moto tells no ARN, but finds it by its name."""
    aws("autoscaling", region).put_scaling_policy(PolicyName=name, **asked)
    return name, {}


def alarm(region, name, asked):
    """AWS::CloudWatch::Alarm."""
    aws("cloudwatch", region).put_metric_alarm(AlarmName=name, **asked)
    return name, {}


def subscription(region, name, asked):
    """AWS::SNS::Subscription."""
    return aws("sns", region).subscribe(ReturnSubscriptionArn=True, **asked)["SubscriptionArn"], {}


def secret(region, name, asked):
    """AWS::SecretsManager::Secret: known by its ARN, which ends in six characters of chance. CloudFormation makes up a text itself."""
    if generate := asked.pop("GenerateSecretString", None):
        asked["SecretString"] = aws("secretsmanager", region).get_random_password(**generate)["RandomPassword"]
    return aws("secretsmanager", region).create_secret(Name=name, **asked)["ARN"], {}


def web_acl(region, name, asked):
    """AWS::WAFv2::WebACL: known by three things at once."""
    made = aws("wafv2", region).create_web_acl(**{"Name": name, **asked})["Summary"]
    return f"{made['Name']}|{made['Id']}|{asked['Scope']}", {"Arn": made["ARN"], "Id": made["Id"]}


def web_acl_association(region, name, asked):
    """AWS::WAFv2::WebACLAssociation."""
    aws("wafv2", region).associate_web_acl(WebACLArn=asked["WebACLArn"], ResourceArn=asked["ResourceArn"])
    return f"{asked['WebACLArn']}|{asked['ResourceArn']}", {}


def domain(region, name, asked):
    """AWS::SageMaker::Domain: moto has it, as far as botocore describes it."""
    known = {key: value for key, value in asked.items() if key != "HomeEfsFileSystemCreation"}
    valid("CreateDomain", asked)
    made = aws("sagemaker", region).create_domain(**known)
    return made["DomainArn"].rpartition("/")[2], {"DomainArn": made["DomainArn"], "Url": made["Url"]}


def user_profile(region, name, asked):
    """AWS::SageMaker::UserProfile: moto has none."""
    return remembered("CreateUserProfile", "AWS::SageMaker::UserProfile", f"{asked['DomainId']}|{asked['UserProfileName']}", asked), {}


def tracking_server(region, name, asked):
    """AWS::SageMaker::MlflowTrackingServer: moto has none. Its ARN ends in its name, in lower case."""
    arn = f"arn:aws:sagemaker:{region}:123456789012:mlflow-tracking-server/{asked['TrackingServerName'].lower()}"
    remembered("CreateMlflowTrackingServer", "AWS::SageMaker::MlflowTrackingServer", asked["TrackingServerName"], asked)
    return asked["TrackingServerName"], {"TrackingServerArn": arn}


def app(region, name, asked):
    """AWS::SageMaker::MlflowApp: moto has none. Its ARN ends in an id that AWS chooses."""
    arn = f"arn:aws:sagemaker:{region}:123456789012:mlflow-app/app-{uuid.uuid4().hex[:12].upper()}"
    return remembered("CreateMlflowApp", "AWS::SageMaker::MlflowApp", arn, asked), {"Arn": arn}


def remove_web_acl(region, identity, asked):
    name, number, scope = identity.split("|")
    token = aws("wafv2", region).get_web_acl(Name=name, Id=number, Scope=scope)["LockToken"]
    aws("wafv2", region).delete_web_acl(Name=name, Id=number, Scope=scope, LockToken=token)


def remove_load_balancer(region, identity, asked):
    """moto deletes a protected one, too; AWS does not."""
    client = aws("elbv2", region)
    attributes = client.describe_load_balancer_attributes(LoadBalancerArn=identity)["Attributes"]
    if {"Key": "deletion_protection.enabled", "Value": "true"} in attributes:
        raise ValueError(f"Load balancer '{identity}' cannot be deleted because deletion protection is enabled")
    client.delete_load_balancer(LoadBalancerArn=identity)


def remove_association(region, identity, asked):
    client = aws("ec2", region)
    for table in client.describe_route_tables(RouteTableIds=[asked["RouteTableId"]])["RouteTables"]:
        for one in table["Associations"]:
            if one.get("SubnetId") == asked["SubnetId"]:
                client.disassociate_route_table(AssociationId=one["RouteTableAssociationId"])


def release_address(region, identity, asked):
    client = aws("ec2", region)
    for one in client.describe_addresses(PublicIps=[identity])["Addresses"]:
        client.release_address(AllocationId=one["AllocationId"])


def revoke(direction):
    def remove(region, identity, asked):
        getattr(aws("ec2", region), f"revoke_security_group_{direction}")(GroupId=asked["GroupId"], IpPermissions=[permission(asked)])

    return remove


def call(service, operation, **arguments):
    """One call, with the resource's id in the place of ID, and otherwise with the named property."""

    def value(wanted, identity, asked):
        if isinstance(wanted, list):
            return [value(one, identity, asked) for one in wanted]
        return identity if wanted is ID else asked[wanted] if isinstance(wanted, str) else wanted

    def remove(region, identity, asked):
        getattr(aws(service, region), operation)(**{name: value(wanted, identity, asked) for name, wanted in arguments.items()})

    return remove


ID = object()
# The functions that remove what moto's CloudFormation does not remove: the types here, and most types of the network.
REMOVE = {
    "AWS::AutoScaling::ScalingPolicy": call("autoscaling", "delete_policy", AutoScalingGroupName="AutoScalingGroupName", PolicyName=ID),
    "AWS::CloudWatch::Alarm": call("cloudwatch", "delete_alarms", AlarmNames=[ID]),
    "AWS::EC2::EIP": release_address,
    "AWS::EC2::FlowLog": call("ec2", "delete_flow_logs", FlowLogIds=[ID]),
    "AWS::EC2::InternetGateway": call("ec2", "delete_internet_gateway", InternetGatewayId=ID),
    "AWS::EC2::NatGateway": call("ec2", "delete_nat_gateway", NatGatewayId=ID),
    "AWS::EC2::Route": call("ec2", "delete_route", RouteTableId="RouteTableId", DestinationCidrBlock="DestinationCidrBlock"),
    "AWS::EC2::RouteTable": call("ec2", "delete_route_table", RouteTableId=ID),
    "AWS::EC2::SecurityGroupEgress": revoke("egress"),
    "AWS::EC2::SecurityGroupIngress": revoke("ingress"),
    "AWS::EC2::SubnetRouteTableAssociation": remove_association,
    "AWS::EC2::VPCEndpoint": call("ec2", "delete_vpc_endpoints", VpcEndpointIds=[ID]),
    "AWS::EC2::VPCGatewayAttachment": call("ec2", "detach_internet_gateway", VpcId="VpcId", InternetGatewayId="InternetGatewayId"),
    "AWS::ElasticLoadBalancingV2::Listener": call("elbv2", "delete_listener", ListenerArn=ID),
    "AWS::ElasticLoadBalancingV2::ListenerRule": call("elbv2", "delete_rule", RuleArn=ID),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": remove_load_balancer,
    "AWS::ElasticLoadBalancingV2::TargetGroup": call("elbv2", "delete_target_group", TargetGroupArn=ID),
    # moto says that it has removed one that holds objects, and leaves it.
    "AWS::S3::Bucket": call("s3", "delete_bucket", Bucket=ID),
    "AWS::S3::BucketPolicy": call("s3", "delete_bucket_policy", Bucket=ID),
    "AWS::SNS::Subscription": call("sns", "unsubscribe", SubscriptionArn=ID),
    "AWS::SageMaker::Domain": call("sagemaker", "delete_domain", DomainId=ID),
    "AWS::SageMaker::MlflowApp": forgotten("AWS::SageMaker::MlflowApp"),
    "AWS::SageMaker::MlflowTrackingServer": forgotten("AWS::SageMaker::MlflowTrackingServer"),
    "AWS::SageMaker::UserProfile": forgotten("AWS::SageMaker::UserProfile"),
    "AWS::SecretsManager::Secret": call("secretsmanager", "delete_secret", SecretId=ID, ForceDeleteWithoutRecovery=True),
    "AWS::WAFv2::WebACL": remove_web_acl,
    "AWS::WAFv2::WebACLAssociation": call("wafv2", "disassociate_web_acl", ResourceArn="ResourceArn"),
} | tasks.REMOVE

MAKE = {
    "AWS::S3::BucketPolicy": bucket_policy,
    "AWS::EC2::SecurityGroupEgress": egress,
    "AWS::EC2::SecurityGroupIngress": ingress,
    "AWS::AutoScaling::ScalingPolicy": scaling_policy,
    "AWS::CloudWatch::Alarm": alarm,
    "AWS::SNS::Subscription": subscription,
    "AWS::SecretsManager::Secret": secret,
    "AWS::WAFv2::WebACL": web_acl,
    "AWS::WAFv2::WebACLAssociation": web_acl_association,
    "AWS::SageMaker::Domain": domain,
    "AWS::SageMaker::UserProfile": user_profile,
    "AWS::SageMaker::MlflowTrackingServer": tracking_server,
    "AWS::SageMaker::MlflowApp": app,
} | tasks.MAKE


class Made:
    """Implements what moto's CloudFormation expects of a resource."""

    cloudformation_name_type = staticmethod(lambda: "")
    has_cfn_attr = classmethod(lambda cls, attribute: True)

    def __init__(self, identity, attributes):
        self.physical_resource_id, self.attributes = identity, attributes

    def get_cfn_attribute(self, attribute):
        return self.attributes[attribute]

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **_):
        return cls(*MAKE[cls.cloudformation_type()](region_name, resource_name, cloudformation_json["Properties"]))


for _name in MAKE:
    # moto finds the types among the direct subclasses of its model, and files them by their module's second part.
    _body = {"__module__": "moto.shim", "cloudformation_type": staticmethod(lambda name=_name: name)}
    globals()[_name] = type(_name.replace("::", ""), (Made, CloudFormationModel), _body)
