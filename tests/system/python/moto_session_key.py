"""Keeps a session key in moto's Parameter Store or Secrets Manager, for two appliances that share sessions.

usage: moto_session_key.py PORT FIRST_URL SECOND_URL ssm|secretsmanager TOKEN
The appliances run already and have been told where AWS will be. Secrets Manager generates the key itself.
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

port, *urls, service, token = int(sys.argv[1]), *sys.argv[2:]


def client(service):
    endpoint = f"http://127.0.0.1:{port}"
    return boto3.client(
        service, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


def sign_in(url):
    form = {"token": token, "next": "/"}
    return requests.post(f"{url}/_appliance/login", data=form, headers={"Origin": url}, allow_redirects=False)


def statuses(url, path, **more):
    return requests.get(f"{url}{path}", **more).status_code


for url in urls:
    same("not ready before AWS answers", statuses(url, "/_appliance/readyz"), 503)
    same("and nobody can sign in", sign_in(url).headers.get("x-appliance-error"), "session-key-unknown")
server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
server.start()
if service == "ssm":
    client("ssm").put_parameter(Name="/mlflow/session-key", Value="0123456789abcdef" * 3, Type="SecureString")
else:
    # `GenerateSecretString` of CloudFormation makes its text in the same way.
    manager = client("secretsmanager")
    key = manager.get_random_password(PasswordLength=32)["RandomPassword"]
    manager.create_secret(Name="mlflow/session-key", SecretString=key)
for _ in range(400):
    if all(statuses(url, "/_appliance/readyz") == 200 for url in urls):
        break
    time.sleep(0.05)
same("ready", [statuses(url, "/_appliance/readyz") for url in urls], [200, 200])
signed_in = sign_in(urls[0])
same("signed in", signed_in.status_code, 303)
cookies = {"appliance-session": signed_in.cookies["appliance-session"]}
same("one session at both", [statuses(url, "/version", cookies=cookies) for url in urls], [200, 200])
server.stop()
same("and without AWS", [statuses(url, "/version", cookies=cookies) for url in urls], [200, 200])
print(json.dumps({"checks": checks.made}))
