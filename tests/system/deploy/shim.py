"""Adds what moto's CloudFormation lacks, so that stacks are launched in it as in AWS. `install` puts it there.

moto does what a change set says within the call, without events of resources, outputs or rollback. This module works in
the background, gives each resource its events, rolls failed creations back, waits for signals and keeps protection. It
does not take a failed update back to what was before, so the update ends there, and says so.
"""

import threading
import time

import completion
import resources
import tasks
from moto.cloudformation import models, parsing, responses
from moto.cloudformation.exceptions import ValidationError
from moto.ec2.responses import EC2Response
from plans import Plan, changes

# The seconds that a group waits for signals of its instances. AWS waits as long as the template says.
SIGNAL_SECONDS = 6
SIGNALS = {}


def event(stack, status, name=None, kind=None, identity=None, reason=None):
    """The newest thing that has happened to a stack, or to one of its resources."""
    if name is None:
        stack.status, stack.stack_status_reason = status, reason
    stack.events.append(
        models.Event(
            stack_id=stack.stack_id,
            stack_name=stack.name,
            logical_resource_id=name or stack.name,
            physical_resource_id=identity or (None if name else stack.stack_id),
            resource_type=kind or "AWS::CloudFormation::Stack",
            resource_status=status,
            resource_status_reason=reason,
            resource_properties=None,
        )  # fmt: skip
    )


def create_change_set(
    self, stack_name, change_set_name, template, parameters, description, change_set_type, notification_arns=None, tags=None, role_arn=None
):
    stack = next((one for one in self.stacks.values() if one.name == stack_name), None)
    if change_set_type == "CREATE" and stack and stack.status != "REVIEW_IN_PROGRESS":
        raise ValidationError(message=f"Stack [{stack_name}] already exists and cannot be created with the changeSet [{change_set_name}].")
    if change_set_type == "UPDATE" and (not stack or stack.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE")):
        status = stack.status if stack else "absent"
        raise ValidationError(message=f"Stack:{stack_name} is in {status} state and can not be updated.")
    if not stack:
        stack_id = models.generate_stack_id(stack_name, self.region_name, self.account_id)
        stack = models.Stack(
            stack_id=stack_id, name=stack_name, template={}, parameters={}, account_id=self.account_id, region_name=self.region_name, tags=tags
        )
    plan = Plan(self, stack, template, parameters)
    if stack.stack_id not in self.stacks:
        self.stacks[stack.stack_id] = stack
        event(stack, "REVIEW_IN_PROGRESS", reason="User Initiated")
    number = models.generate_changeset_id(change_set_name, self.region_name, self.account_id)
    made = models.ChangeSet(change_set_type, number, change_set_name, stack, template, plan.said, description, notification_arns, tags, role_arn)
    made.plan, made.changes = plan, changes(getattr(stack, "plan", None), plan)
    made.status, made.execution_status = "CREATE_COMPLETE", "AVAILABLE"
    before = getattr(stack, "plan", None)
    if before and not made.changes and before.template.get("Outputs") == plan.template.get("Outputs") and before.said == plan.said:
        made.status, made.execution_status = "FAILED", "UNAVAILABLE"
        made.status_reason = "The submitted information didn't contain changes. Submit different information to create a change set."
    self.change_sets[number] = made
    return number, stack.stack_id


def execute_change_set(self, change_set_name, stack_name=None):
    change_set = self.describe_change_set(change_set_name)
    if change_set.execution_status != "AVAILABLE":
        raise ValidationError(message=f"ChangeSet [{change_set_name}] cannot be executed in its current status of [{change_set.status}]")
    change_set.execution_status = "EXECUTE_COMPLETE"
    stack, verb = self.stacks[change_set.stack_id], change_set.change_set_type
    event(stack, f"{verb}_IN_PROGRESS", reason="User Initiated")
    threading.Thread(target=work, args=(self, stack, change_set, verb), daemon=True).start()


def work(backend, stack, change_set, verb):
    """Makes and changes what the change set says."""
    plan, before = change_set.plan, getattr(stack, "plan", None)
    # The resources that exist already stay, under the new template and parameters.
    for name, one in stack.resource_map._parsed_resources.items():
        if before and name in before.order:
            plan.map._parsed_resources[name] = one
    if not before:
        plan.map._template = plan.template
    stack.resource_map, stack.template, stack.template_dict, stack.parameters = plan.map, change_set.template, plan.template, plan.said
    stack.description, stack.plan, removed = plan.template.get("Description"), plan, []
    for change in change_set.changes:
        if change.action == "Remove":
            removed.append(change.logical_resource_id)
            continue
        name, kind = change.logical_resource_id, change.resource_type
        doing = "CREATE" if change.action == "Add" else "UPDATE"
        event(stack, f"{doing}_IN_PROGRESS", name, kind)
        try:
            identity = make(backend, stack, plan, name, kind, doing)
        except Exception as error:  # Whatever it is, CloudFormation would say it in an event.
            event(stack, f"{doing}_FAILED", name, kind, reason=f"{type(error).__name__}: {error}")
            reason = f"The following resource(s) failed to {doing.lower()}: [{name}]. "
            if verb == "CREATE":
                return undo(backend, stack, "ROLLBACK", reason + "Rollback requested by user.")
            # moto cannot undo an update, so that is where it ends here.
            return event(stack, "UPDATE_ROLLBACK_FAILED", reason=reason)
        event(stack, f"{doing}_COMPLETE", name, kind, identity)
    for name in removed:
        remove(backend, stack, name, before.template)
    stack.output_map = stack._create_output_map()
    # Evaluated before anybody can ask for them.
    list(stack.output_map.values())
    groups = [name for name in plan.order if plan.template["Resources"][name]["Type"] == "AWS::EC2::SecurityGroup"]
    stack.rules = {name: completion.rules(backend.region_name, plan.map[name].physical_resource_id) for name in groups}
    event(stack, f"{verb}_COMPLETE")


def make(backend, stack, plan, name, kind, doing):
    region, plain = backend.region_name, plan.template["Resources"][name]
    if doing == "CREATE":
        one = plan.map[name]
        if one is None:
            raise ValueError(f"moto makes no {kind}")
    elif kind in tasks.REPLACED:
        one = parsing.parse_and_create_resource(name, plain, plan.map, backend.account_id, region)
        plan.map._parsed_resources[name] = one
    else:
        one = plan.map._parsed_resources[name]
        if kind not in completion.FINISH:
            one = parsing.parse_and_update_resource(name, plain, plan.map, backend.account_id, region)
            if one is None:
                raise ValueError(f"moto changes no {kind}")
            plan.map._parsed_resources[name] = one
    identity = known(one, stack, name)
    if kind in completion.FINISH:
        completion.FINISH[kind](region, identity, parsing.clean_json(plain, plan.map)["Properties"])
    wanted = parsing.clean_json(plain.get("CreationPolicy", {}), plan.map).get("ResourceSignal", {}).get("Count")
    if wanted and doing == "CREATE":
        deadline, heard = time.monotonic() + SIGNAL_SECONDS, SIGNALS.setdefault((stack.name, name), set())
        while len(heard) < int(wanted):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"Received {len(heard)} SUCCESS signal(s) out of {wanted}.  Unable to satisfy 100% MinSuccessfulInstancesPercent requirement"
                )
            time.sleep(0.05)
    return identity


