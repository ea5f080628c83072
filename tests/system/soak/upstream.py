"""An upstream for load: accepts every request, counts each by its number, and misbehaves at times if a scene asks for that.

    python upstream.py      prints its port, and on standard input:  `counts` → one line of JSON,  `forget`

A request to `/<kind>/<number>` is counted under its number. Kinds: `small`, `large` (an answer of 256 KiB), `closed`
(no answer), `slow` (after a second).
"""

import asyncio
import collections
import json
import sys

SMALL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 262144\r\n\r\n" + bytes(262144)

seen = collections.Counter()
received = 0


class Server(asyncio.Protocol):
    def __init__(self):
        self.buffer, self.missing, self.path = b"", 0, ""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        global received
        while data or not self.missing:
            if self.missing:
                taken = min(self.missing, len(data))
                self.missing -= taken
                received += taken
                data = data[taken:]
                if self.missing:
                    return
                self.answer()
                continue
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data, self.buffer = self.buffer[:end], self.buffer[end + 4 :], b""
            self.path = head[: head.index(b"\r\n")].split(b" ")[1].decode()
            lower = head.lower()
            at = lower.find(b"\r\ncontent-length:")
            self.missing = int(lower[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if not self.missing:
                self.answer()
                if not data:
                    return

    def answer(self):
        seen[self.path] += 1
        if self.path.startswith("/closed/"):
            self.transport.close()
        elif self.path.startswith("/large/"):
            self.transport.write(LARGE)
        elif self.path.startswith("/slow/"):
            asyncio.get_running_loop().call_later(1, self.transport.write, SMALL)
        else:
            self.transport.write(SMALL)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if line == "counts":
            twice = [path for path, count in seen.items() if count > 1]
            print(json.dumps({"requests": sum(seen.values()), "different": len(seen), "bytes": received, "twice": twice[:10]}), flush=True)
        elif line == "forget":
            seen.clear()
            print("{}", flush=True)


asyncio.run(main())
