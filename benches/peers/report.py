"""Tables of measurements: medians over the rounds, ratios within each round, and which goals they meet."""

from collections import defaultdict
from statistics import median

import counts
import idle
import sizing
from goals import APPLIANCE, GOALS
from workloads import IDLE

# First the figures that vary least.
CALLS = ["CPU × nginx", "min–max", "user ms", "system ms", "p50 ms", "p99 ms", "requests/s", "× nginx", "min–max"]
CALLS += ["peak MiB", "disk MiB", "upstream connections"]
SUMMARY = ["CPU × nginx", "instructions × nginx", "p99 × nginx", "requests/s × nginx", "requests/s × envoy", "peak MiB"]
START = ["first answer ms", "min–max", "idle MiB"]


class Measured:
    """The measurements that are right and were not disturbed: by workload, peer and round."""

    def __init__(self, rows, disturbance, binary_mib, instructions):
        """`instructions` are those per request, by workload and peer."""
        self.taken = len(rows)
        self.instructions = instructions
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


def details(measured, workloads, peers, missing):
    """All tables but the summary, as Markdown."""
    parts = [work(measured, workloads), *(table(measured, workload, peers) for workload in workloads)]
    parts += [*sizing.tables(measured, workloads), verdict(measured)]
    if measured.kept < measured.taken:
        left_out = measured.taken - measured.kept
        parts.append(f"{left_out} of {measured.taken} measurements are left out: wrong, or others used the machine.")
    parts += [f"`{name}` is left out: {reason}." for name, reason in missing.items()]
    return "\n\n".join(filter(None, parts))


def ratio(measured, figure, workload, other):
    """The median of the appliance's figure as a multiple of another peer's, as text."""
    ratios = measured.ratios(figure, workload, APPLIANCE, other)
    return f"{median(ratios):.2f}" if ratios else "–"


def summary(measured, workloads):
    """The appliance beside nginx and Envoy, in one line for each workload, as Markdown."""
    lines = []
    for workload in workloads:
        if not workload.requests or not measured.rows[workload.name, APPLIANCE]:
            continue
        ours, theirs = (measured.instructions.get((workload.name, peer)) for peer in (APPLIANCE, "nginx"))
        cells = [
            ratio(measured, "cpu_ms", workload.name, "nginx"),
            f"{ours / theirs:.2f}" if ours and theirs else "–",
            ratio(measured, "p99_ms", workload.name, "nginx"),
            ratio(measured, "per_second", workload.name, "nginx"),
            ratio(measured, "per_second", workload.name, "envoy"),
            f"{median(measured.values('peak_mib', workload.name, APPLIANCE)):.1f}",
        ]
        lines.append(f"| {workload.title} | {' | '.join(cells)} |")
    head = [f"| workload | {' | '.join(SUMMARY)} |", f"|---|{'---:|' * len(SUMMARY)}"]
    return "\n".join([*head, *lines])


def work(measured, workloads):
    """The instructions of user space for each request, and for each MiB of its bodies."""
    if not measured.instructions:
        return None
    lines = []
    for workload in workloads:
        found = [measured.instructions.get((workload.name, peer)) for peer in counts.PEERS]
        if not any(found):
            continue
        mib = counts.moved(workload)
        unit, part = ("MiB", mib) if mib > 1 else ("request", 1)
        cells = [f"{count / part:,.0f}" if count else "–" for count in found]
        lines.append(f"| {workload.title} | {unit} | {' | '.join(cells)} |")
    head = ["### Instructions in user space", "", f"| workload | for each | {' | '.join(counts.PEERS)} |"]
    return "\n".join([*head, f"|---|---|{'---:|' * len(counts.PEERS)}", *lines])


def table(measured, workload, peers):
    if workload is IDLE:
        return idle.table(measured, peers)
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

    def beside_nginx(name):
        ratios = measured.ratios(name, workload, peer, "nginx")
        return [f"{median(ratios):.2f}", f"{min(ratios):.2f}–{max(ratios):.2f}"] if any(ratios) else ["–", "–"]

    return [
        *beside_nginx("cpu_ms"),
        middle("user_ms", 4),
        middle("system_ms", 4),
        middle("p50_ms", 2),
        middle("p99_ms", 2),
        middle("per_second", 0 if max(measured.values("per_second", workload, peer)) > 100 else 2),
        *beside_nginx("per_second"),
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