def known(one, stack, name):
    """Returns the name of a resource in AWS, or one of its own, since moto has no name for rules and the like."""
    return getattr(one, "physical_resource_id", None) or f"{stack.name}-{name}"


def remove(backend, stack, name, template):
    """Removes a resource, or keeps it as the template says; false if it cannot be removed yet."""
    one, plain = stack.resource_map._parsed_resources[name], template["Resources"][name]
    kind, kept = plain["Type"], plain.get("DeletionPolicy")
    identity = known(one, stack, name)
    if kept == "Retain" or (kept == "RetainExceptOnCreate" and stack.status != "ROLLBACK_IN_PROGRESS"):
        event(stack, "DELETE_SKIPPED", name, kind, identity)
    else:
        if kind in resources.REMOVE:
            asked = parsing.clean_json(plain, stack.resource_map)["Properties"]
            resources.REMOVE[kind](backend.region_name, identity, asked)
        else:
            if not callable(getattr(one, "delete", None)) and hasattr(type(one).delete_from_cloudformation_json, "__isabstractmethod__"):
                raise NotImplementedError(f"moto removes no {kind}")
            stack.resource_map._delete_resource(one, parsing.clean_json(plain, stack.resource_map))
        event(stack, "DELETE_COMPLETE", name, kind, identity)
    # Only now: others that are named in its properties have to be known until it is gone.
    del stack.resource_map._parsed_resources[name]


def undo(backend, stack, verb, reason):
    """Removes everything, the last first; what something else still needs is tried again."""
    event(stack, f"{verb}_IN_PROGRESS", reason=reason)
    left = [name for name in reversed(stack.plan.order) if stack.resource_map._parsed_resources.get(name)]
    why = {}
    for _ in range(3):
        for name in list(left):
            try:
                remove(backend, stack, name, stack.plan.template)
                left.remove(name)
            except Exception as error:  # As above: it is said in an event.
                why.setdefault(name, f"{type(error).__name__}: {error}")
    for name in left:
        event(stack, "DELETE_FAILED", name, stack.plan.template["Resources"][name]["Type"], reason=why[name])
    if left:
        return event(stack, f"{verb}_FAILED", reason=f"The following resource(s) failed to delete: [{', '.join(left)}]. ")
    if verb == "DELETE":
        backend.deleted_stacks[stack.stack_id] = stack
        backend.stacks.pop(stack.stack_id)
    event(stack, f"{verb}_COMPLETE")


