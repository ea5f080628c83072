"""Measures the memory of connections that have had a response and wait for the next request."""

import socket
import time
from statistics import median

import processes
import scene

COUNTS = (2, 256, 2_000, 10_000)
# The connections that come from one address: the appliance allows no address more than 8,000.
EACH = 2_000
# Buffers of connections that rest are freed by then.
REST = 3
KIB = 1024


def measure(running, scale):
    """The resident memory of a peer with each number of connections, in MiB. A trial has only the first two."""
    process, others = running.process, []
    if not process:
        return None
    lines = "".join(f"{name}: {value}\r\n" for name, value in running.headers.items())
    request = f"GET {scene.CALL} HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n{lines}\r\n".encode()
    connections, mib = [], {}
    try:
        for count in COUNTS if scale >= 1 else COUNTS[:2]:
            while len(connections) < count:
                address = (f"127.0.0.{2 + len(connections) // EACH}", 0)
                connection = socket.create_connection(("127.0.0.1", running.port), 10, address)
                connections.append(connection)
                answered(connection, request)
            began, busy = time.perf_counter(), processes.busy_seconds() - process.cpu_seconds()
            time.sleep(REST)
            busy = processes.busy_seconds() - process.cpu_seconds() - busy
            others.append(max(0.0, busy) / (time.perf_counter() - began))
            mib[str(count)] = process.memory_mib("VmRSS")
    finally:
        for connection in connections:
            connection.close()
    return {"mib": mib, "others_cpu": max(others), "wrong": []}


def answered(connection, request):
    """Sends a request and reads its whole response, of which the body has a known length."""
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += piece(connection)
    head, body = answer.split(b"\r\n\r\n", 1)
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"an idle connection got {head[:100]!r}")
    (length,) = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < length:
        body += piece(connection)


def piece(connection):
    if received := connection.recv(65536):
        return received
    raise RuntimeError("an idle connection was closed")


def mib(measured, peer, count):
    """The median of a peer's memory with so many connections, in MiB."""
    found = [figures[str(count)] for figures in measured.values("mib", "idle", peer) if str(count) in figures]
    return median(found) if found else None


def table(measured, peers):
    head = ["### Resident memory with idle connections, MiB", ""]
    head += [f"| peer | {' | '.join(f'{count:,}' for count in COUNTS)} | KiB each |", f"|---|{'---:|' * (len(COUNTS) + 1)}"]
    lines = []
    for peer in peers:
        found = [mib(measured, peer, count) for count in COUNTS]
        if all(found):
            slope = (found[-1] - found[1]) * KIB / (COUNTS[-1] - COUNTS[1])
            lines.append(f"| {peer} | {' | '.join(f'{value:.1f}' for value in found)} | {slope:.1f} |")
    return "\n".join([*head, *lines]) if lines else None
