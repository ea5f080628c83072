"""Counts the instructions that the appliance takes for one small request, with Valgrind.

A process that answers many requests is compared with one that answers few, so that starting and stopping do not count.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "profile"))
from train import ARN, GET, Appliance, serve_upstream

FEW, MANY = 200, 1200
CALLS = {
    "GET of 1 KiB": ("GET", GET, None),
    "POST of 1 KiB": ("POST", "/api/2.0/mlflow/runs/log-metric", bytes(1024)),
}


def instructions(binary, place, upstream, count, call):
    """The instructions of a process that answers `count` requests on one connection."""
    out = place / "callgrind.out"
    under = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--quiet")
    options = ("--resource-arn", ARN + "training", "--upstream-endpoint", upstream, "--log-filter", "warn", "--workers", "1")
    with Appliance(binary, place, *options, under=under) as appliance:
        appliance.ask(count, *call)
    (total,) = (line.split()[1] for line in out.read_text().splitlines() if line.startswith("totals:"))
    return int(total)


def measure(binary):
    """Each kind of request, with its instructions."""
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        upstream = serve_upstream(place)
        for name, call in CALLS.items():
            few, many = (instructions(binary, place, upstream, count, call) for count in (FEW, MANY))
            found[f"request: {name}"] = round((many - few) / (MANY - FEW))
            (place / "tokens.toml").unlink()
    return found
