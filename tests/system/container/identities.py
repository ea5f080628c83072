"""Sources of a container's credentials: the container provider of ECS and EKS Pod Identity, and STS for a web identity token.

The sandbox issues the credentials, so that it accepts what is signed with them.
"""

import json
import threading
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3

ROLE = "arn:aws:iam::123456789012:role/web-identity"
POD_TOKEN, WEB_IDENTITY = "pod-identity-token", "web-identity-token"
ANSWER = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
<Credentials><AccessKeyId>{AccessKeyId}</AccessKeyId><SecretAccessKey>{SecretAccessKey}</SecretAccessKey>
<SessionToken>{SessionToken}</SessionToken><Expiration>{Expiration}</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


class Identities:
    """Serves both on loopback. `given` has the way in which each set of credentials was given."""

    def __init__(self, sandbox):
        self.sandbox, self.given = sandbox, []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"identities": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def instance_credentials(self):
        """The credentials of the instance, which may assume the role that may use MLflow."""
        imds = self.sandbox["imds"].rstrip("/")
        head = {"x-aws-ec2-metadata-token-ttl-seconds": "60"}
        with urllib.request.urlopen(urllib.request.Request(f"{imds}/latest/api/token", method="PUT", headers=head)) as answer:
            head = {"x-aws-ec2-metadata-token": answer.read().decode()}
        path = f"{imds}/latest/meta-data/iam/security-credentials/"
        name = urllib.request.urlopen(urllib.request.Request(path, headers=head)).read().decode()
        return json.load(urllib.request.urlopen(urllib.request.Request(path + name, headers=head)))

    def role_credentials(self):
        """The credentials of that role, which web identity tokens give at once."""
        found = self.instance_credentials()
        sts = boto3.client(
            "sts", "us-east-1", endpoint_url=self.sandbox["sts"], verify=self.sandbox["authority"],
            aws_access_key_id=found["AccessKeyId"], aws_secret_access_key=found["SecretAccessKey"], aws_session_token=found["Token"],
        )  # fmt: skip
        assumed = sts.assume_role(RoleArn=self.sandbox["role_arn"], RoleSessionName="web-identity")["Credentials"]
        return assumed | {"Expiration": assumed["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ")}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path != "/v1/credentials" or self.headers.get("Authorization") != POD_TOKEN:
            return self.reply(401, b"{}")
        self.identities.given.append("container provider")
        return self.reply(200, json.dumps(self.identities.instance_credentials()).encode())

    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        asked = (form["Action"], form.get("WebIdentityToken"), form.get("RoleArn"))
        if asked != ("AssumeRoleWithWebIdentity", WEB_IDENTITY, ROLE) or "Authorization" in self.headers:
            return self.reply(403, b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", "text/xml")
        self.identities.given.append("web identity")
        return self.reply(200, ANSWER.format(**self.identities.role_credentials()).encode(), "text/xml")
