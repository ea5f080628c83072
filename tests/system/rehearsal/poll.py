"""Asks again and again, each time over a new connection: poll.py URL SECONDS. Prints the list of all statuses."""

import json
import sys
import time
import urllib.error
import urllib.request

statuses = []
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    try:
        statuses.append(urllib.request.urlopen(sys.argv[1], timeout=10).status)
    except urllib.error.HTTPError as error:
        statuses.append(error.code)
    except OSError as error:
        statuses.append(str(error))
print(json.dumps(statuses))
