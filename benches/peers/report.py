"""Tables of measurements: medians over the rounds, and ratios to nginx in the same round."""

from statistics import median

COLUMNS = ["requests/s", "× nginx", "min–max", "p50 ms", "p99 ms", "CPU ms/request", "peak MiB", "upstream connections"]


def tables(rows, workloads, peers, disturbance):
    """Markdown, from measurements that are right and were not disturbed."""
    good = [row for row in rows if not row["wrong"] and row["others_cpu"] <= disturbance]
    lines = []
    for workload in workloads:
        of = {
            peer: {row["round"]: row for row in good if (row["workload"], row["peer"]) == (workload.name, peer)}
            for peer in peers
        }
        if not any(of.values()):
            continue
        rounds = max(map(len, of.values()))
        lines += [f"### {workload.title} ({rounds} rounds)", "", f"| peer | {' | '.join(COLUMNS)} |"]
        lines.append(f"|---|{'---:|' * len(COLUMNS)}")
        lines += [line(peer, rows, of.get("nginx", {})) for peer, rows in of.items() if rows]
        lines.append("")
    left_out = len(rows) - len(good)
    if left_out:
        lines.append(f"{left_out} of {len(rows)} measurements are left out: wrong answers, or others used the machine.")
    return "\n".join(lines)


def line(peer, rows, reference):
    ratios = [row["per_second"] / reference[number]["per_second"] for number, row in rows.items() if number in reference]

    def middle(name, digits):
        return f"{median(row[name] for row in rows.values()):,.{digits}f}"

    cells = [
        peer,
        middle("per_second", 0),
        f"{median(ratios):.2f}" if ratios else "–",
        f"{min(ratios):.2f}–{max(ratios):.2f}" if ratios else "–",
        middle("p50_ms", 2),
        middle("p99_ms", 2),
        middle("cpu_ms", 4),
        middle("peak_mib", 1),
        middle("upstream_connections", 0),
    ]
    return f"| {' | '.join(cells)} |"
