"""Reads with boto3 what the appliance sends to moto's CloudWatch Logs, from an outage at the start to the end of the process.

usage: moto_logs.py PORT APPLIANCE_URL GROUP PID
The appliance runs already and has been told where AWS will be.
Prints one JSON line: {"checks": comparisons made}.
"""

import json
import os
import signal
import sys
import time

import boto3
import requests
from moto.server import ThreadedMotoServer

import checks
from checks import same

port, url, group, process = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
client = boto3.client(
    "logs", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
)


def ask(count):
    for _ in range(count):
        same("a request during an outage", requests.get(f"{url}/version").status_code, 200)


def streams():
    return [stream["logStreamName"] for stream in client.describe_log_streams(logGroupName=group)["logStreams"]]


def messages(content):
    """The events of a content in the order of their times, from all pages. moto knows no prefixes of names here."""
    names = [name for name in streams() if name.startswith(f"{content}/")]
    pages = client.get_paginator("filter_log_events").paginate(logGroupName=group, logStreamNames=names) if names else []
    return [event["message"] for page in pages for event in page["events"]]


def eventually(what, holds):
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    sys.exit(f"gave up waiting: {what}: {[(content, paths(content), len(messages(content))) for content in ('log', 'audit', 'metrics')]}")


def paths(content):
    return sum(json.loads(message).get("path") == "/version" for message in messages(content))


ask(10)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
server.start()
ask(10)
time.sleep(3)
same("nobody but the operator makes the group", client.describe_log_groups()["logGroups"], [])
client.create_log_group(logGroupName=group)
eventually("the events of the outage arrive", lambda: paths("audit") >= 20 and paths("log") >= 20)
ask(5)
eventually("later ones arrive", lambda: paths("audit") >= 25)
names = streams()
same("a stream for each content, until a minute has passed", sorted(name.split("/")[0] for name in names if "metrics" not in name), ["audit", "log"])
ask(5)
os.kill(process, signal.SIGTERM)
eventually("the last events arrive", lambda: paths("audit") == 30 and paths("log") == 30)
eventually("a line of metrics arrives", lambda: len(messages("metrics")) >= 1)
lines = [json.loads(message) for message in messages("metrics")]
same("the requests of all lines", sum(line["Requests"] for line in lines) >= 30, True)
same("the last line of the log", json.loads(messages("log")[-1])["message"], "stopped")
(stream,) = [name for name in names if name.startswith("audit/")]
times = [event["timestamp"] for event in client.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]]
same("events in the order of their times", times, sorted(times))
print(json.dumps({"checks": checks.made}))
