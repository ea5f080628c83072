"""The types of ECS and of its scaling, made through the API of moto's services, as resources.py makes others.

moto's CloudFormation has some of them, but leaves out most of their properties.
"""

from account import aws


def camel(value):
    """Properties as the API of ECS spells them; the names of log options are data."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: part if key == "Options" else camel(part) for key, part in value.items()}
    return [camel(part) for part in value] if isinstance(value, list) else value


def cluster(region, name, asked):
    """AWS::ECS::Cluster."""
    made = aws("ecs", region).create_cluster(clusterName=name, settings=camel(asked["ClusterSettings"]))["cluster"]
    return made["clusterName"], {"Arn": made["clusterArn"]}


def task_definition(region, name, asked):
    """AWS::ECS::TaskDefinition: CloudFormation makes a number of the text of a parameter."""
    request = camel(asked)
    request["ephemeralStorage"] = {"sizeInGiB": int(request["ephemeralStorage"]["sizeInGiB"])}
    return aws("ecs", region).register_task_definition(family=name, **request)["taskDefinition"]["taskDefinitionArn"], {}


def service(region, name, asked):
    """AWS::ECS::Service: AWS makes none for targets to which no listener leads; moto does not look."""
    arns = [one["TargetGroupArn"] for one in asked["LoadBalancers"]]
    for target in aws("elbv2", region).describe_target_groups(TargetGroupArns=arns)["TargetGroups"]:
        if not target["LoadBalancerArns"]:
            raise ValueError(f"The target group with targetGroupArn {target['TargetGroupArn']} does not have an associated load balancer.")
    # Without a number AWS starts one task.
    made = aws("ecs", region).create_service(serviceName=name, desiredCount=1, **camel(asked))["service"]
    return made["serviceArn"], {"Name": made["serviceName"], "ServiceArn": made["serviceArn"]}


def finish_service(region, identity, asked):
    """A change, also of the task definition that it names."""
    cluster, name = asked["Cluster"], identity.rpartition("/")[2]
    aws("ecs", region).update_service(cluster=cluster, service=name, taskDefinition=asked["TaskDefinition"])


def scalable_target(region, name, asked):
    """AWS::ApplicationAutoScaling::ScalableTarget: known by three things at once."""
    sizes = {key: int(asked[key]) for key in ("MinCapacity", "MaxCapacity")}
    aws("application-autoscaling", region).register_scalable_target(**asked | sizes)
    return "|".join(asked[key] for key in ("ResourceId", "ScalableDimension", "ServiceNamespace")), {}


def named(identity):
    return dict(zip(("ResourceId", "ScalableDimension", "ServiceNamespace"), identity.split("|")))


def scaling_policy(region, name, asked):
    """AWS::ApplicationAutoScaling::ScalingPolicy."""
    target = named(asked.pop("ScalingTargetId"))
    policy = asked["TargetTrackingScalingPolicyConfiguration"]
    policy |= {"TargetValue": float(policy["TargetValue"])} | {key: int(policy[key]) for key in ("ScaleInCooldown", "ScaleOutCooldown")}
    return aws("application-autoscaling", region).put_scaling_policy(**asked, **target)["PolicyARN"], {}


def remove_service(region, identity, asked):
    aws("ecs", region).delete_service(cluster=asked["Cluster"], service=identity.rpartition("/")[2], force=True)


def remove_cluster(region, identity, asked):
    aws("ecs", region).delete_cluster(cluster=identity)


def remove_task_definition(region, identity, asked):
    aws("ecs", region).deregister_task_definition(taskDefinition=identity)


def remove_scalable_target(region, identity, asked):
    aws("application-autoscaling", region).deregister_scalable_target(**named(identity))


def remove_scaling_policy(region, identity, asked):
    aws("application-autoscaling", region).delete_scaling_policy(PolicyName=asked["PolicyName"], **named(asked["ScalingTargetId"]))


MAKE = {
    "AWS::ECS::Cluster": cluster,
    "AWS::ECS::TaskDefinition": task_definition,
    "AWS::ECS::Service": service,
    "AWS::ApplicationAutoScaling::ScalableTarget": scalable_target,
    "AWS::ApplicationAutoScaling::ScalingPolicy": scaling_policy,
}
REMOVE = {
    "AWS::ECS::Cluster": remove_cluster,
    "AWS::ECS::TaskDefinition": remove_task_definition,
    "AWS::ECS::Service": remove_service,
    "AWS::ApplicationAutoScaling::ScalableTarget": remove_scalable_target,
    "AWS::ApplicationAutoScaling::ScalingPolicy": remove_scaling_policy,
}
FINISH = {"AWS::ECS::Service": finish_service}
# A change makes a new one, which others then name.
REPLACED = {"AWS::ECS::TaskDefinition"}
