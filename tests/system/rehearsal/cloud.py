"""AWS as an instance sees it: the metadata service, and AWS's services under their real names, over TLS.

usage: cloud.py DIRECTORY, in a network namespace that has 169.254.169.254 and the address in DIRECTORY/cloud.json
SageMaker, STS, S3 and the metadata service's credentials are `appliance sandbox`, which verifies signatures; the Parameter
Store is moto; CloudFormation and Auto Scaling record what they are told in DIRECTORY/told.jsonl. DIRECTORY/state.json
has user data, tags and faults, and is read anew for each request; `instances` in it has what differs for the instance at an
address. `names` in cloud.json has further names. Writes DIRECTORY/authority.pem, then DIRECTORY/up.
"""

import asyncio
import base64
import datetime
import http.client
import json
import ssl
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.server import ThreadedMotoServer

directory = Path(sys.argv[1])
cloud = json.loads((directory / "cloud.json").read_text())
sandbox, region, instance = cloud["sandbox"], "us-east-1", "i-0123456789abcdef0"
METADATA = "169.254.169.254"
DOORS = {"tracking": f"{region}.experiments.sagemaker.aws", "serverless": f"mlflow.sagemaker.{region}.app.aws"}
NAMES = {
    **{DOORS[mode]: url for mode, url in sandbox["front_doors"].items()},
    f"sts.{region}.amazonaws.com": sandbox["sts"],
    f"api.sagemaker.{region}.amazonaws.com": sandbox["sagemaker"],
    f"s3.{region}.amazonaws.com": sandbox["s3"],
    f"ssm.{region}.amazonaws.com": "moto",
    f"cloudformation.{region}.amazonaws.com": "record",
    f"autoscaling.{region}.amazonaws.com": "record",
    **cloud.get("names", {}),
}
# In lines, as AWS writes it.
SIGNATURE = "\n".join(["kQ+x/" * 12, "w==" * 4])
lock = threading.Lock()
seen = {"imds": 0}


def state():
    return json.loads((directory / "state.json").read_text())


def document(identity):
    """The identity document of an instance."""
    zone = f"{region}b"
    return json.dumps({"accountId": "123456789012", "availabilityZone": zone, "instanceId": identity, "region": region}, indent=2).encode()


def documents():
    """Those of all instances."""
    return [document(one.get("instance", instance)) for one in [{}, *state().get("instances", {}).values()]]


def fault(name):
    """The value of a fault, which may be in force for some seconds after the state was written."""
    now = state()
    if time.time() - now["since"] > now.get("for", 1e9):
        return None
    return now.get("faults", {}).get(name)


class Metadata(BaseHTTPRequestHandler):
    """The sandbox's tokens and credentials, and what it does not know: user data, tags, the identity document."""

    protocol_version = "HTTP/1.1"
    tokens = set()

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def relay(self):
        where = urllib.parse.urlsplit(sandbox["imds"])
        upstream = http.client.HTTPConnection(where.hostname, where.port, timeout=5)
        upstream.request(self.command, self.path, headers={k: v for k, v in self.headers.items() if k.lower() != "host"})
        answer = upstream.getresponse()
        body = answer.read()
        if self.command == "PUT" and answer.status == 200:
            self.tokens.add(body.decode())
        self.reply(answer.status, body, [(k, v) for k, v in answer.getheaders() if k.startswith("x-aws")])

    def answer(self):
        with lock:
            seen["imds"] += 1
            throttled = fault("throttled") is not None and seen["imds"] % 3 != 0
        if throttled:
            return self.reply(503)
        path = self.path.removeprefix("/latest/")
        if self.command == "PUT" or path.startswith("meta-data/iam/"):
            return self.relay()
        if self.headers.get("x-aws-ec2-metadata-token") not in self.tokens:
            return self.reply(401)
        now = state()
        now |= now.get("instances", {}).get(self.client_address[0], {})
        tags, identity = now.get("tags", {}), now.get("instance", instance)
        known = {
            "user-data": base64.b64decode(now["user_data"]) if "user_data" in now else None,
            "dynamic/instance-identity/document": document(identity),
            "dynamic/instance-identity/signature": SIGNATURE.encode(),
            "meta-data/tags/instance": "\n".join(tags).encode() if tags else None,
            "meta-data/placement/region": region.encode(),
            "meta-data/instance-id": identity.encode(),
        }
        body = known.get(path)
        tag = path.removeprefix("meta-data/tags/instance/")
        if body is None and tag in tags:
            body = tags[tag].encode()
        return self.reply(404) if body is None else self.reply(200, body)

    do_GET = do_PUT = answer


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def verify_request(self, request, address):
        return not fault("absent")


