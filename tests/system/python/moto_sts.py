"""Has moto's STS confirm the identities of roles, whose credentials moto itself has issued, to a running appliance.

usage: moto_sts.py PORT APPLIANCE_URL AUDIENCE BINARY
The appliance runs already and has been told where STS will be.
Prints one JSON line: {"checks": comparisons made}.
"""

import json
import os
import subprocess
import sys
import threading
import urllib.parse

import boto3
import requests
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

import checks
from checks import same

port, url, audience, binary = int(sys.argv[1]), *sys.argv[2:]
endpoint = f"http://127.0.0.1:{port}"


def ask(token):
    answer = requests.get(f"{url}/version", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code, answer.headers.get("x-appliance-error")


def token(role):
    arn = f"arn:aws:iam::123456789012:role/{role}"
    made = sts.assume_role(RoleArn=arn, RoleSessionName="run-7")["Credentials"]
    variables = {
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        "AWS_SESSION_TOKEN": made["SessionToken"],
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_STS": endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    command = [binary, "token", "aws", "--audience", audience]
    return subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout.strip()


moto = DomainDispatcherApplication(create_backend_app)


def dispatch(environ, start_response):
    """Adds the header by which moto, unlike AWS, finds the service of a request that is signed in its query."""
    credential = urllib.parse.parse_qs(environ["QUERY_STRING"]).get("X-Amz-Credential")
    if credential:
        environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 Credential={credential[0]}"
    return moto(environ, start_response)


def serve():
    server = make_server("127.0.0.1", port, dispatch, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def stop(server):
    server.shutdown()
    server.server_close()


server = serve()
keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "x", "region_name": "us-east-1"}
sts = boto3.client("sts", endpoint_url=endpoint, **keys)
known = token("ml-train")
same("a role that is granted", ask(known), (200, None))
same("another role that is granted", ask(token("ml-test")), (200, None))
same("a role that is not granted", ask(token("billing")), (403, "no-grant"))
new = token("ml-later")
stop(server)
same("a confirmed token while STS is down", ask(known), (200, None))
same("a new token while STS is down", ask(new), (503, "sts-unavailable"))
server = serve()
same("a new token when STS is back", ask(new), (200, None))
stop(server)
print(json.dumps({"checks": checks.made}))
