"""Derives an appliance's size from measurements: what a request costs, and how many appliances carry how many callers."""

from math import ceil
from statistics import median

from goals import APPLIANCE
from workloads import MIB

# With its log as it is by default, as it runs on an instance.
AS_IT_RUNS = "appliance-log"
# The template's defaults: instances of two processors, more of them at this average load, and at least two.
PROCESSORS, LOAD, FEWEST = 2, 0.6, 2
CALLERS = (100, 1_000, 10_000)
# Calls per second of each: an open web page or a training loop that logs now and then, and one that logs all the time.
RATES = (1, 10)
BASIS = "get256"


def tables(measured, workloads):
    return [costs(measured, workloads), appliances(measured)]


def cpu_ms(measured, workload, peer=APPLIANCE):
    found = measured.values("cpu_ms", workload, peer)
    return median(found) if found else None


def costs(measured, workloads):
    """Processor time, which adds up, where the rates of one machine do not."""
    head = ["### What a request costs the appliance", "", "| workload | CPU ms/request | requests/s of one core | CPU ms/MiB | peak MiB |"]
    lines = []
    for workload in workloads:
        cost = workload.requests and not workload.client and cpu_ms(measured, workload.name)
        if not cost:
            continue
        moved = workload.sent + workload.received
        each = f"{cost * MIB / moved:.2f}" if moved > 64 * 1024 else "–"
        peak = median(measured.values("peak_mib", workload.name, APPLIANCE))
        lines.append(f"| {workload.title} | {cost:.4f} | {1000 / cost:,.{0 if cost < 10 else 1}f} | {each} | {peak:.1f} |")
    return "\n".join([*head, "|---|---:|---:|---:|---:|", *lines]) if lines else None


def appliances(measured):
    """By the processor time of small calls over many connections, on cores like this machine's."""
    peer = AS_IT_RUNS if cpu_ms(measured, BASIS, AS_IT_RUNS) else APPLIANCE
    cost = cpu_ms(measured, BASIS, peer)
    if not cost:
        return None
    most = PROCESSORS * LOAD * 1000 / cost
    lines = [
        "### How many appliances for how many callers",
        "",
        f"By `{peer}` at `{BASIS}`, an appliance of {PROCESSORS} such cores carries {most:,.0f} small calls/s at {LOAD:.0%} load.",
        "",
        f"| callers | {' | '.join(f'{rate} calls/s each' for rate in RATES)} |",
        f"|---:|{'---:|' * len(RATES)}",
    ]
    for callers in CALLERS:
        needed = [max(FEWEST, ceil(callers * rate / most)) for rate in RATES]
        lines.append(f"| {callers:,} | {' | '.join(map(str, needed))} |")
    return "\n".join(lines)
