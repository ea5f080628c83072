"""What is asked of every peer, with `oha`; and whether the answers were right, by its counts and the upstream's."""

import json
import os
import ssl
import subprocess
import time
import urllib.request
from dataclasses import dataclass

import processes
from peers import CALL

SMALL = 1024


@dataclass(frozen=True)
class Workload:
    """`requests` over `connections`, each with a body of `sent` bytes and an answer of `received`."""

    name: str
    title: str
    connections: int
    requests: int
    method: str = "GET"
    path: str = CALL
    sent: int = 0
    received: int = SMALL
    # A new connection for each request.
    is_churn: bool = False


MIB = 1 << 20
LARGE = 256 * MIB
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts/model.bin"
BLOB = f"/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts/blob/{LARGE}"
LOG_METRIC, LOG_BATCH = "/api/2.0/mlflow/runs/log-metric", "/api/2.0/mlflow/runs/log-batch"
# Nothing is asked but what the first answer takes.
START = Workload("start", "start-up and idle", 0, 0)
WORKLOADS = [
    START,
    Workload("get1", "GET 1 KiB, 1 connection", 1, 6_000),
    Workload("get16", "GET 1 KiB, 16 connections", 16, 40_000),
    Workload("get64", "GET 1 KiB, 64 connections", 64, 40_000),
    Workload("get256", "GET 1 KiB, 256 connections", 256, 40_000),
    Workload("post1k", "POST 1 KiB, 16 connections", 16, 40_000, "POST", LOG_METRIC, SMALL),
    Workload("post100k", "POST 100 KiB, 16 connections", 16, 6_000, "POST", LOG_BATCH, 100 * 1024),
    Workload("put256m", "PUT 256 MiB", 1, 4, "PUT", ARTIFACT, LARGE),
    Workload("get256m", "GET 256 MiB", 1, 4, path=BLOB, received=LARGE),
    Workload("get256m4", "GET 256 MiB, 4 at once", 4, 8, path=BLOB, received=LARGE),
    Workload("churn", "a new connection for each GET, 16 at once", 16, 8_000, is_churn=True),
    Workload("over2000", "GET 1 KiB, 2,000 connections", 2_000, 20_000),
]


class Upstream:
    """The upstream's process, its port, and what it has counted."""

    def __init__(self, process, port, authority):
        self.process, self.port, self.authority = process, port, authority
        self.trust = ssl.create_default_context(cafile=authority)

    def counts(self):
        with urllib.request.urlopen(f"https://127.0.0.1:{self.port}/stat", context=self.trust, timeout=20) as answer:
            return json.load(answer)


def ask(oha, workload, requests, running, upstream, patience):
    """One run of `oha`, as it reports it."""
    arguments = [oha, "--no-tui", "--output-format", "json", "--disable-compression", "-m", workload.method]
    arguments += ["-n", str(requests), "-c", str(workload.connections), "-t", f"{patience}s"]
    if workload.is_churn:
        arguments.append("--disable-keepalive")
    if workload.sent:
        # Zeroes, which take no room on the disk: nothing on the way looks at them.
        body = upstream.authority.with_name(f"body-{workload.sent}")
        with open(body, "ab") as file:
            file.truncate(workload.sent)
        arguments += ["-T", "application/json", "-D", str(body)]
    for name, value in running.headers.items():
        arguments += ["-H", f"{name}: {value}"]
    if running.is_tls:
        arguments += ["--cacert", str(upstream.authority)]
    arguments.append(f"{'https' if running.is_tls else 'http'}://127.0.0.1:{running.port}{workload.path}")
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=4 * patience, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"oha ended with {done.returncode}: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def warm(oha, workload, running, upstream, patience):
    """Opens connections on both sides, as they are open in an appliance that has been running for a while."""
    # Of 2,000 connections, the opening is a part of what is measured.
    connections = workload.connections if workload.connections <= 256 else 16
    few = Workload("warm", "", connections, 0)
    ask(oha, few, 4 * connections + 64, running, upstream, patience)


def measure(oha, workload, running, upstream, scale=1.0, patience=120):
    """Figures of one workload with one peer, and under `wrong` what was not as it should be."""
    warm(oha, workload, running, upstream, patience)
    requests = max(workload.connections, round(workload.requests * scale))
    own, process = os.times(), running.process
    if process:
        process.reset_peak()
    before, cpu, upstream_cpu = upstream.counts(), process.cpu_seconds() if process else 0, upstream.process.cpu_seconds()
    busy, began = processes.busy_seconds(), time.perf_counter()
    told = ask(oha, workload, requests, running, upstream, patience)
    busy, wall = processes.busy_seconds() - busy, time.perf_counter() - began
    cpu = process.cpu_seconds() - cpu if process else 0
    upstream_cpu = upstream.process.cpu_seconds() - upstream_cpu
    after, now = upstream.counts(), os.times()
    load_cpu = now.children_user - own.children_user + now.children_system - own.children_system
    counted = {name: after[name] - before[name] for name in after}
    percentiles = told["latencyPercentiles"]
    return {
        "workload": workload.name,
        "requests": requests,
        "per_second": told["summary"]["requestsPerSec"],
        "p50_ms": percentiles["p50"] * 1000,
        "p99_ms": percentiles["p99"] * 1000,
        "cpu_ms": cpu * 1000 / requests,
        "upstream_cpu_ms": upstream_cpu * 1000 / requests,
        "load_cpu_ms": load_cpu * 1000 / requests,
        "peak_mib": process.memory_mib("VmHWM") if process else 0,
        "upstream_connections": counted["connections"],
        # In cores: what neither the peer nor the upstream nor the load needed.
        "others_cpu": max(0.0, busy - cpu - upstream_cpu - load_cpu) / wall,
        "wrong": wrong(workload, requests, told, counted, running.signs),
    }


def measure_start(running):
    """Figures of a process that has answered once, and then rested."""
    if not running.process:
        return None
    process = running.process
    time.sleep(1)
    others = processes.busy_seconds() - process.busy - process.cpu_seconds()
    others_cpu = max(0.0, others) / (time.perf_counter() - process.began)
    return {"workload": START.name, "idle_mib": process.memory_mib("VmRSS"), "others_cpu": others_cpu, "wrong": []}


def wrong(workload, requests, told, counted, signs):
    """What differs from the answers that were due."""
    found = {
        "statuses": (told["statusCodeDistribution"], {"200": requests}),
        "errors": (told["errorDistribution"], {}),
        "bytes received": (told["summary"]["totalData"], requests * workload.received),
        "requests at the upstream": (counted["requests"], requests),
        "bytes sent": (counted["body"], requests * workload.sent),
        "signatures": (counted["signed"], requests if signs else 0),
    }
    return [f"{name}: {is_} instead of {due}" for name, (is_, due) in found.items() if is_ != due]
