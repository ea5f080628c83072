"""Asks again and again, each time over a new connection, before, while and after something happens.

usage: poll.py URL STOP
Prints a line after its first answers, so that the caller knows that it asks, and goes on until as many have come since the file
STOP is there. Then it prints the list of all statuses. It fails if the file does not come within two minutes.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

MANY = 50
url, stop = sys.argv[1], Path(sys.argv[2])
statuses = []


def ask():
    try:
        statuses.append(urllib.request.urlopen(url, timeout=10).status)
    except urllib.error.HTTPError as error:
        statuses.append(error.code)
    except OSError as error:
        statuses.append(str(error))


for _ in range(MANY):
    ask()
print("asking", flush=True)
end = time.monotonic() + 120
while not stop.exists():
    if time.monotonic() > end:
        sys.exit(f"{stop} did not come")
    ask()
for _ in range(MANY):
    ask()
print(json.dumps(statuses))
