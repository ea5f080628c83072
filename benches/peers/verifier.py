"""Verifies one upload in S3's signed chunks that no clock measures, since the upstream only checks their framing.

The code shares nothing with the appliance's signer: it follows AWS's description of the signatures, with Python's library.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

import base64
import hashlib
import hmac
import http.client
import http.server
import random
import re
import threading
import zlib

from scene import CREDENTIALS

# Several chunks, and a part of one.
SIZE = 3 * (1 << 20) + 12_345
EMPTY = hashlib.sha256(b"").hexdigest()


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256)


class Store(http.server.BaseHTTPRequestHandler):
    """S3 for one object, which it keeps in `server.kept` with the head of its request."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.kept.append((self.path, self.headers, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def verify(start, path):
    """Sends an object through the peer that `start` starts for the address of an S3, and verifies what arrives there."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        server.kept = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running = start(f"http://127.0.0.1:{server.server_port}")
        try:
            data = random.Random(1).randbytes(SIZE)
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
            connection.request("PUT", path, data, running.headers)
            status = connection.getresponse().status
        finally:
            running.process.__exit__()
            server.shutdown()
    if status != 200 or len(server.kept) != 1:
        raise RuntimeError(f"the upload to be verified got {status}, and {len(server.kept)} requests arrived")
    if verified(*server.kept[0]) != data:
        raise RuntimeError("the upload has other bytes than were sent")


def verified(target, headers, body):
    """The object in the body of a request. Fails if a signature, a length or the checksum is wrong."""
    authorization = headers["authorization"]
    scope, names, seed = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=[^/]+/(\S+), ?SignedHeaders=(\S+), ?Signature=(\w+)", authorization
    ).groups()
    key = b"AWS4" + CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode()
    for part in scope.split("/"):
        key = mac(key, part).digest()
    date, payload = headers["x-amz-date"], headers["x-amz-content-sha256"]
    same("the payload", payload, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
    path, _, query = target.partition("?")
    fields = "".join(f"{name}:{headers[name].strip()}\n" for name in names.split(";"))
    request = "\n".join(["PUT", path, query, fields, names, payload])
    hashed = hashlib.sha256(request.encode()).hexdigest()
    same("the head's signature", seed, mac(key, f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}").hexdigest())

    previous, data, rest = seed, b"", body
    while True:
        line, rest = rest.split(b"\r\n", 1)
        size, signature = line.decode().split(";chunk-signature=")
        chunk, rest = rest[: int(size, 16)], rest[int(size, 16) :]
        hashed = f"{EMPTY}\n{hashlib.sha256(chunk).hexdigest()}"
        previous = same("a chunk's signature", signature, signed(key, "PAYLOAD", date, scope, previous, hashed))
        if not chunk:
            break
        data += chunk
        same("a chunk's end", rest[:2], b"\r\n")
        rest = rest[2:]
    checksum, signature = rest.decode().removesuffix("\r\n\r\n").split("\r\n")
    expected = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    same("the checksum", checksum, f"x-amz-checksum-crc32:{expected}")
    hashed = hashlib.sha256(f"{checksum}\n".encode()).hexdigest()
    trailer = signed(key, "TRAILER", date, scope, previous, hashed)
    same("the trailer's signature", signature, f"x-amz-trailer-signature:{trailer}")
    same("the length", headers["x-amz-decoded-content-length"], str(len(data)))
    return data


def signed(key, kind, date, scope, previous, hashed):
    return mac(key, f"AWS4-HMAC-SHA256-{kind}\n{date}\n{scope}\n{previous}\n{hashed}").hexdigest()


def same(what, found, due):
    if found != due:
        raise RuntimeError(f"{what} is {found!r} instead of {due!r}")
    return found
