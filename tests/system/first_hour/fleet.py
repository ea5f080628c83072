"""Does what EC2 and Auto Scaling do in AWS: each instance that moto launches becomes a machine, which boots and ends with it.

A machine sees the user data, metadata options and tags that moto's launch template, group and stack give it. Its signal,
once proven, is passed to moto's CloudFormation. A new launch template replaces the instances as the template's rolling
update says: a new one is started, and as soon as it has signalled, the old one is taken from the load balancer.
"""

import ipaddress
import re
import sys
import threading
import time
import traceback

import completion
import shim
from container import Container
from figures import figures, holds, same

# The seconds that a machine may take to signal. AWS waits as long as the template says.
PATIENCE = 90


class Fleet(threading.Thread):
    """The group of the appliance's stack. `image` is a system's tree, `system` what it is."""

    def __init__(self, world, launch, mode, image, system):
        super().__init__(daemon=True)
        self.world, self.launch, self.mode, self.image, self.system = world, launch, mode, image, system
        self.aws, self.stack, self.over, self.errors = launch.aws, f"mlflow-appliance-{mode}", threading.Event(), []
        self.machines, self.told, self.instances, self.versions, self.delay = {}, {}, {}, {}, None
        shim.SIGNAL_SECONDS = PATIENCE
        completion.FINISH["AWS::AutoScaling::AutoScalingGroup"] = self.roll

    def run(self):
        while not self.over.wait(0.2):
            self.guarded(self.step)

    def guarded(self, function, *arguments):
        """The main thread has to hear of what fails in others."""
        try:
            function(*arguments)
        except Exception:
            self.errors.append(traceback.format_exc())

    def background(self, function, *arguments):
        threading.Thread(target=self.guarded, args=(function, *arguments), daemon=True).start()

    def step(self):
        for call in self.world.calls():
            same("the action of the call", call["Action"], "SignalResource")
            identity, status = call["UniqueId"], call["Status"]
            self.told.setdefault(identity, []).append(status)
            if status != "SUCCESS":
                self.errors.append(f"{identity} signals {status}:\n{self.machines[identity].journal()}")
            names = {"StackName": call["StackName"], "LogicalResourceId": call["LogicalResourceId"]}
            self.aws("cloudformation").signal_resource(**names, UniqueId=identity, Status=status)
        running = self.running()
        if self.world.balancer:
            self.world.register({identity: one["PrivateIpAddress"] for identity, one in running.items()})
        for identity in sorted(set(running) - set(self.machines)):
            self.machines[identity] = None
            self.background(self.boot, running[identity])
        for identity in [one for one, machine in self.machines.items() if machine and one not in running]:
            self.background(self.retire, identity, self.machines.pop(identity))

    def running(self):
        """The instances of the group, by their ids."""
        groups = self.aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        members = [one["InstanceId"] for group in groups for one in group["Instances"]]
        found = self.aws("ec2").describe_instances(InstanceIds=members)["Reservations"] if members else []
        return {one["InstanceId"]: one for reservation in found for one in reservation["Instances"]}

    def boot(self, instance):
        identity, address = instance["InstanceId"], instance["PrivateIpAddress"]
        group, data = self.launch.look.template(self.mode, self.stacks())
        options = data["MetadataOptions"]
        same("the metadata service", (options["HttpEndpoint"], options["HttpTokens"]), ("enabled", "required"))
        user_data = self.aws("ec2").describe_instance_attribute(InstanceId=identity, Attribute="userData")["UserData"]["Value"]
        tags = self.tags(group) if options["InstanceMetadataTags"] == "enabled" else {}
        self.instances[address] = {"instance": identity, "user_data": user_data, "tags": tags}
        self.world.announce(self.instances)
        if self.world.balancer is None:
            self.start_balancer()
        name = f"first-hour-{self.mode}-{len(self.instances)}"
        namespace = f"machine-{len(self.instances)}"
        self.world.join(namespace, address)
        machine = Container(self.image, self.world.directory / name, namespace, self.system, name)
        before = time.monotonic()
        machine.start()
        self.machines[identity] = machine
        while identity not in self.told and not self.over.is_set():
            time.sleep(0.1)
        figures.setdefault("seconds from power to signal", []).append(round(time.monotonic() - before, 1))

    def tags(self, group):
        """CloudFormation gives a stack's tags to the instances of its groups, whatever PropagateAtLaunch says."""
        own = {one["Key"]: one["Value"] for one in group["Tags"] if one["PropagateAtLaunch"]}
        stack = {one["Key"]: one["Value"] for one in self.launch.stacks()[self.stack]["Tags"]}
        holds("the stack has tags", stack)
        keys = [*own, *stack]
        same("keys of tags that EC2 refuses on instances that can see them", [key for key in keys if not re.fullmatch(r"[\w+=.,:@-]+", key)], [])
        named = {"aws:autoscaling:groupName": group["AutoScalingGroupName"], "aws:cloudformation:stack-name": self.stack}
        return {**stack, **own, **named, "aws:cloudformation:logical-id": "Group"}

    def stacks(self):
        """Returns what looks.py needs to know of a stack that is still being made."""
        name = self.aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"][0]["AutoScalingGroupName"]
        return {self.stack: {"Outputs": [{"OutputKey": "AutoScalingGroupName", "OutputValue": name}]}}

    def retire(self, identity, machine):
        """No new requests, then the end of those that there are, then its power is turned off."""
        before = time.monotonic()
        while identity in self.world.health() and not self.over.is_set():
            holds("a target is let go in time", time.monotonic() - before < self.delay + 10, identity)
            time.sleep(0.1)
        figures.setdefault("seconds of draining", []).append(round(time.monotonic() - before, 1))
        before = time.monotonic()
        machine.stop()
        # It would have been killed after that.
        holds("it shuts down in order", time.monotonic() - before < machine.stop_limit)
        (self.world.directory / f"{identity}.ended").touch()

    def start_balancer(self):
        """Starts a load balancer with what the stack says of it and of its targets, and a client."""
        client = self.aws("elbv2")
        (balancer,) = client.describe_load_balancers()["LoadBalancers"]
        arn = balancer["LoadBalancerArn"]
        attributes = client.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]
        attributes = {one["Key"]: one["Value"] for one in attributes}
        (listener,) = client.describe_listeners(LoadBalancerArn=arn)["Listeners"]
        # A listener may know several groups; it passes requests on to one.
        (action,) = listener["DefaultActions"]
        chosen = action.get("TargetGroupArn") or action["ForwardConfig"]["TargetGroups"][0]["TargetGroupArn"]
        (group,) = client.describe_target_groups(TargetGroupArns=[chosen])["TargetGroups"]
        of_group = client.describe_target_group_attributes(TargetGroupArn=chosen)["Attributes"]
        self.delay = int({one["Key"]: one["Value"] for one in of_group}["deregistration_delay.timeout_seconds"])
        settings = {
            "port": listener["Port"], "idle": int(attributes["idle_timeout.timeout_seconds"]), "delay": self.delay,
            "target_port": group["Port"], "path": group["HealthCheckPath"], "interval": group["HealthCheckIntervalSeconds"],
            "timeout": group["HealthCheckTimeoutSeconds"], "healthy": group["HealthyThresholdCount"],
            "unhealthy": group["UnhealthyThresholdCount"],
        }  # fmt: skip
        figures["load balancer"] = settings
        # An address of its own in its first subnet.
        subnet = balancer["AvailabilityZones"][0]["SubnetId"]
        block = ipaddress.ip_network(self.aws("ec2").describe_subnets(SubnetIds=[subnet])["Subnets"][0]["CidrBlock"])
        self.world.start_balancer(settings, str(block[-6]))
        self.world.start_client(str(block[-7]), balancer["DNSName"], str(block[-6]))

    def roll(self, region, identity, asked):
        """Replaces the instances of a group that has a new launch template, one after the other, as CloudFormation does."""
        completion.finish_group(region, identity, asked)
        version, before = str(asked["LaunchTemplate"]["Version"]), self.versions.get(identity)
        self.versions[identity] = version
        if before in (None, version):
            return
        scaling = self.aws("autoscaling")
        for old in sorted(self.running()):
            size = len(self.running())
            scaling.set_desired_capacity(AutoScalingGroupName=identity, DesiredCapacity=size + 1)
            (new,) = set(self.running()) - set(self.told)
            self.until(lambda new=new: new in self.told, f"{new} signals")
            scaling.terminate_instance_in_auto_scaling_group(InstanceId=old, ShouldDecrementDesiredCapacity=True)
            self.until(lambda old=old: self.has_ended(old), f"{old} ends")

    def until(self, is_so, what):
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            holds(f"{what} in time", time.monotonic() < deadline and not self.errors, self.errors)
            time.sleep(0.1)

    def has_ended(self, identity):
        return (self.world.directory / f"{identity}.ended").exists()

    def stop(self):
        self.over.set()
        self.join()
        for machine in [one for one in self.machines.values() if one]:
            machine.kill()


def explain(fleet):
    """Prints whatever helps to understand a failure."""
    for machine in [one for one in fleet.machines.values() if one]:
        machine.explain()
    print("\n".join(fleet.errors), file=sys.stderr)
