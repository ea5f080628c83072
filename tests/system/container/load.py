"""Clients of two containers behind one address, as a load balancer shows it: a request goes to the first that accepts a connection."""

import http.client
import json
import threading
import time


class Load:
    """Requests of some threads, which go on until `end`. Nothing is retried, so that whatever goes wrong is seen."""

    SIZE, PIECES, SECONDS = 256 << 10, 16, 2

    def __init__(self, ports, token, threads=6):
        self.ports, self.headers = ports, {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Connection": "close"}
        self.served, self.failed, self.uploads = dict.fromkeys(ports, 0), [], []
        self.lock, self.ended = threading.Lock(), threading.Event()
        targets = [self.search] * threads + [self.upload] * threads
        self.threads = [threading.Thread(target=self.repeat, args=[target]) for target in targets]
        for thread in self.threads:
            thread.start()

    def end(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(60)

    def repeat(self, request):
        while not self.ended.is_set():
            request()

    def connect(self):
        """A refused connection has sent nothing, so a load balancer takes the next container."""
        for port in self.ports:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                connection.connect()
                return port, connection
            except ConnectionRefusedError:
                pass
        raise OSError("no container accepts connections")

    def send(self, body):
        began, port = time.monotonic(), None
        try:
            port, connection = self.connect()
            connection.request("POST", "/api/2.0/mlflow/experiments/search", body, {**self.headers, "Content-Length": str(self.SIZE)})
            response = connection.getresponse()
            text = response.read()
            if response.status != 200:
                raise OSError(f"{response.status} {text[:300]!r}")
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            with self.lock:
                self.failed.append(f"{port}: after {time.monotonic() - began:.1f} s: {error!r}")
        with self.lock:
            self.served[port] = self.served.get(port, 0) + 1
        return port, began, time.monotonic()

    def pieces(self, seconds):
        """A document with blanks before it. It is larger than what the containers keep in memory."""
        document = json.dumps({"max_results": 1}).encode()
        blanks = self.SIZE - len(document)
        for piece in range(self.PIECES):
            time.sleep(seconds / self.PIECES)
            yield b" " * (blanks * (piece + 1) // self.PIECES - blanks * piece // self.PIECES)
        yield document

    def search(self):
        self.send(b"".join(self.pieces(0)))
        time.sleep(0.02)

    def upload(self):
        """A body that takes two seconds to send."""
        done = self.send(self.pieces(self.SECONDS))
        with self.lock:
            self.uploads.append(done)
