"""Compares instruction counts with the baseline: compare.py BINARY [--accept], with gungraun's JSON on standard input."""

import json
import sys
from pathlib import Path

from request import measure

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.05


def steps(lines):
    """The counts of the steps, from one JSON document a line."""
    found = {}
    for line in lines:
        print(line[:3000])
    return found


binary, accept = str(Path(sys.argv[1]).resolve()), "--accept" in sys.argv[2:]
counts = steps(sys.stdin) | measure(binary)
print(counts)