def record(head):
    """Records a call of the Query protocol, and answers for it if whoever makes it proves to be the instance."""
    line, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    call = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(line.split(" ")[1]).query))
    scheme, _, proof = headers.get("authorization", "").partition(" ")
    if scheme == "CFN_V1":
        encoded, _, signature = proof.partition(":")
        proven = base64.b64decode(encoded) in documents() and signature == SIGNATURE.replace("\n", "")
    else:
        proven = scheme == "AWS4-HMAC-SHA256" and "x-amz-security-token" in headers
    with lock, open(directory / "told.jsonl", "a") as told:
        told.write(json.dumps({**call, "proven": proven, "scheme": scheme}) + "\n")
    status = "200 OK" if proven else "403 Forbidden"
    return f"HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode()


def certificates():
    """An authority, and a certificate of it for all names."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def build(subject, key, issuer, signer, extensions):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=2))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(signer, hashes.SHA256())

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = name("rehearsal authority")
    root = build(authority, authority_key, authority, authority_key, [x509.BasicConstraints(True, 0)])
    names = x509.SubjectAlternativeName([x509.DNSName(one) for one in NAMES])
    leaf = build(name("rehearsal"), key, authority, authority_key, [names, x509.BasicConstraints(False, None)])
    pem = serialization.Encoding.PEM
    (directory / "authority.pem").write_bytes(root.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "server.pem").write_bytes(leaf.public_bytes(pem) + private)


async def pump(reader, writer):
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def connect(place):
    """A connection to one of the sandbox's doors, whose certificates are for this machine, or to moto."""
    if place == "moto":
        return await asyncio.open_connection("127.0.0.1", cloud["moto"])
    url = urllib.parse.urlsplit(place)
    trust = ssl.create_default_context(cafile=sandbox["authority"]) if url.scheme == "https" else None
    return await asyncio.open_connection(url.hostname, url.port, ssl=trust)


async def serve(reader, writer):
    name = writer.get_extra_info("ssl_object").name
    if name not in NAMES or fault(name.split(".")[0]) == "down":
        writer.close()
    elif NAMES[name] == "record":
        writer.write(record((await reader.readuntil(b"\r\n\r\n"))[:-4]))
        await writer.drain()
        writer.close()
    else:
        up_reader, up_writer = await connect(NAMES[name])
        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))


def note_name(connection, name, _):
    connection.name = name


certificates()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(directory / "server.pem")
context.sni_callback = note_name
if "parameters" in cloud:
    # Otherwise the caller has started a moto.
    ThreadedMotoServer(ip_address="127.0.0.1", port=cloud["moto"], verbose=False).start()
ssm = boto3.client(
    "ssm", endpoint_url=f"http://127.0.0.1:{cloud['moto']}", region_name=region, aws_access_key_id="a", aws_secret_access_key="b"
)
for parameter, value in cloud.get("parameters", {}).items():
    ssm.put_parameter(Name=parameter, Value=value, Type="SecureString")
metadata = Server((METADATA, 80), Metadata)
threading.Thread(target=metadata.serve_forever, daemon=True).start()


async def main():
    server = await asyncio.start_server(serve, cloud["address"], 443, ssl=context)
    (directory / "up").touch()
    await server.serve_forever()


asyncio.run(main())
