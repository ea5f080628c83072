"""A proxy as it is commonly written in an afternoon: Flask, requests and botocore's signer, for gunicorn to run.

Credentials are looked up once. Each call is `requests.request`, with a connection of its own, unless REUSE_SESSION is set.
"""

import os

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session
from flask import Flask, Response, request

ARN, UPSTREAM = os.environ["RESOURCE_ARN"], os.environ["UPSTREAM"]
SIGNER = SigV4Auth(Session().get_credentials().get_frozen_credentials(), "sagemaker-mlflow", "us-east-1")
NOT_SENT = {"host", "connection", "content-length", "transfer-encoding", "authorization"}
NOT_RETURNED = {"content-encoding", "content-length", "transfer-encoding", "connection"}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

send = requests.Session().request if "REUSE_SESSION" in os.environ else requests.request
app = Flask(__name__)


@app.route("/", defaults={"path": ""}, methods=METHODS)
@app.route("/<path:path>", methods=METHODS)
def proxy(path):
    url = f"{UPSTREAM}/{path}"
    if request.query_string:
        url += f"?{request.query_string.decode()}"
    headers = {name: value for name, value in request.headers if name.lower() not in NOT_SENT}
    headers["x-mlflow-sm-tracking-server-arn"] = ARN
    body = request.get_data()
    signed = AWSRequest(request.method, url, headers, body)
    SIGNER.add_auth(signed)
    answer = send(request.method, url, headers=dict(signed.headers.items()), data=body, allow_redirects=False, timeout=120)
    kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in NOT_RETURNED]
    return Response(answer.content, answer.status_code, kept)
