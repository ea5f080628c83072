"""Lets several processes of `appliance token` change the tokens that moto keeps, at the same time.

usage: moto_tokens.py PORT APPLIANCE ssm|secretsmanager
Prints one JSON line: {"checks": comparisons made}.
"""

import json
import subprocess
import sys
import threading

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

import checks
from checks import same

port, program, service = int(sys.argv[1]), *sys.argv[2:]
place = {"ssm": "ssm:/mlflow/tokens", "secretsmanager": "secretsmanager:mlflow-tokens"}[service]
url = f"http://127.0.0.1:{port}"
variables = {
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_ENDPOINT_URL": url,
}
WRITERS = 6


class Quiet(WSGIRequestHandler):
    def log_request(self, *_):
        pass


def start(*arguments):
    command = [program, "token", *arguments, "--file", place, "--json"]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    out, err = process.communicate(timeout=60)
    same(f"exit code ({err})", process.returncode, 0)
    return json.loads(out)


def names():
    return sorted(token["name"] for token in end(start("list")))


# One request at a time: the services are atomic, and moto's threads are not.
server = make_server("127.0.0.1", port, DomainDispatcherApplication(create_backend_app), request_handler=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = boto3.client(
    service, endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
)

process = start("revoke", "nobody")
out, err = process.communicate(timeout=60)
same("nothing to revoke from yet", (process.returncode, "AWS keeps no secret" in err), (1, True))

writers = [start("new", "--name", f"ci-{number}", "--role", "read") for number in range(WRITERS)]
made = [end(writer) for writer in writers]
same("all that were made at the same time, the first of which created the secret", names(), sorted(f"ci-{n}" for n in range(WRITERS)))

writers = [start("revoke", made[number]["id"]) for number in range(WRITERS // 2)]
writers += [start("new", "--name", f"more-{number}", "--role", "write") for number in range(WRITERS // 2)]
for writer in writers:
    end(writer)
expected = [f"ci-{n}" for n in range(WRITERS // 2, WRITERS)] + [f"more-{n}" for n in range(WRITERS // 2)]
same("none of the revoked ones, and all others", names(), sorted(expected))

if service == "ssm":
    kept = client.get_parameter(Name="/mlflow/tokens", WithDecryption=True)["Parameter"]
    same("a secure string", kept["Type"], "SecureString")
    text = kept["Value"]
else:
    text = client.get_secret_value(SecretId="mlflow-tokens")["SecretString"]
same("only hashes", any(one["token"] in text for one in made), False)
server.shutdown()
print(json.dumps({"checks": checks.made}))
