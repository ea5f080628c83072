"""Says what is asked of every peer, and checks that the answers were right, by the load's counts and the upstream's."""

import json
import ssl
import time
import urllib.request
from dataclasses import dataclass

import loads
import processes
from scene import CALL

SMALL = 1024
MIB = 1 << 20
LARGE = 256 * MIB


@dataclass(frozen=True)
class Workload:
    """`requests` over `connections`, each with a body of `sent` bytes and an answer of `received`."""

    name: str
    title: str
    connections: int
    requests: int
    method: str = "GET"
    path: str = CALL
    # Nothing, if MLflow's client decides.
    sent: int | None = 0
    received: int = SMALL
    # A new connection for each request.
    is_churn: bool = False
    # The names of the targets among which requests are spread.
    targets: tuple = ()
    # The call of MLflow's client.
    client: str = ""
    # The upstream is S3, and the path leads to an object; the body is streamed.
    is_object: bool = False
    # The peers that take part, if not all do; and the special peers that take part beside all.
    peers: tuple = ()
    also: tuple = ()

    def amount(self, scale, share):
        """Returns how many requests make a measurement. A peer's share is for small bodies, of which there are many."""
        is_large = (self.sent or 0) + self.received >= MIB
        return max(self.connections, round(self.requests * scale * (1 if is_large else share)))


ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts/model.bin"
BLOB = f"/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts/blob/{LARGE}"
OBJECT = "/api/2.0/mlflow-artifacts/artifacts/objects/model.bin"
LOG_METRIC, LOG_BATCH = "/api/2.0/mlflow/runs/log-metric", "/api/2.0/mlflow/runs/log-batch"
OURS = ("nginx", "appliance")
STREAMED = (*OURS, "appliance-unsigned", "envoy", "envoy-buffer")
CLIENTS = ("direct", "plugin", *OURS)
FIFTY = tuple(f"team-{number:02}" for number in range(50))
# Nothing is asked but what the first answer takes.
START = Workload("start", "start-up and idle", 0, 0)
# Connections that have had a response stay open.
IDLE = Workload("idle", "idle connections", 0, 0, peers=("nginx", "appliance", "envoy"))
WORKLOADS = [
    START,
    IDLE,
    Workload("get1", "GET 1 KiB, 1 connection", 1, 6_000),
    Workload("get16", "GET 1 KiB, 16 connections", 16, 40_000),
    Workload("get64", "GET 1 KiB, 64 connections", 64, 40_000),
    Workload("get256", "GET 1 KiB, 256 connections", 256, 40_000),
    Workload("post1k", "POST 1 KiB, 16 connections", 16, 40_000, "POST", LOG_METRIC, SMALL),
    Workload("post100k", "POST 100 KiB, 16 connections", 16, 6_000, "POST", LOG_BATCH, 100 * 1024),
    Workload("put256m", "PUT 256 MiB", 1, 4, "PUT", ARTIFACT, LARGE, also=("appliance-unsigned", "envoy-buffer")),
    Workload(
        "object256m", "PUT 256 MiB to S3", 1, 4, "PUT", OBJECT, LARGE, received=0, is_object=True, peers=STREAMED
    ),
    Workload(
        "object256m4", "PUT 256 MiB to S3, 4 at once", 4, 8, "PUT", OBJECT, LARGE, received=0, is_object=True, peers=STREAMED
    ),
    Workload("get256m", "GET 256 MiB", 1, 4, path=BLOB, received=LARGE),
    Workload("get256m4", "GET 256 MiB, 4 at once", 4, 8, path=BLOB, received=LARGE),
    Workload("churn", "a new connection for each GET, 16 at once", 16, 8_000, is_churn=True),
    Workload("over2000", "GET 1 KiB, 2,000 connections", 2_000, 20_000),
    Workload("targets1", "GET 1 KiB, 16 connections, 1 target", 16, 40_000, targets=FIFTY[:1], peers=OURS),
    Workload("targets50", "GET 1 KiB, 16 connections, spread among 50 targets", 16, 40_000, targets=FIFTY, peers=OURS),
    Workload("log_metric", "MLflow's client, `log_metric`", 1, 2_000, sent=None, client="log_metric", peers=CLIENTS),
    Workload("get_run", "MLflow's client, `get_run`", 1, 2_000, client="get_run", peers=CLIENTS),
]


class Upstream:
    """The upstream's process, its port, and what it has counted."""

    def __init__(self, process, port, authority):
        self.process, self.port, self.authority = process, port, authority
        self.trust = ssl.create_default_context(cafile=authority)

    def counts(self):
        with urllib.request.urlopen(f"https://127.0.0.1:{self.port}/stat", context=self.trust, timeout=20) as answer:
            return json.load(answer)


def measure(oha, workload, running, upstream, scale=1.0, share=1.0):
    """Figures of one workload with one peer, and under `wrong` what was not as it should be."""
    requests, process = workload.amount(scale, share), running.process
    if workload.client:
        load = loads.MlflowClient(workload, requests, running, upstream)
    else:
        load = loads.Oha(oha, workload, requests, running, upstream, share)
    with load:
        if process:
            process.reset_peak()
        before, busy = upstream.counts(), processes.busy_seconds()
        written = process.written_mib() if process else 0
        using = {"": process, "upstream_": upstream.process, "load_": load}
        cpu = {name: who.cpu_seconds() if who else 0 for name, who in using.items()}
        times = process.times() if process else (0, 0)
        began = time.perf_counter()
        figures, facts = load.measured()
        wall = time.perf_counter() - began
        busy = processes.busy_seconds() - busy
        cpu = {name: who.cpu_seconds() - cpu[name] if who else 0 for name, who in using.items()}
        user, system = (now - then for now, then in zip(process.times() if process else (0, 0), times))
    counted = {name: value - before[name] for name, value in upstream.counts().items()}
    return {
        "requests": requests,
        **figures,
        **{f"{name}cpu_ms": seconds * 1000 / requests for name, seconds in cpu.items()},
        "user_ms": user * 1000 / requests,
        "system_ms": system * 1000 / requests,
        "peak_mib": process.memory_mib("VmHWM") if process else 0,
        "written_mib": process.written_mib() - written if process else 0,
        "upstream_connections": counted["connections"],
        # In cores: what neither the peer nor the upstream nor the load needed.
        "others_cpu": max(0.0, busy - sum(cpu.values())) / wall,
        "wrong": wrong({**facts, **at_upstream(workload, requests, counted, running)}),
    }


def measure_start(running):
    """Figures of a process that has answered once, and then rested."""
    if not running.process:
        return None
    process = running.process
    time.sleep(1)
    others = processes.busy_seconds() - process.busy - process.cpu_seconds()
    others_cpu = max(0.0, others) / (time.perf_counter() - process.began)
    return {"idle_mib": process.memory_mib("VmRSS"), "others_cpu": others_cpu, "wrong": []}


def at_upstream(workload, requests, counted, running):
    facts = {
        "requests at the upstream": (counted["requests"], requests),
        "signatures": (counted["signed"], requests if running.signs else 0),
        "bodies in signed chunks": (counted["chunked"], requests if running.signs_chunks else 0),
    }
    if workload.sent is not None:
        facts["bytes sent"] = (counted["body"], requests * workload.sent)
    return facts


def wrong(facts):
    """Returns what differs from what was due."""
    return [f"{name}: {found} instead of {due}" for name, (found, due) in facts.items() if found != due]
