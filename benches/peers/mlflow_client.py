"""MLflow's own client as a load: one thread, one call after another.

usage: mlflow_client.py TRACKING_URI log_metric|get_run
It says `ready`, reads how many calls to make, makes them, and prints their figures as JSON.
"""

import json
import sys
import time

import mlflow

RUN = "0123456789abcdef0123456789abcdef"
WARM = 20

uri, call = sys.argv[1:]
# AWS's plugin asks for what is set, not for what a client was made with.
mlflow.set_tracking_uri(uri)
client = mlflow.MlflowClient()


def log_metric(number):
    client.log_metric(RUN, "loss", 0.125, step=number)


def get_run(_):
    found = client.get_run(RUN).info.run_id
    if found != RUN:
        raise SystemExit(f"the run {found} is not the one that was asked for")


one = {"log_metric": log_metric, "get_run": get_run}[call]
for number in range(WARM):
    one(number)
print("ready", flush=True)
count, seconds = int(sys.stdin.readline()), []
began = time.perf_counter()
for number in range(count):
    before = time.perf_counter()
    one(number)
    seconds.append(time.perf_counter() - before)
total = time.perf_counter() - began
seconds.sort()
p50, p99 = (seconds[int(count * part)] * 1000 for part in (0.5, 0.99))
print(json.dumps({"per_second": count / total, "p50_ms": p50, "p99_ms": p99}), flush=True)
# Stays until its processor time has been read.
sys.stdin.readline()
