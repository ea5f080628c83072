"""Processes under measurement: how they start and stop, and what the kernel counts of them and of everybody else."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def busy_seconds():
    """CPU time that everything on this machine has used so far."""
    user, nice, system, _, _, *interrupts = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts))) / TICKS


def _stat(pid):
    """The fields of /proc/PID/stat from the state on, or nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


class Process:
    """A server in a session of its own, with its descendants; stopped on leaving the `with`."""

    def __init__(self, arguments, environment, log, directory=None, output=None, source=None, patience=30):
        base = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
        self.log, self.patience = log, patience
        self.began, self.busy = time.perf_counter(), busy_seconds()
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                arguments,
                env={**base, **environment},
                cwd=directory,
                stdin=source or subprocess.DEVNULL,
                stdout=output or errors,
                stderr=errors,
                start_new_session=True,
                text=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for number, patience in ((signal.SIGTERM, self.patience / 6), (signal.SIGKILL, 5)):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                pass
            try:
                self.process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue

    def first_answer(self, port, path, headers):
        """Seconds from the start of the process to the end of its first answer with status 200."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{lines}Connection: close\r\n\r\n".encode()
        answer = b""
        while time.perf_counter() - self.began < self.patience:
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode}: {self.last_words()}")
            try:
                with socket.create_connection(("127.0.0.1", port), 1) as connection:
                    connection.settimeout(self.patience / 6)
                    connection.sendall(request)
                    answer = b""
                    while piece := connection.recv(65536):
                        answer += piece
                if answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
                    return time.perf_counter() - self.began
                if answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")):
                    break  # It will not come to like the request.
            except OSError:
                pass
            time.sleep(0.001)
        raise RuntimeError(f"no answer with status 200 but {answer[:300]!r}: {self.last_words()}")

    def last_words(self):
        return Path(self.log).read_text(errors="replace")[-1000:]

    def pids(self):
        """The process and its descendants."""
        children = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (fields := _stat(entry)):
                children.setdefault(int(fields[1]), []).append(int(entry))
        found, left = [], [self.process.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            left += children.get(pid, [])
        return found

    def cpu_seconds(self):
        """User and system time so far, of all of its processes."""
        return sum(self.times())

    def times(self):
        """User time and system time so far, in seconds, each of all of its processes."""
        fields = [fields for pid in self.pids() if (fields := _stat(pid))]
        return tuple(sum(int(field[number]) for field in fields) / TICKS for number in (11, 12))

    def memory_mib(self, name):
        """`VmRSS` or `VmHWM`, summed over its processes: pages that they share count for each."""
        return self._sum("status", name) / 1024

    def written_mib(self):
        """The bytes that its processes have written to disk so far."""
        return self._sum("io", "write_bytes") / (1 << 20)

    def _sum(self, file, name):
        """The number behind a name in a file of /proc, summed over its processes. One that has ended meanwhile does not count."""
        total = 0
        for pid in self.pids():
            try:
                lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
        return total

    def reset_peak(self):
        """Lets `VmHWM` begin anew at what is resident now."""
        for pid in self.pids():
            try:
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            except FileNotFoundError:
                pass
