"""Adds what moto's CloudFormation leaves out of resources that it makes, through the API of their services.

shim.py calls the function of a type once a resource is made, and again whenever the resource is changed.
"""

import json

import tasks
from account import aws
from resources import permission


def lifecycle(rule):
    """A rule of a life cycle, as the API of S3 wants it."""
    expiration = {"Days": rule["ExpirationInDays"]} if "ExpirationInDays" in rule else {}
    expiration |= {key: rule[key] for key in ("ExpiredObjectDeleteMarker",) if key in rule}
    same = {key: rule[key] for key in ("Status", "AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration") if key in rule}
    return {"ID": rule["Id"], "Filter": {"Prefix": ""}} | same | ({"Expiration": expiration} if expiration else {})


def finish_bucket(region, identity, asked):
    """moto only encrypts."""
    client = aws("s3", region)
    client.put_public_access_block(Bucket=identity, PublicAccessBlockConfiguration=asked["PublicAccessBlockConfiguration"])
    client.put_bucket_ownership_controls(Bucket=identity, OwnershipControls=asked["OwnershipControls"])
    client.put_bucket_versioning(Bucket=identity, VersioningConfiguration=asked["VersioningConfiguration"])
    rules = [lifecycle(rule) for rule in asked["LifecycleConfiguration"]["Rules"]]
    client.put_bucket_lifecycle_configuration(Bucket=identity, LifecycleConfiguration={"Rules": rules})


def rules(region, identity):
    """The rules of a security group, by which it is seen whether somebody has changed them since."""
    (group,) = aws("ec2", region).describe_security_groups(GroupIds=[identity])["SecurityGroups"]
    return json.dumps([group["IpPermissions"], group["IpPermissionsEgress"]], sort_keys=True)


def finish_security_group(region, identity, asked):
    """moto only sees rules for what comes in, and lets everything leave."""
    client = aws("ec2", region)
    before = client.describe_security_groups(GroupIds=[identity])["SecurityGroups"][0]["IpPermissionsEgress"]
    if asked.get("SecurityGroupEgress"):
        client.revoke_security_group_egress(GroupId=identity, IpPermissions=before)
        client.authorize_security_group_egress(GroupId=identity, IpPermissions=[permission(rule) for rule in asked["SecurityGroupEgress"]])


def finish_role(region, identity, asked):
    """moto writes down policies as Python would; its API takes them as JSON, and looks whether IAM would take them."""
    client = aws("iam", region)
    client.update_assume_role_policy(RoleName=identity, PolicyDocument=json.dumps(asked["AssumeRolePolicyDocument"]))
    for policy in asked.get("Policies", []):
        client.put_role_policy(RoleName=identity, PolicyName=policy["PolicyName"], PolicyDocument=json.dumps(policy["PolicyDocument"]))


def finish_policy(region, identity, asked):
    """As above."""
    for role in asked["Roles"]:
        aws("iam", region).put_role_policy(RoleName=role, PolicyName=asked["PolicyName"], PolicyDocument=json.dumps(asked["PolicyDocument"]))


def finish_association(region, identity, asked):
    """moto notes it where nothing looks."""
    aws("ec2", region).associate_route_table(RouteTableId=asked["RouteTableId"], SubnetId=asked["SubnetId"])


def finish_load_balancer(region, identity, asked):
    """moto sees no attributes."""
    aws("elbv2", region).modify_load_balancer_attributes(LoadBalancerArn=identity, Attributes=asked["LoadBalancerAttributes"])


def finish_target_group(region, identity, asked):
    """moto sees no attributes."""
    aws("elbv2", region).modify_target_group_attributes(TargetGroupArn=identity, Attributes=asked["TargetGroupAttributes"])


def finish_group(region, identity, asked):
    """moto would make a new group for each change; here the group stays, as in AWS, and its instances stay as well."""
    template = {**asked["LaunchTemplate"], "Version": str(asked["LaunchTemplate"]["Version"])}
    sizes = {"MinSize": int(asked["MinSize"]), "MaxSize": int(asked["MaxSize"])}
    aws("autoscaling", region).update_auto_scaling_group(AutoScalingGroupName=identity, LaunchTemplate=template, **sizes)


FINISH = {
    "AWS::S3::Bucket": finish_bucket,
    "AWS::EC2::SecurityGroup": finish_security_group,
    "AWS::EC2::SubnetRouteTableAssociation": finish_association,
    "AWS::IAM::Role": finish_role,
    "AWS::IAM::Policy": finish_policy,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": finish_load_balancer,
    "AWS::ElasticLoadBalancingV2::TargetGroup": finish_target_group,
    "AWS::AutoScaling::AutoScalingGroup": finish_group,
} | tasks.FINISH
