"""AWS as Packer sees it: moto's EC2 and Parameter Store, with every request recorded before it is answered.

All of it listens on 127.0.0.1 at ports of the kernel's choice. Beside moto there is a proxy for TLS that knows one host,
checkip.amazonaws.com, and notes whoever asks for another: what is not sent to moto would have gone to the real AWS.
"""

import datetime
import io
import json
import re
import socketserver
import ssl
import threading
import urllib.parse

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.core.base_backend import BackendDict
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

REGION, ADDRESS, CHECKIP = "us-east-1", "192.0.2.7", "checkip.amazonaws.com"
# Only what is signed with this key is Packer's; the test looks at moto with another.
PACKER_KEY = "AKIAPACKER"
ERRORS = {
    "ec2": "<Response><Errors><Error><Code>{0}</Code><Message>{1}</Message></Error></Errors><RequestID>0</RequestID></Response>",
    "ssm": '{{"__type": "{0}", "message": "{1}"}}',
}


class Call:
    """One request: `ec2:RegisterImage`, where, and its parameters as they were sent."""

    def __init__(self, service, region, target, body):
        self.service, self.region, self.answer = service, region, ""
        if target:
            self.operation, self.parameters = target.partition(".")[2], json.loads(body or b"{}")
        else:
            self.parameters = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
            self.operation = self.parameters.pop("Action")
        self.action = f"{service}:{self.operation}"

    def group(self, prefix):
        """The parameters PREFIX.1.NAME, PREFIX.2.NAME, … as a list of dictionaries."""
        found = {}
        for name, value in self.parameters.items():
            if matched := re.fullmatch(re.escape(prefix) + r"\.(\d+)(?:\.(.+))?", name):
                found.setdefault(int(matched[1]), {})[matched[2]] = value
        return [found[number] for number in sorted(found)]

    def tags(self, resource=None):
        """The tags that are asked for: of CreateTags itself, or those that a request gives what it makes."""
        prefix = "Tag"
        if resource is not None:
            places = {one["ResourceType"]: number for number, one in enumerate(self.group("TagSpecification"), 1)}
            if resource not in places:
                return {}
            prefix = f"TagSpecification.{places[resource]}.Tag"
        return {tag["Key"]: tag["Value"] for tag in self.group(prefix)}


class Cloud:
    """moto and the recorder. `faults` refuses operations, `answered` is told of each call that has its answer."""

    def __init__(self, directory):
        self.calls, self.outside, self.faults, self.answered = [], [], {}, lambda call: None
        self.lock, self.moto = threading.Lock(), DomainDispatcherApplication(create_backend_app)
        self.server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=Quiet)
        self.authority = directory / "checkip.pem"
        self.proxy = Proxy(("127.0.0.1", 0), self.tunnel)
        self.trust = certificate(self.authority)
        for server in (self.server, self.proxy):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        for server in (self.server, self.proxy):
            server.shutdown()
            server.server_close()

    def client(self, service, region=REGION):
        return boto3.client(service, endpoint_url=self.url, region_name=region, aws_access_key_id="AKIATEST", aws_secret_access_key="x")

    def forget(self):
        """As new: no resources, no records, nothing refused."""
        BackendDict.reset()
        self.calls, self.outside, self.faults, self.answered = [], [], {}, lambda call: None

    def environment(self):
        """Returns the variables that send a program here, and nowhere else."""
        return {
            "AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": PACKER_KEY, "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            # Packer's plugin multiplies both: it looks every second, and waits for up to a minute. Refusals are not retried.
            "AWS_MAX_ATTEMPTS": "60", "AWS_POLL_DELAY_SECONDS": "1",
            "HTTPS_PROXY": f"http://127.0.0.1:{self.proxy.server_address[1]}", "SSL_CERT_FILE": str(self.authority),
        }  # fmt: skip

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        key, _, region, service, _ = re.search(r"Credential=([^,]+)", environ["HTTP_AUTHORIZATION"])[1].split("/")
        call = Call(service, region, environ.get("HTTP_X_AMZ_TARGET"), body)
        if key != PACKER_KEY:
            return self.moto(environ, start_response)
        self.calls.append(call)
        if call.operation in self.faults:
            answer = ERRORS[service].format(*self.faults[call.operation])
            start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1" if service == "ssm" else "text/xml")])
            return [answer.encode()]
        # moto 5.2.5 knows every operation of a bake but this one. What was asked for is checked on the record.
        if call.operation == "EnableImageDeprecation":
            start_response("200 OK", [("Content-Type", "text/xml")])
            return [b"<EnableImageDeprecationResponse><requestId>0</requestId><return>true</return></EnableImageDeprecationResponse>"]
        # One at a time, each on a connection of its own: Packer copies to regions in parallel, which moto is not made for.
        with self.lock:
            answer = b"".join(self.moto(environ, lambda status, headers, *rest: start_response(status, [*headers, ("Connection", "close")], *rest)))
        call.answer = answer.decode()
        self.answered(call)
        return [answer]

    def of(self, operation):
        return [call for call in list(self.calls) if call.operation == operation]

    def tunnel(self, connection, host):
        """Answers for the one host that the proxy knows, as it would."""
        if host != f"{CHECKIP}:443":
            self.outside.append(host)
            return connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with self.trust.wrap_socket(connection, server_side=True) as tls:
            tls.recv(65536)
            tls.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(ADDRESS) + 1}\r\nConnection: close\r\n\r\n{ADDRESS}\n".encode())


class Quiet(MotoRequestHandler):
    def log_request(self, *_):
        pass


class Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, address, tunnel):
        self.tunnel = tunnel
        super().__init__(address, Connect)


class Connect(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.settimeout(10)
        method, host, _ = self.request.recv(65536).decode("latin-1").split(" ", 2)
        self.server.tunnel(self.request, host if method == "CONNECT" else f"{method} {host}")


def certificate(path):
    """A certificate for checkip.amazonaws.com, which whoever trusts `path` believes."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CHECKIP)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=2))
    made = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(CHECKIP)]), critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    path.write_bytes(made.public_bytes(pem))
    both = path.with_suffix(".key.pem")
    both.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context
