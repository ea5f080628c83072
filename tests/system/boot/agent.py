"""QEMU's guest agent: runs commands on a machine, through a port of its own that needs no network."""

import base64
import json
import socket
import subprocess
import time


class Agent:
    """`path` is the socket that QEMU has made."""

    def __init__(self, path):
        self.socket, self.received = socket.socket(socket.AF_UNIX), b""
        self.socket.connect(str(path))

    def send(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")

    def answer(self, limit=60):
        self.socket.settimeout(limit)
        while b"\n" not in self.received:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("QEMU has ended")
            self.received += piece
        line, _, self.received = self.received.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"]["desc"])
        return answer["return"]

    def execute(self, command, limit=120):
        """Runs a command to its end, as root."""
        program, *arguments = command
        self.send("guest-exec", path=program, arg=arguments, **{"capture-output": True})
        pid = self.answer()["pid"]
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            self.send("guest-exec-status", pid=pid)
            status = self.answer()
            if status["exited"]:
                out, err = (base64.b64decode(status.get(name, "")).decode(errors="replace") for name in ("out-data", "err-data"))
                return subprocess.CompletedProcess(command, status.get("exitcode", -status.get("signal", 0)), out, err)
            time.sleep(0.05)
        raise RuntimeError(f"{' '.join(command)} has not ended after {limit} s")
