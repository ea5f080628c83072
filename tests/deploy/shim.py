"""What moto's CloudFormation lacks, so that stacks are launched in it as in AWS. `install` puts it there.

moto does what a change set says within the call, without events of resources, outputs, rollback or conditions; it
resolves parameters of Parameter Store only in the simplest of cases, and does not know `Rules`. Here the work is done
in the background, each resource has its events, failures are rolled back, signals are waited for and protection holds.
"""

import json
import re
import threading
import time

import resources
from moto.cloudformation import models, parsing, responses
from moto.cloudformation.exceptions import ValidationError
from moto.ssm import ssm_backends

# How long a group waits for signals of its instances; AWS waits as long as the template says.
SIGNAL_SECONDS = 6
SIGNALS = {}


class Plan:
    """A template with its parameters: what there will be, and in which order."""

    def __init__(self, backend, stack, text, given):
        self.template = models.Stack.parse_template(text)
        slots = self.template.get("Parameters", {})
        self.said = {name: str(slot["Default"]) for name, slot in slots.items() if "Default" in slot} | given
        for name, slot in slots.items():
            # moto would look up the default of a parameter although another value is given.
            slot.pop("Default", None)
            if slot["Type"].startswith("AWS::SSM::Parameter::Value") and name in self.said:
                if not ssm_backends[backend.account_id][backend.region_name].get_parameter(self.said[name]):
                    # The words, and that the call itself fails, are AWS's.
                    raise ValidationError(message=f"Unable to fetch parameters [{self.said[name]}] from parameter store for this account.")
        self.map = parsing.ResourceMap(
            stack_id=stack.stack_id, stack_name=stack.name, parameters=self.said, tags=dict(stack.tags), region_name=backend.region_name,
            account_id=backend.account_id, template=self.template, cross_stack_resources=backend.exports,
        )  # fmt: skip
        self.map.load()
        for name, rule in self.template.get("Rules", {}).items():
            if "RuleCondition" not in rule or self.holds(rule["RuleCondition"]):
                for assertion in rule["Assertions"]:
                    if not self.holds(assertion["Assert"]):
                        words = assertion.get("AssertDescription", "")
                        raise ValidationError(message=f"Template validation error: Rule {name} failed: {words}")
        for plain in self.template["Resources"].values():
            if plain["Type"] == "AWS::AutoScaling::AutoScalingGroup":
                # CloudFormation turns text into numbers where numbers are wanted; moto does not.
                plain["Properties"] |= {key: int(parsing.clean_json(plain["Properties"][key], self.map)) for key in ("MinSize", "MaxSize")}
        # Those whose condition holds, each after what it needs.
        self.order = []
        for name in self.template["Resources"]:
            self.visit(name, ())

    def holds(self, condition):
        (operator, values), *_ = condition.items()
        if operator == "Fn::Not":
            return not self.holds(values[0])
        if operator in ("Fn::And", "Fn::Or"):
            return (all if operator == "Fn::And" else any)(self.holds(value) for value in values)
        first, second = (parsing.clean_json(value, self.map) for value in values)
        return second in first if operator == "Fn::Contains" else first == second

    def is_there(self, name):
        condition = self.template["Resources"][name].get("Condition")
        return condition is None or self.map.lazy_condition_map[condition]

    def visit(self, name, above):
        if name in self.order or name in above or not self.is_there(name):
            return
        for other in sorted(mentioned(self.chosen(self.template["Resources"][name]))):
            if other in self.template["Resources"]:
                self.visit(other, (*above, name))
        self.order.append(name)

    def chosen(self, value):
        """A part of the template without the branches that its conditions do not take."""
        if isinstance(value, dict) and "Fn::If" in value:
            condition, yes, no = value["Fn::If"]
            return self.chosen(yes if self.map.lazy_condition_map[condition] else no)
        if isinstance(value, dict):
            return {key: self.chosen(part) for key, part in value.items()}
        return [self.chosen(part) for part in value] if isinstance(value, list) else value

    def written(self, name):
        """The properties of a resource with the values of parameters, but the names of other resources."""
        text = json.dumps(self.chosen(self.template["Resources"][name].get("Properties", {})), sort_keys=True)
        for key, value in self.map.resolved_parameters.items():
            text = text.replace(json.dumps({"Ref": key}), json.dumps(value)).replace(f"${{{key}}}", json.dumps(value)[1:-1])
        return json.loads(text)


def mentioned(part):
    """The names that a part of a template mentions."""
    text = json.dumps(part)
    found = set(re.findall(r'"(?:Ref|DependsOn)": "([^"]+)"', text)) | set(re.findall(r'"Fn::GetAtt": \["([^"]+)"', text))
    return found | set(re.findall(r"\$\{([A-Za-z0-9]+)[.}]", text)) | set(re.findall(r'"DependsOn": \["([^]]+)"\]', text))


def event(stack, status, name=None, kind=None, identity=None, reason=None):
    """The newest thing that has happened to a stack, or to one of its resources."""
    if name is None:
        stack.status, stack.stack_status_reason = status, reason
    stack.events.append(
        models.Event(
            stack_id=stack.stack_id, stack_name=stack.name, logical_resource_id=name or stack.name,
            physical_resource_id=identity or (None if name else stack.stack_id), resource_type=kind or "AWS::CloudFormation::Stack",
            resource_status=status, resource_status_reason=reason, resource_properties=None,
        )  # fmt: skip
    )


