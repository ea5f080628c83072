"""Says which change of a parameter an update could not carry out, by the properties that the schemas call create-only.

Arguments: the templates. A change of such a property makes CloudFormation create a new resource before it removes the old
one, and so does each resource that names the new one in a create-only property of its own. Two things cannot be then:

- two resources of one name, unless the name changes, too;
- a target group at two load balancers: where a balancer is made anew, so must be the target groups of its listeners.

A parameter whose description says that it cannot be changed later is left out.
"""

import re
import sys

from cfnlint.decode import decode
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

# The property that names a resource within an account and a region, where an empty one lets CloudFormation choose.
NAMES = {"Name", "BucketName", "DomainName", "RoleName", "TrackingServerName", "UserProfileName"}
WARNING = "cannot be changed later"
BALANCER, LISTENER, TARGETS = (f"AWS::ElasticLoadBalancingV2::{kind}" for kind in ("LoadBalancer", "Listener", "TargetGroup"))


def mentioned(part: object) -> set[str]:
    """The parameters, conditions and resources that a part of a template names."""
    if isinstance(part, dict):
        found = set().union(*(mentioned(value) for value in part.values()))
        for function, value in part.items():
            if function == "Ref":
                found.add(value)
            elif function == "Fn::GetAtt":
                found.add(value[0] if isinstance(value, list) else value.split(".")[0])
            elif function == "Fn::If":
                found.add(value[0])
            elif function == "Fn::Sub":
                found |= set(re.findall(r"\$\{([A-Za-z0-9]+)", value if isinstance(value, str) else value[0]))
            elif function == "Condition" and isinstance(value, str):
                found.add(value)
        return found
    if isinstance(part, list):
        return set().union(*map(mentioned, part)) if part else set()
    return set()


def create_only(kind: str) -> set[str]:
    paths = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema.get("createOnlyProperties", [])
    return {path.split("/")[2] for path in paths}


def problems(template: dict) -> list[str]:
    resources, conditions = template["Resources"], template.get("Conditions", {})

    def all_mentioned(part: object) -> set[str]:
        found = mentioned(part)
        for condition in found & set(conditions):
            found |= all_mentioned(conditions[condition])
        return found

    fixed = {
        name: {key: all_mentioned(value) for key, value in one.get("Properties", {}).items() if key in create_only(one["Type"])}
        for name, one in resources.items()
    }
    found = []
    for parameter, about in template["Parameters"].items():
        if WARNING in about["Description"]:
            continue
        replaced, grows = set(), True
        while grows:
            because = replaced | {parameter}
            more = {name for name, properties in fixed.items() if any(what & because for what in properties.values())}
            grows, replaced = not more <= replaced, replaced | more
        for name in sorted(replaced):
            same = [key for key, what in fixed[name].items() if key in NAMES and not what & (replaced | {parameter})]
            if same:
                found.append(f"{parameter}: a second {name} would have the {same[0]} of the first")
        for name in sorted(replaced):
            if resources[name]["Type"] == LISTENER and fixed[name].get("LoadBalancerArn", set()) & replaced:
                for other in sorted(mentioned(resources[name]["Properties"])):
                    if other in resources and resources[other]["Type"] == TARGETS and other not in replaced:
                        found.append(f"{parameter}: {name} of a new load balancer would lead to {other} of the old one")
    return found


found = []
for path in sys.argv[1:]:
    template, errors = decode(path)
    if errors:
        sys.exit(f"{path} cannot be read")
    found += [f"{path}: {problem}" for problem in problems(template)]
if found:
    sys.exit("\n".join(found))
print(f"each parameter of {len(sys.argv) - 1} templates can be changed later, or says that it cannot")
