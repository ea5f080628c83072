"""MLflow's own client as a caller with a token: let in, refused in words, held back and let in again.

usage: mlflow_caller.py APPLIANCE_URL WRITE_TOKEN READ_TOKEN
Prints one JSON line: {"checks": comparisons made}.
"""

import json
import os
import sys
import time

import checks
from checks import same

url, write, read = sys.argv[1:]
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "5"

import mlflow
from mlflow.exceptions import MlflowException

client = mlflow.MlflowClient(url)


def attempt(call):
    try:
        call()
        return "done", ""
    except MlflowException as error:
        return error.error_code, str(error)


def search():
    return client.search_experiments()


def delete():
    return client.delete_experiment("1")


code, said = attempt(search)
same("without a token", code, "UNAUTHENTICATED")
same("the words", "MLFLOW_TRACKING_TOKEN" in said, True)

os.environ["MLFLOW_TRACKING_TOKEN"] = write
same("as a bearer", attempt(search)[0], "done")
same("a writer deletes", attempt(delete)[0], "done")
os.environ["MLFLOW_TRACKING_TOKEN"] = write[:-1]
same("a token with a slip", attempt(search)[0], "UNAUTHENTICATED")

os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = "anybody", read
same("as a password", attempt(search)[0], "done")
code, said = attempt(delete)
same("a reader does not delete", code, "PERMISSION_DENIED")
same("and is told why", "`experiments:delete` requires the role `write`, and yours is `read`" in said, True)

began = time.monotonic()
same("ten at once are held back, and all arrive", [attempt(search)[0] for _ in range(10)], ["done"] * 10)
same("the client waits as long as the response asks", time.monotonic() - began > 1, True)
print(json.dumps({"checks": checks.made}))
