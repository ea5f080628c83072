"""Tables of measurements: medians over the rounds, ratios within each round, and which goals they meet."""

from collections import defaultdict
from statistics import median

import sizing
from goals import GOALS

CALLS = ["requests/s", "× nginx", "min–max", "p50 ms", "p99 ms", "CPU ms/request", "CPU × nginx"]
CALLS += ["peak MiB", "disk MiB", "upstream connections"]
START = ["first answer ms", "min–max", "idle MiB"]


class Measured:
    """The measurements that are right and were not disturbed: by workload, peer and round."""

    def __init__(self, rows, disturbance, binary_mib):
        self.taken = len(rows)
        self.rows = defaultdict(dict)
        for row in rows:
            if not row["wrong"] and row["others_cpu"] <= disturbance:
                self.rows[row["workload"], row["peer"]][row["round"]] = row
        self.kept = sum(map(len, self.rows.values()))
        self.binary_mib = binary_mib

    def values(self, name, workload, peer):
        return [row[name] for row in self.rows[workload, peer].values()]

    def ratios(self, name, workload, peer, other):
        """Of a figure of one peer to that of another, for each round that has both."""
        mine, theirs = self.rows[workload, peer], self.rows[workload, other]
        both = [(mine[number][name], theirs[number][name]) for number in mine if number in theirs]
        # A trial may be shorter than the kernel's clock can tell.
        return [this / that for this, that in both if that]


def report(measured, workloads, peers, missing):
    """All of it, as Markdown."""
    parts = [table(measured, workload, peers) for workload in workloads]
    parts += [*sizing.tables(measured, workloads), verdict(measured)]
    if measured.kept < measured.taken:
        left_out = measured.taken - measured.kept
        parts.append(f"{left_out} of {measured.taken} measurements are left out: wrong, or others used the machine.")
    parts += [f"`{name}` is left out: {reason}." for name, reason in missing.items()]
    return "\n\n".join(filter(None, parts))


def table(measured, workload, peers):
    present = [peer for peer in peers if measured.rows[workload.name, peer]]
    if not present:
        return None
    rounds = max(len(measured.rows[workload.name, peer]) for peer in present)
    columns, line = (CALLS, calls) if workload.requests else (START, start)
    lines = [f"### {workload.title} (rounds: {rounds})", "", f"| peer | {' | '.join(columns)} |"]
    lines.append(f"|---|{'---:|' * len(columns)}")
    lines += [f"| {' | '.join([peer, *line(measured, workload.name, peer)])} |" for peer in present]
    return "\n".join(lines)


def calls(measured, workload, peer):
    def middle(name, digits):
        return f"{median(measured.values(name, workload, peer)):,.{digits}f}"

    ratios = measured.ratios("per_second", workload, peer, "nginx")
    cpu = measured.ratios("cpu_ms", workload, peer, "nginx")
    return [
        middle("per_second", 0 if max(measured.values("per_second", workload, peer)) > 100 else 2),
        f"{median(ratios):.2f}" if ratios else "–",
        f"{min(ratios):.2f}–{max(ratios):.2f}" if ratios else "–",
        middle("p50_ms", 2),
        middle("p99_ms", 2),
        middle("cpu_ms", 4),
        f"{median(cpu):.2f}" if any(cpu) else "–",
        middle("peak_mib", 1),
        middle("written_mib", 1),
        middle("upstream_connections", 0),
    ]


def start(measured, workload, peer):
    first, idle = measured.values("first_answer_ms", workload, peer), measured.values("idle_mib", workload, peer)
    return [f"{median(first):.1f}", f"{min(first):.1f}–{max(first):.1f}", f"{median(idle):.1f}"]


def verdict(measured):
    """Which goals are met, by the medians, and what is to be reached after those."""
    lines = ["### Goals", "", "| goal | measured | | next |", "|---|---:|---|---:|"]
    for goal in GOALS:
        value = goal.value(measured)
        if value is None:
            lines.append(f"| {goal} | – | not measured | |")
        elif goal.is_met(value):
            lines.append(f"| {goal} | {value:.2f} | met | {goal.then:g} |")
        else:
            lines.append(f"| {goal} | {value:.2f} | **missed** | {goal.bound:g} |")
    return "\n".join(lines)
