"""Reads an exposition with Prometheus's own parser and says how many samples each family has."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

families = text_string_to_metric_families(sys.stdin.read())
print(json.dumps({family.name: len(family.samples) for family in families}))