def create_change_set(self, stack_name, change_set_name, template, parameters, description, change_set_type, notification_arns=None, tags=None, role_arn=None):
    stack = next((one for one in self.stacks.values() if one.name == stack_name), None)
    if change_set_type == "CREATE" and stack and stack.status != "REVIEW_IN_PROGRESS":
        raise ValidationError(message=f"Stack [{stack_name}] already exists and cannot be created with the changeSet [{change_set_name}].")
    if change_set_type == "UPDATE" and (not stack or stack.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE")):
        status = stack.status if stack else "absent"
        raise ValidationError(message=f"Stack:{stack_name} is in {status} state and can not be updated.")
    if not stack:
        stack_id = models.generate_stack_id(stack_name, self.region_name, self.account_id)
        stack = models.Stack(stack_id=stack_id, name=stack_name, template={}, parameters={}, account_id=self.account_id, region_name=self.region_name, tags=tags)
    plan = Plan(self, stack, template, parameters)
    if stack.stack_id not in self.stacks:
        self.stacks[stack.stack_id] = stack
        event(stack, "REVIEW_IN_PROGRESS", reason="User Initiated")
    number = models.generate_changeset_id(change_set_name, self.region_name, self.account_id)
    made = models.ChangeSet(change_set_type, number, change_set_name, stack, template, plan.said, description, notification_arns, tags, role_arn)
    made.plan, made.changes = plan, changes(getattr(stack, "plan", None), plan)
    made.status, made.execution_status = "CREATE_COMPLETE", "AVAILABLE"
    before = getattr(stack, "plan", None)
    if before and not made.changes and before.template["Outputs"] == plan.template["Outputs"] and before.said == plan.said:
        made.status, made.execution_status = "FAILED", "UNAVAILABLE"
        made.status_reason = "The submitted information didn't contain changes. Submit different information to create a change set."
    self.change_sets[number] = made
    return number, stack.stack_id


def changes(before, after):
    """What is added, modified and removed; a resource also changes with an attribute of one that does."""
    old, found = before.order if before else [], {}
    for name in after.order:
        if name not in old:
            found[name] = ("Add", [])
            continue
        was, now = before.written(name), after.written(name)
        properties = [key for key in sorted(set(was) | set(now)) if was.get(key) != now.get(key)]
        attributes = {other for other, *_ in re.findall(r'"Fn::GetAtt": \["([^"]+)", "(Latest[^"]*)"', json.dumps(now))}
        if properties or attributes & {other for other, (action, _) in found.items() if action == "Modify"}:
            found[name] = ("Modify", properties)
    found |= {name: ("Remove", []) for name in old if name not in after.order}
    made = []
    for name, (action, properties) in found.items():
        source = before if action == "Remove" else after
        change = models.Change(action, name, source.template["Resources"][name]["Type"])
        if action == "Modify":
            change.replacement, change.scope = "False", ["Properties"]
            change.details = [{"Target": {"Attribute": "Properties", "Name": key, "RequiresRecreation": "Never"}} for key in properties]
        made.append(change)
    return made


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
    # What is there already stays, under the new template and parameters.
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
            # moto cannot undo an update, so that is where it ends here.
            reason = f"The following resource(s) failed to {doing.lower()}: [{name}]. "
            undo(backend, stack, "ROLLBACK", reason + "Rollback requested by user.") if verb == "CREATE" else event(stack, "UPDATE_ROLLBACK_FAILED", reason=reason)
            return
        event(stack, f"{doing}_COMPLETE", name, kind, identity)
    for name in removed:
        remove(backend, stack, name, before.template)
    stack.output_map = stack._create_output_map()
    # Evaluated before anybody can ask for them.
    list(stack.output_map.values())
    event(stack, f"{verb}_COMPLETE")


def make(backend, stack, plan, name, kind, doing):
    region, plain = backend.region_name, plan.template["Resources"][name]
    if doing == "CREATE":
        one = plan.map[name]
        if one is None:
            raise ValueError(f"moto makes no {kind}")
    else:
        one = plan.map._parsed_resources[name]
        if kind not in resources.FINISH:
            one = parsing.parse_and_update_resource(name, plain, plan.map, backend.account_id, region)
            if one is None:
                raise ValueError(f"moto changes no {kind}")
            plan.map._parsed_resources[name] = one
    identity = known(one, stack, name)
    if kind in resources.FINISH:
        resources.FINISH[kind](region, identity, parsing.clean_json(plain, plan.map)["Properties"])
    wanted = parsing.clean_json(plain.get("CreationPolicy", {}), plan.map).get("ResourceSignal", {}).get("Count")
    if wanted and doing == "CREATE":
        deadline, heard = time.monotonic() + SIGNAL_SECONDS, SIGNALS.setdefault((stack.name, name), set())
        while len(heard) < int(wanted):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Received {len(heard)} SUCCESS signal(s) out of {wanted}.  Unable to satisfy 100% MinSuccessfulInstancesPercent requirement")
            time.sleep(0.05)
    return identity


def known(one, stack, name):
    """What a resource is called in AWS; moto has no name for rules and the like."""
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
    for function in (update_termination_protection, signal_resource):
        setattr(responses.CloudFormationResponse, function.__name__, function)
    # It compares what was resolved with what was said, and refuses what AWS accepts.
    responses.CloudFormationResponse._validate_different_update = lambda *_: None
    parsing.get_model_list.cache_clear()
    parsing.get_model_map.cache_clear()
    parsing.get_name_type_map.cache_clear()
