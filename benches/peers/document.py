"""Puts the tables of a run into the README beside them, with the machine that made them."""

import os
import time
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
END = "<!-- end -->\n"


def write(summary, tables, versions):
    lines = [f"- Measured on {time.strftime('%Y-%m-%d')}, on {machine()}"]
    lines += [f"- {name}: {version}" for name, version in versions.items() if version]
    text = README.read_text()
    for begin, content in (("<!-- summary -->\n", summary), ("<!-- measurements -->\n", "\n".join([*lines, "", tables]))):
        before, rest = text.split(begin)
        _, after = rest.split(END, 1)
        text = f"{before}{begin}\n{content}\n\n{END}{after}"
    README.write_text(text)


def machine():
    models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    gib = int(total.split()[1]) / (1 << 20)
    system = os.uname()
    return f"{len(os.sched_getaffinity(0))} cores of {models[0] if models else system.machine}, {gib:.0f} GiB, Linux {system.release}"
