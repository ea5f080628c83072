"""Checks signatures that arrived on the wire against botocore's.

Reads JSON lines from standard input: {method, url, headers, body (hex), region, service, access_key, secret_key,
is_unsigned (whether the body is not to be part of it)}.
Prints one JSON line: {"compared": n, "differing": [...]}.
"""

import hashlib
import json
import re
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>[^,]+), SignedHeaders=(?P<names>[^,]+), Signature=(?P<hex>[0-9a-f]{64})"
)


def check(record):
    """Returns what is wrong with one request's signature, or None."""
    headers = {name.lower(): value for name, value in record["headers"]}
    found = AUTHORIZATION.fullmatch(headers["authorization"])
    if not found:
        return "the authorization header has an unexpected form"
    body = bytes.fromhex(record["body"])
    due = "UNSIGNED-PAYLOAD" if record["is_unsigned"] else hashlib.sha256(body).hexdigest()
    if headers["x-amz-content-sha256"] != due:
        return "the payload hash is not that of the body"
    names = found["names"].split(";")
    request = AWSRequest(method=record["method"], url=record["url"], data=body)
    for name in names:
        if name != "host":  # botocore takes it from the URL
            request.headers[name] = headers[name]
    request.context["timestamp"] = headers["x-amz-date"]
    credentials = Credentials(record["access_key"], record["secret_key"], headers.get("x-amz-security-token"))
    signer = SigV4Auth(credentials, record["service"], record["region"])
    if signer.scope(request) != f"{found['key']}/{found['scope']}":
        return f"the scope differs: {signer.scope(request)}"
    if signer.signed_headers(signer.headers_to_sign(request)) != found["names"]:
        return "the signed headers differ"
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    return None if signature == found["hex"] else f"the signature differs; botocore's canonical request:\n{canonical}"


def main():
    compared, differing = 0, []
    for line in sys.stdin:
        record = json.loads(line)
        problem = check(record)
        compared += 1
        if problem:
            differing.append({"method": record["method"], "url": record["url"], "problem": problem})
    print(json.dumps({"compared": compared, "differing": differing[:10], "count": len(differing)}))


main()