def delete_stack(self, name_or_stack_id):
    stack = next((one for one in self.stacks.values() if name_or_stack_id in (one.name, one.stack_id)), None)
    if not stack:
        return
    if stack.enable_termination_protection:
        raise ValidationError(message=f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
    if not hasattr(stack, "plan"):
        self.deleted_stacks[stack.stack_id] = self.stacks.pop(stack.stack_id)
        return event(stack, "DELETE_COMPLETE")
    event(stack, "DELETE_IN_PROGRESS", reason="User Initiated")
    threading.Thread(target=undo, args=(self, stack, "DELETE", "User Initiated"), daemon=True).start()


def update_termination_protection(self):
    """An action that moto does not know."""
    stack = self.cloudformation_backend.get_stack(self._get_param("StackName"))
    stack.enable_termination_protection = self._get_bool_param("EnableTerminationProtection")
    return responses.ActionResult({"StackId": stack.stack_id})


def signal_resource(self):
    """Another one: an instance says that it is ready."""
    if self._get_param("Status") == "SUCCESS":
        heard = SIGNALS.setdefault((self._get_param("StackName"), self._get_param("LogicalResourceId")), set())
        heard.add(self._get_param("UniqueId"))
    return responses.EmptyResult()


def register_image(self):
    """moto forgets the processor and the disk of an image that it is told to register."""
    image = self.ec2_backend.register_image(self._get_param("Name"), self._get_param("Description", ""))
    image.architecture, image.root_device_name = self._get_param("Architecture"), self._get_param("RootDeviceName")
    return responses.ActionResult({"ImageId": image.id})


def describe_type(self):
    """One more: whether this region has a type of resource. Here it has all that moto and these files know."""
    name = self._get_param("TypeName")
    if name not in parsing.get_model_map():
        raise ValidationError(message=f"The type '{name}' cannot be found.")
    return responses.ActionResult({"Type": "RESOURCE", "TypeName": name})


def detect_stack_drift(self):
    """The next three: whether somebody has changed resources by hand. Here it is only looked at security groups."""
    stack = self.cloudformation_backend.get_stack(self._get_param("StackName"))
    stack.drifted = []
    for name, before in stack.rules.items():
        identity = stack.resource_map[name].physical_resource_id
        if completion.rules(self.region, identity) != before:
            stack.drifted.append((name, identity))
    return responses.ActionResult({"StackDriftDetectionId": stack.stack_id})


def describe_stack_drift_detection_status(self):
    identity = self._get_param("StackDriftDetectionId")
    now = models.utcnow()
    return responses.ActionResult({"StackId": identity, "StackDriftDetectionId": identity, "DetectionStatus": "DETECTION_COMPLETE", "Timestamp": now})


def describe_stack_resource_drifts(self):
    stack, now = self.cloudformation_backend.get_stack(self._get_param("StackName")), models.utcnow()
    same = {"StackId": stack.stack_id, "ResourceType": "AWS::EC2::SecurityGroup", "StackResourceDriftStatus": "MODIFIED", "Timestamp": now}
    found = [same | {"LogicalResourceId": name, "PhysicalResourceId": identity} for name, identity in stack.drifted]
    return responses.ActionResult({"StackResourceDrifts": found})


def parameter_list(self):
    """As AWS says them: the name of a parameter in Parameter Store, and its value beside it; lists as they were written."""
    slots, values = self.template_dict.get("Parameters", {}), self.resource_map.resolved_parameters
    return [
        {"ParameterKey": key, "ParameterValue": text} | ({"ResolvedValue": values[key]} if slots[key]["Type"].startswith("AWS::SSM") else {})
        for key, text in self.parameters.items()
        if key in slots
    ]


def outputs(self):
    """Only of a stack that is complete: moto would make resources to know them."""
    if self.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        return None
    return [{"OutputKey": one.key, "OutputValue": one.value, "Description": one.description} for one in self.output_map.values() if one]


def stack_resources(self):
    """Those that are there; moto would make the others when it is asked."""
    made = self.resource_map._parsed_resources
    return [made[name] for name in self.template_dict.get("Resources", {}) if made.get(name)]


def yaml_tag(loader, tag, node, moto=models.yaml_tag_constructor):
    """moto does not know the short form of a condition within another."""
    return {"Condition": node.value} if tag == "!Condition" else moto(loader, tag, node)


def install():
    models.yaml_tag_constructor = yaml_tag
    models.Stack.parameter_list, models.Stack.outputs = property(parameter_list), property(outputs)
    models.Stack.stack_resources = property(stack_resources)
    for function in (create_change_set, execute_change_set, delete_stack):
        setattr(models.CloudFormationBackend, function.__name__, function)
    drift = (detect_stack_drift, describe_stack_drift_detection_status, describe_stack_resource_drifts)
    for function in (update_termination_protection, signal_resource, describe_type, *drift):
        setattr(responses.CloudFormationResponse, function.__name__, function)
    EC2Response.register_image = register_image
    # It compares what was resolved with what was said, and refuses what AWS accepts.
    responses.CloudFormationResponse._validate_different_update = lambda *_: None
    parsing.get_model_list.cache_clear()
    parsing.get_model_map.cache_clear()
    parsing.get_name_type_map.cache_clear()
