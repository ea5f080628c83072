"""Holds the list of regions that mlflow.yaml accepts for MLflow apps against the resource types that cfn-lint knows.

Argument: the template. Left out are regions of which cfn-lint has a copy of another's list: those of other partitions,
and me-south-1.
"""

import sys

from cfnlint.decode import decode
from cfnlint.helpers import REGIONS
from cfnlint.schema import ResourceNotFoundError
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

UNKNOWN = ("cn-", "eu-isoe-", "eusc-", "me-south-1", "us-gov-", "us-iso")


def has_apps(region: str) -> bool:
    try:
        PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, "AWS::SageMaker::MlflowApp")
    except ResourceNotFoundError:
        return False
    return True


template, problems = decode(sys.argv[1])
if problems:
    sys.exit(f"{sys.argv[1]} cannot be read")
assertion = template["Rules"]["AppsAreOfferedHere"]["Assertions"][0]["Assert"]
accepted = set(assertion["Fn::Contains"][0])
offered = {region for region in REGIONS if not region.startswith(UNKNOWN) and has_apps(region)}
if len(offered) < 10:
    sys.exit(f"cfn-lint knows MLflow apps in {len(offered)} regions only; that cannot be right")
if accepted != offered:
    sys.exit(
        f"{sys.argv[1]}: the rule AppsAreOfferedHere lacks {sorted(offered - accepted)}"
        f" and has {sorted(accepted - offered)} too many"
    )
print(f"{len(offered)} regions with MLflow apps, as in the rule AppsAreOfferedHere")
