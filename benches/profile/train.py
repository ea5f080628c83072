"""Puts a binary to work as an instance does: small calls, bodies of all sizes, new connections, TLS, several targets.

usage: train.py BINARY. Everything listens on 127.0.0.1. It fails if an answer is not the one that was due.
"""

import contextlib
import datetime
import http.client
import http.server
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

MIB = 1 << 20
LARGE = 64 * MIB
RUN = json.dumps({"run": {"info": {"run_id": "0" * 32}, "data": {"params": [{"key": "k" * 40, "value": "v" * 820}]}}}).encode()
GET = "/api/2.0/mlflow/runs/get?run_id=0123456789abcdef0123456789abcdef"
ARN = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/"
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts/"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "session-token-of-the-training",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def certificate(place):
    """A certificate for 127.0.0.1 that is its own authority, and its key, as files."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "training")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    form = serialization.PrivateFormat.PKCS8
    (place / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (place / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


class Upstream(http.server.BaseHTTPRequestHandler):
    """MLflow, as far as a proxy can tell: a run, a blob of any size, chunks, an error."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        left = int(self.headers.get("content-length", 0))
        while left:
            left -= len(self.rfile.read(min(left, MIB)))
        if not self.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
            return self.respond(500, b"{}")
        if "/blob" in self.path:
            self.start(200, LARGE)
            for _ in range(LARGE // MIB):
                self.wfile.write(bytes(MIB))
        elif "chunked" in self.path:
            self.start(200, None)
            for piece in (RUN, RUN * 20):
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        elif "missing" in self.path:
            self.respond(404, json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"}).encode())
        else:
            self.respond(200, RUN)

    do_GET = do_POST = do_PUT = answer

    def start(self, status, length):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("x-amzn-requestid", "0f6e7c0a-0000-4000-8000-000000000000")
        name, value = ("transfer-encoding", "chunked") if length is None else ("content-length", str(length))
        self.send_header(name, value)
        self.end_headers()

    def respond(self, status, body):
        self.start(status, len(body))
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def handle_error(self, *_):
        pass  # Connections end when the appliance does.


class Appliance:
    """The binary, with its options, until it has ended by itself after SIGTERM. `under` is a command that runs it."""

    def __init__(self, binary, place, *options, is_tls=False, under=()):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        if is_tls:
            options += ("--tls-certificate", str(place / "cert.pem"), "--tls-key", str(place / "key.pem"))
        self.trust = ssl.create_default_context(cafile=place / "cert.pem") if is_tls else None
        made = subprocess.run([binary, "token", "new", "--file", place / "tokens.toml", "--name", f"of-{self.port}", "--role", "write", "--json"], check=True, stdout=subprocess.PIPE)
        self.headers = {"authorization": f"Bearer {json.loads(made.stdout)['token']}", "content-type": "application/json"}
        command = [*under, binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--tokens", place / "tokens.toml"]
        # A build in a sandbox has neither /var/tmp nor any other directory of the system.
        command += ["--ca-file", place / "cert.pem", "--spool-directory", place, "--api-body-size-limit", "1GiB", *options]
        self.log = place / "log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **CREDENTIALS}, stdout=log, stderr=log)

    def __enter__(self):
        for _ in range(600):
            if self.is_ready():
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise self.failure("it does not become ready")

    def is_ready(self):
        """Returns true if the appliance listens and has credentials."""
        try:
            with contextlib.closing(self.connection(5)) as connection:
                connection.request("GET", "/_appliance/readyz")
                return connection.getresponse().status == 200
        except OSError:
            return False

    def connection(self, timeout):
        if self.trust:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.trust)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        # The appliance writes what it has counted when it ends.
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise self.failure("it does not end after SIGTERM") from None
        if status != 0:
            raise self.failure("it ended in disorder")

    def failure(self, what):
        """An error with the program's exit status and log, which go away with its directory. The program has ended then."""
        status = self.process.poll()
        self.process.kill()
        self.process.wait()
        return RuntimeError(f"{what} (exit status {status}):\n{self.log.read_text()}")

    def ask(self, count, method, path, body=None, due=200, is_new=False):
        """The same call again and again, on one connection or on a new one each time."""
        connection = None
        for _ in range(count):
            if connection is None:
                connection = self.connection(120)
            connection.request(method, path, body, self.headers)
            with connection.getresponse() as answer:
                length = 0
                while piece := answer.read(MIB):
                    length += len(piece)
                if answer.status != due or not length:
                    raise RuntimeError(f"{method} {path}: {answer.status}, {length} bytes")
            if is_new:
                connection.close()
                connection = None

    def at_once(self, threads, *call, **more):
        failures = []

        def run():
            try:
                self.ask(*call, **more)
            except Exception as error:  # Of a thread, which would only print it.
                failures.append(error)

        running = [threading.Thread(target=run) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        if failures:
            raise failures[0]


def work(appliance, prefix="", share=1.0):
    """Makes the calls that callers make. Most of them are small."""

    def some(count):
        return max(1, round(count * share))

    appliance.at_once(8, some(1500), "GET", prefix + GET)
    appliance.at_once(8, some(400), "POST", prefix + "/api/2.0/mlflow/runs/log-metric", bytes(1024))
    appliance.at_once(4, some(50), "POST", prefix + "/api/2.0/mlflow/runs/log-batch", bytes(100 * 1024))
    appliance.at_once(8, some(200), "GET", prefix + GET, is_new=True)
    appliance.at_once(4, some(50), "GET", prefix + GET + "chunked")
    appliance.ask(some(50), "GET", prefix + GET + "missing", due=404)
    appliance.ask(some(4), "GET", prefix + ARTIFACT + "blob")
    appliance.ask(some(3), "PUT", prefix + ARTIFACT + "model.bin", bytes(LARGE))


def serve_upstream(place):
    """Starts the upstream with a certificate of its own in `place`, and returns its URL."""
    certificate(place)
    server = Server(("127.0.0.1", 0), Upstream)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "cert.pem", place / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"https://127.0.0.1:{server.server_port}"


def main():
    binary = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        upstream = serve_upstream(place)
        targets = (f'[[target]]\nname = "{name}"\nresource-arn = "{ARN}{name}"\nupstream-endpoint = "{upstream}"\n' for name in "ab")
        (place / "targets.toml").write_text("".join(targets))
        one = ("--resource-arn", ARN + "training", "--upstream-endpoint", upstream)
        began = time.monotonic()
        with Appliance(binary, place, *one, "--log-filter", "warn") as appliance:
            work(appliance)
        with Appliance(binary, place, *one, "--unsigned-payload") as appliance:
            work(appliance, share=0.3)
        with Appliance(binary, place, "--config", str(place / "targets.toml"), is_tls=True) as appliance:
            work(appliance, "/t/a", share=0.15)
            work(appliance, "/t/b", share=0.15)
        print(f"trained for {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
