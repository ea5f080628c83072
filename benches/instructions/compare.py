"""Compares instruction counts with the baseline: compare.py BINARY [--accept], with gungraun's JSON on standard input."""

import json
import sys
from pathlib import Path

import request

BASELINE = Path(__file__).with_name("baseline.json")
# Counts of the same binary differ by less than 1 %, so this finds what wall-clock times cannot.
TOLERANCE = 0.05


def steps(lines):
    """The count of each step, from one JSON document a line."""
    found = {}
    for step in map(json.loads, lines):
        (profile,) = step["profiles"]
        name = f"{step['function_name']}: {step['id']}".replace("_", " ")
        found[name] = profile["data"]["total"]["metrics"]["Ir"]["values"]["new"]
    return found


def compare(baseline, counts):
    """Prints a table, and returns the names whose counts are not as the baseline says."""
    wrong = []
    for name in sorted(baseline | counts):
        before, now = baseline.get(name), counts.get(name)
        if before is None or now is None:
            wrong.append(name)
            print(f"{name:36} {before or '-':>12} {now or '-':>12}  {'new' if now else 'not measured'}")
            continue
        change = now / before - 1
        verdict = "MORE" if change > TOLERANCE else "fewer: accept the new baseline" if change < -TOLERANCE else ""
        if change > TOLERANCE:
            wrong.append(name)
        print(f"{name:36} {before:12,} {now:12,} {change:+8.1%}  {verdict}")
    return wrong


def main():
    binary, accept = str(Path(sys.argv[1]).resolve()), "--accept" in sys.argv[2:]
    counts = steps(sys.stdin) | request.measure(binary)
    if len(counts) < 10:
        sys.exit(f"only {len(counts)} counts were measured: the benchmark did not run")
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    print(f"{'':36} {'baseline':>12} {'now':>12}")
    wrong = compare(baseline, counts)
    if accept:
        BASELINE.write_text(json.dumps(dict(sorted(counts.items())), indent=2) + "\n")
        print(f"{BASELINE} holds these counts now; commit it with the reason")
    elif wrong:
        sys.exit(
            f"{len(wrong)} of {len(counts)} instruction counts are more than {TOLERANCE:.0%} above the baseline, or without one: "
            f"{', '.join(wrong)}.\nIf that is intended, run `benches/instructions/run --accept` and commit the new baseline with the reason."
        )


main()
