"""Evaluates a template with its parameters: which resources it has, in which order, and what a change set would change.

moto makes resources as others mention them, ignores conditions in change sets, and does not know `Rules`.
"""

import json
import re

import tasks
from moto.cloudformation import models, parsing
from moto.cloudformation.exceptions import ValidationError
from moto.ssm import ssm_backends


class Plan:
    """A template with its parameters: what there will be, and in which order."""

    def __init__(self, backend, stack, text, given):
        self.template = models.Stack.parse_template(text)
        slots = self.template.get("Parameters", {})
        self.said = {name: str(slot["Default"]) for name, slot in slots.items() if "Default" in slot} | given
        for name, slot in slots.items():
            # moto would look up the default of a parameter although another value is given.
            slot.pop("Default", None)
            is_stored = slot["Type"].startswith("AWS::SSM::Parameter::Value") and name in self.said
            if is_stored and not ssm_backends[backend.account_id][backend.region_name].get_parameter(self.said[name]):
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
        plain = self.template["Resources"][name]
        after = plain.get("DependsOn", [])
        for other in sorted(mentioned(self.chosen(plain)) | set([after] if isinstance(after, str) else after)):
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
    patterns = (r'"Ref": "([^"]+)"', r'"Fn::GetAtt": \["([^"]+)"', r"\$\{([A-Za-z0-9]+)[.}]")
    return {name for pattern in patterns for name in re.findall(pattern, text)}


def of_type(plan, name):
    return plan.template["Resources"].get(name, {}).get("Type")


def changes(before, after):
    """Returns what is added, modified and removed. What names the latest version of a modified resource is modified, too."""
    old, found = before.order if before else [], {}
    for name in after.order:
        if name not in old:
            found[name] = ("Add", [])
            continue
        was, now = before.written(name), after.written(name)
        properties = [key for key in sorted(set(was) | set(now)) if was.get(key) != now.get(key)]
        latest = set(re.findall(r'"Fn::GetAtt": \["([^"]+)", "Latest', json.dumps(now)))
        latest |= {other for other in re.findall(r'"Ref": "([^"]+)"', json.dumps(now)) if of_type(after, other) in tasks.REPLACED}
        if properties or latest & {other for other, (action, _) in found.items() if action == "Modify"}:
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
