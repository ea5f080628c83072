"""Users who work on: they log metrics, search, and upload artifacts slowly. None of their requests may fail.

usage: load.py URL STOP, with MLFLOW_TRACKING_TOKEN; ends when the file STOP is there. Prints one line of JSON: how many requests
and uploads there were, and what failed. Nothing is tried again, so whatever goes wrong is seen.
"""

import http.client
import json
import os
import sys
import threading
import time
import urllib.parse
from pathlib import Path

where, end = urllib.parse.urlsplit(sys.argv[1]), Path(sys.argv[2])
HEADERS = {"Authorization": f"Bearer {os.environ['MLFLOW_TRACKING_TOKEN']}", "Connection": "close"}
SIZE, PIECES = 4 << 20, 32
counts, failed, lock = {"requests": 0, "uploads": 0}, [], threading.Lock()


def ask(method, path, body=None, kind="requests", **headers):
    """The answer's body, or nothing after a failure. A new connection each time, as the balancer may close an idle one."""
    answer = None
    try:
        connection = http.client.HTTPConnection(where.hostname, where.port or 80, timeout=60)
        connection.request(method, path, body, {**HEADERS, **headers})
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise OSError(f"{response.status} {text[:300]!r}")
        answer = json.loads(text or b"{}")
    except (OSError, http.client.HTTPException) as error:
        with lock:
            failed.append(f"{time.strftime('%T')} {method} {path}: {error!r}")
    with lock:
        counts[kind] += 1
    return answer


def post(call, **fields):
    return ask("POST", f"/api/2.0/mlflow/{call}", json.dumps(fields), **{"Content-Type": "application/json"})


def slowly():
    """An upload that takes four seconds."""
    for _ in range(PIECES):
        time.sleep(4 / PIECES)
        yield bytes(SIZE // PIECES)


def log_metrics(run):
    step = 0
    while not end.exists():
        post("runs/log-metric", run_id=run, key="m", value=step, timestamp=step, step=step)
        post("runs/search", experiment_ids=["0"], max_results=1)
        step += 1
        time.sleep(0.05)


def upload(uri):
    number = 0
    while not end.exists():
        path = f"/api/2.0/mlflow-artifacts/artifacts/{uri.removeprefix('mlflow-artifacts:').lstrip('/')}/upload-{number}"
        ask("PUT", path, slowly(), "uploads", **{"Content-Length": str(SIZE), "Content-Type": "application/octet-stream"})
        number += 1


made = post("runs/create", experiment_id="0")["run"]["info"]
threads = [threading.Thread(target=log_metrics, args=[made["run_id"]]) for _ in range(3)]
threads += [threading.Thread(target=upload, args=[f"{made['artifact_uri']}/{number}"]) for number in range(2)]
for one in threads:
    one.start()
for one in threads:
    one.join()
print(json.dumps({**counts, "failed": failed}))
