"""Many concurrent callers, and the results that they saw.

Each keeps its connection, as MLflow's clients do. A request on a connection that had been idle and ends without a byte
of an answer is sent once more on a new one, if it is a GET (RFC 9110 §9.2.2): that is counted, but is no failure.
"""

import asyncio
import collections


class Connection(asyncio.Protocol):
    """One connection to an appliance, and one request on it at a time."""

    def __init__(self):
        self.buffer, self.waiting, self.is_open, self.used = bytearray(), None, False, 0

    def connection_made(self, transport):
        self.transport, self.is_open = transport, True

    def connection_lost(self, _):
        self.is_open = False
        if self.waiting and not self.waiting.done():
            self.waiting.set_exception(ConnectionError("ended in the middle" if self.buffer else "ended without an answer"))

    def data_received(self, data):
        self.buffer += data
        self.read()

    def read(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0 or not self.waiting or self.waiting.done():
            return
        head = bytes(self.buffer[:end]).lower()
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) < end + 4 + length:
            return
        del self.buffer[: end + 4 + length]
        if b"\r\nconnection: close" in head:
            self.transport.close()
            self.is_open = False
        self.waiting.set_result((int(head[9:12]), head))

    async def ask(self, request):
        self.waiting = asyncio.get_running_loop().create_future()
        self.used += 1
        # It may have been answered, or left, before it was complete.
        self.read()
        if not self.waiting.done():
            if not self.is_open:
                raise ConnectionError("ended before it was asked")
            self.transport.write(request)
        return await asyncio.wait_for(self.waiting, 130)


async def connect(port):
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


def get(kind, number):
    return f"GET /{kind}/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(kind, number, body=b"{}"):
    head = f"POST /{kind}/{number} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Load:
    """Callers that send requests until `stop`. `pick` returns the appliance for the next request."""

    number = 0

    def __init__(self, pick, callers=32, make=lambda number: get("small", number)):
        self.pick, self.make, self.is_over = pick, make, False
        self.answers, self.failures, self.repeated, self.longest = collections.Counter(), [], 0, 0.0
        self.running = collections.Counter()
        self.tasks = [asyncio.create_task(self.call()) for _ in range(callers)]

    @property
    def sent(self):
        return sum(self.answers.values()) + len(self.failures)

    async def call(self):
        kept = {}
        loop = asyncio.get_running_loop()
        while not self.is_over:
            port = self.pick()
            Load.number += 1
            request = self.make(Load.number)
            self.running[port] += 1
            began = loop.time()
            try:
                try:
                    status, _ = await self.once(kept, port, request)
                except ConnectionError:
                    old = kept.pop(port, None)
                    if not request.startswith(b"GET") or not old or old.used < 2 or old.buffer:
                        raise
                    self.repeated += 1
                    status, _ = await self.once(kept, self.pick(), request)
                self.answers[status] += 1
            except (ConnectionError, TimeoutError, OSError) as error:
                kept.pop(port, None)
                self.failures.append(f"{type(error).__name__}: {error}")
            finally:
                self.running[port] -= 1
                self.longest = max(self.longest, loop.time() - began)
        for connection in kept.values():
            connection.transport.close()

    async def once(self, kept, port, request):
        connection = kept.get(port)
        if not connection or not connection.is_open:
            kept[port] = connection = await connect(port)
        return await connection.ask(request)

    async def until(self, count):
        while self.sent < count:
            await asyncio.sleep(0.02)

    async def stop(self):
        self.is_over = True
        await asyncio.gather(*self.tasks)
        return self
