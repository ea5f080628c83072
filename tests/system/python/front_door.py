"""Knocks at the sandbox's front doors with botocore's signatures, right ones and wrong ones.

usage: front_door.py READY   (the JSON that `appliance sandbox --json` prints)
Prints one JSON line: {"accepted": n, "refused": {exception: n}}.
"""

import hashlib
import http.client
import json
import random
import ssl
import string
import sys
import urllib.parse
import urllib.request

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

READY = json.loads(sys.argv[1])
REGION = "us-east-1"
SERVICES = {"tracking": "sagemaker-mlflow", "serverless": "sagemaker"}
HEADERS = {"tracking": "x-mlflow-sm-tracking-server-arn", "serverless": "x-sm-mlflow-app-arn"}
TRUST = ssl.create_default_context(cafile=READY["authority"])


def metadata(path, method="GET", headers=None):
    request = urllib.request.Request(READY["imds"] + path, method=method, headers=headers or {})
    with urllib.request.urlopen(request) as response:
        return response.read().decode()


def instance_credentials():
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = {"X-aws-ec2-metadata-token": metadata("/latest/api/token", "PUT", ttl)}
    path = "/latest/meta-data/iam/security-credentials/"
    found = json.loads(metadata(path + metadata(path, headers=token), headers=token))
    return found["AccessKeyId"], found["SecretAccessKey"], found["Token"]


def role_credentials(key, secret, token):
    session = botocore.session.get_session()
    sts = session.create_client(
        "sts", REGION, endpoint_url=READY["sts"], verify=READY["authority"],
        aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token,
    )
    found = sts.assume_role(RoleArn=READY["role_arn"], RoleSessionName="front-door")["Credentials"]
    return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


def ask(mode, path, credentials, body=b"", method="GET", service=None, region=REGION, arn=None, spoil=None):
    door = urllib.parse.urlsplit(READY["front_doors"][mode])
    request = AWSRequest(method=method, url=f"https://{door.netloc}{path}", data=body)
    request.headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
    if arn != "":
        request.headers[HEADERS[mode]] = arn or READY["arns"][mode]
    if credentials:
        SigV4Auth(credentials, service or SERVICES[mode], region).add_auth(request)
    headers = dict(request.headers.items())
    if spoil:
        method, path, headers, body = spoil(method, path, headers, body)
    connection = http.client.HTTPSConnection(door.hostname, door.port, context=TRUST)
    connection.request(method, path, body=body or None, headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status, response.getheader("x-amzn-errortype")


def random_text(dice):
    alphabet = string.ascii_letters + string.digits + " +/%&=?#'\"()*,;:@!$üé€😀~-_."
    return "".join(dice.choice(alphabet) for _ in range(dice.randrange(0, 20)))


def main():
    dice = random.Random(20260101)
    instance = instance_credentials()
    role = role_credentials(*instance)
    accepted, refused = 0, {}
    for mode in READY["front_doors"]:
        for _ in range(50):
            query = urllib.parse.urlencode([(random_text(dice), random_text(dice)) for _ in range(3)], quote_via=urllib.parse.quote)
            path = "/" + "/".join(urllib.parse.quote(random_text(dice), safe="") for _ in range(3))
            if any(urllib.parse.unquote(part) in (".", "..") for part in path.split("/")):
                continue
            status, error = ask(mode, f"{path}?{query}", role)
            if error or status in (400, 403):
                sys.exit(f"{mode} {path}?{query}: botocore's signature was refused: {status} {error}")
            accepted += 1
        status, error = ask(mode, "/version", role)
        if (status, error) != (200, None):
            sys.exit(f"{mode}: {status} {error}")

        def swap(name, value):
            return lambda method, path, headers, body: (method, path, {**headers, name: value}, body)

        other = Credentials(role.access_key, "another secret", role.token)
        for expected, attempt in [
            ((403, "MissingAuthenticationTokenException"), ask(mode, "/version", None)),
            ((403, "InvalidSignatureException"), ask(mode, "/version", other)),
            ((403, "UnrecognizedClientException"), ask(mode, "/version", Credentials("AKIDNOBODY", "x", role.token))),
            ((403, "UnrecognizedClientException"), ask(mode, "/version", Credentials(role.access_key, role.secret_key))),
            ((403, "InvalidSignatureException"), ask(mode, "/version", role, service="execute-api")),
            ((403, "InvalidSignatureException"), ask(mode, "/version", role, region="eu-west-1")),
            ((403, "InvalidSignatureException"), ask(mode, "/version", role, spoil=lambda m, p, h, b: (m, "/health", h, b))),
            ((403, "InvalidSignatureException"), ask(mode, "/version", role, spoil=lambda m, p, h, b: ("POST", p, h, b))),
            ((400, "XAmzContentSHA256Mismatch"), ask(mode, "/x", role, b"{}", "POST", spoil=lambda m, p, h, b: (m, p, h, b"[]"))),
            ((403, "InvalidSignatureException"), ask(mode, "/version", role, spoil=swap(HEADERS[mode], "arn:other"))),
            ((403, "InvalidSignatureException"), ask(mode, "/version", role, spoil=swap("X-Amz-Extra", "unsigned"))),
            ((403, "AccessDeniedException"), ask(mode, "/version", role, arn="arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/other")),
            ((403, "AccessDeniedException"), ask(mode, "/version", Credentials(*instance))),
            ((500, "InternalFailure"), ask(mode, "/version", role, arn="")),
        ]:
            if attempt != expected:
                sys.exit(f"{mode}: expected {expected}, got {attempt}")
            refused[expected[1]] = refused.get(expected[1], 0) + 1
    print(json.dumps({"accepted": accepted, "refused": refused}))


main()
