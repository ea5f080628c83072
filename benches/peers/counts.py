"""Counts the instructions that a request costs, with Valgrind's callgrind. They are those of user space alone, and vary by less than 1 %.

Each peer runs twice, with a few requests and with many; the difference leaves out its start and its end. Valgrind's processor
has AES and AVX2, but no instructions for SHA-256, so a peer that hashes takes more instructions there than it would otherwise.
"""

import dataclasses
import shutil
import sys

import loads
import peers
import scene
import workloads
from workloads import MIB

PEERS = ("nginx", "appliance", "envoy")
# Bodies of this size stand for larger ones, which cost the same for each MiB and would take hours.
BODY = 4 * MIB
FEW, MANY = 1, 5
# Counted with one connection, the workloads and the number of requests that make up `FEW`.
COUNTED = {"get16": 100, "post1k": 100, "post100k": 20, "churn": 50, "object256m": 2, "get256m": 2}


def measure(place, oha, names, which):
    """Returns the instructions per request by workload and peer, of those that take part and are wanted."""
    if not shutil.which("valgrind"):
        raise scene.Missing("valgrind is missing (Debian: valgrind)")
    found = {}
    for workload in which:
        for name in names:
            if name in PEERS and workload.name in COUNTED and peers.part(name, workload):
                found[workload.name, name] = each(place, oha, name, smaller(workload))
                print(f"{'':2}{workload.name:10} {name:14} {found[workload.name, name]:14,.0f} instructions", file=sys.stderr)
    return found


def smaller(workload):
    """The workload with one connection, and with bodies that a simulated processor can carry."""
    changes = {"connections": 1, "requests": COUNTED[workload.name]}
    if workload.sent == workloads.LARGE:
        changes["sent"] = BODY
    if workload.received == workloads.LARGE:
        changes |= {"received": BODY, "path": workload.path.replace(str(workloads.LARGE), str(BODY))}
    return dataclasses.replace(workload, **changes)


def moved(workload):
    """The MiB of bodies that one counted request moves."""
    small = smaller(workload)
    return (small.sent + small.received) / MIB


def each(place, oha, name, workload):
    few, many = (total(place, oha, name, workload, workload.requests * factor) for factor in (FEW, MANY))
    return (many - few) / (workload.requests * (MANY - FEW))


def total(place, oha, name, workload, requests):
    """The instructions of all processes of a peer, from its start to its end."""
    directory = place.directory / "callgrind"
    directory.mkdir()
    place.wrapper = ["valgrind", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={directory}/%p"]
    try:
        running = peers.PEERS[name].start(place, workload)
        try:
            load = loads.Oha(oha, workload, requests, running, place.upstream)
            _, facts = load.measured()
        finally:
            running.process.__exit__()
        if wrong := workloads.wrong(facts):
            raise RuntimeError(f"{name} at {workload.name} under Valgrind: {'; '.join(wrong)}")
        texts = [path.read_text() for path in directory.iterdir()]
        totals = [int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("totals:")]
        if not totals or not all(totals):
            raise RuntimeError(f"{name} at {workload.name}: callgrind wrote no totals")
        return sum(totals)
    finally:
        place.wrapper = []
        shutil.rmtree(directory)
