"""Keeps the appliance's token file in moto's Parameter Store or Secrets Manager, and changes it there.

usage: moto_secrets.py PORT APPLIANCE_URL ssm|secretsmanager TOKEN OTHER_TOKEN < token file with both
The appliance runs already and has been told where AWS will be.
Prints one JSON line: {"checks": comparisons made}.
"""

import json
import sys
import time

import boto3
import requests
from moto.server import ThreadedMotoServer

import checks
from checks import same

port, url, service, token, other = int(sys.argv[1]), *sys.argv[2:]
text = sys.stdin.read()


def ask(token):
    answer = requests.get(f"{url}/version", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code, answer.headers.get("x-appliance-error")


def eventually(what, token, expected):
    for _ in range(200):
        if ask(token) == expected:
            break
        time.sleep(0.05)
    same(what, ask(token), expected)


def ready():
    return requests.get(f"{url}/_appliance/readyz").json()


def put(text):
    if service == "ssm":
        client.put_parameter(Name="/mlflow/tokens", Value=text, Type="SecureString", Overwrite=True)
    else:
        names = [secret["Name"] for secret in client.list_secrets()["SecretList"]]
        change = client.put_secret_value if names else client.create_secret
        change(**{"SecretId" if names else "Name": "mlflow-tokens", "SecretString": text})


same("before AWS answers", ask(token), (503, "tokens-unknown"))
same("and it is not ready", ready().get("reason"), "the tokens are not known yet")
server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
server.start()
client = boto3.client(
    service, endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
)
same("before there is such a secret", ask(token), (503, "tokens-unknown"))
put(text)
eventually("a token that AWS keeps", token, (200, None))
same("the other", ask(other), (200, None))
same("ready", ready()["status"], "ready")
entries = text.split("\n[[token]]")
put(entries[0] + "\n[[token]]" + entries[2])
eventually("revoked there", token, (401, "unauthenticated"))
same("the other remains", ask(other), (200, None))
put("[[token]\n")
time.sleep(1)
same("a slip leaves the old ones in force", ask(other), (200, None))
server.stop()
time.sleep(1)
same("and so does an outage", ask(other), (200, None))
print(json.dumps({"checks": checks.made}))
