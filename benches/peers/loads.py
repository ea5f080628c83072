"""Sends the requests: by `oha` with many connections, or by MLflow's own client. Both are ready before the clock starts."""

import json
import os
import subprocess
from pathlib import Path

import processes
import scene
from scene import ARN

HERE = Path(__file__).resolve().parent
# More connections than this are not opened before the clock starts: their opening is a part of what is measured.
WARM_CONNECTIONS = 256


class Oha:
    """`oha`, which is run twice: to have the upstream's connections opened, as they are after a while, and to measure."""

    def __init__(self, binary, workload, requests, running, upstream, share=1.0, patience=120):
        self.workload, self.requests, self.patience = workload, requests, patience
        self.received = workload.received if running.received is None else running.received
        self.arguments = [binary, "--no-tui", "--output-format", "json", "--disable-compression", "-t", f"{patience}s"]
        for name, value in running.headers.items():
            self.arguments += ["-H", f"{name}: {value}"]
        if running.is_tls:
            self.arguments += ["--cacert", str(upstream.authority)]
        few = workload.connections if workload.connections <= WARM_CONNECTIONS else 16
        warm = max(few, round((4 * few + 64) * share))
        self.warm = ["-c", str(few), "-n", str(warm), *self.place(running, upstream, scene.CALL)]
        self.ask = ["-c", str(workload.connections), "-n", str(requests), *self.body(upstream)]
        self.ask += self.place(running, upstream, workload.path)

    def place(self, running, upstream, path):
        """Where to ask: one URL, or one for each target, of which `oha` takes any."""
        if not self.workload.targets:
            return [running.url + path]
        urls = upstream.authority.with_name("urls")
        urls.write_text("".join(f"{running.url}/t/{target}{path}\n" for target in self.workload.targets))
        return ["--urls-from-file", str(urls)]

    def body(self, upstream):
        more = ["-m", self.workload.method, *(["--disable-keepalive"] if self.workload.is_churn else [])]
        if self.workload.sent:
            # Zeroes, which take no room on the disk: nothing on the way looks at them.
            path = upstream.authority.with_name(f"body-{self.workload.sent}")
            with open(path, "ab") as file:
                file.truncate(self.workload.sent)
            more += ["-T", "application/json", "-D", str(path)]
        return more

    def __enter__(self):
        self.run(self.warm)
        return self

    def __exit__(self, *_):
        pass

    def run(self, more):
        command = [*self.arguments, *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=4 * self.patience, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"oha ended with {done.returncode}: {done.stderr[-500:]}")
        return json.loads(done.stdout)

    def measured(self):
        """Its figures, and for each fact about its answers how it is and how it has to be."""
        told = self.run(self.ask)
        percentiles = told["latencyPercentiles"]
        figures = {
            "per_second": told["summary"]["requestsPerSec"],
            "p50_ms": percentiles["p50"] * 1000,
            "p99_ms": percentiles["p99"] * 1000,
        }
        facts = {
            "statuses": (told["statusCodeDistribution"], {"200": self.requests}),
            "errors": (told["errorDistribution"], {}),
            "bytes received": (told["summary"]["totalData"], self.requests * self.received),
        }
        return figures, facts

    def cpu_seconds(self):
        now = os.times()
        return now.children_user + now.children_system


class MlflowClient:
    """MLflow's client in a process of its own. It ends with an error at a wrong answer."""

    def __init__(self, workload, requests, running, upstream):
        self.requests = requests
        bin = scene.python_of_peers() if running.is_plugin else scene.python_of_tests()
        uri = ARN if running.is_plugin else running.url
        environment = {**scene.CREDENTIALS, "MLFLOW_TRACKING_SERVER_CERT_PATH": str(upstream.authority)}
        environment["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        if running.is_plugin:
            environment["SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT"] = running.url
        if token := running.headers.get("authorization"):
            environment["MLFLOW_TRACKING_TOKEN"] = token.removeprefix("Bearer ")
        if not running.is_tls:
            del environment["MLFLOW_TRACKING_SERVER_CERT_PATH"]
        log = upstream.authority.with_name("mlflow_client.log")
        arguments = [str(bin / "python"), str(HERE / "mlflow_client.py"), uri, workload.client]
        pipe = subprocess.PIPE
        self.process = processes.Process(arguments, environment, log, output=pipe, source=pipe)

    def __enter__(self):
        try:
            self.line("ready")
        except RuntimeError:
            self.process.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.__exit__()

    def line(self, due=None):
        said = self.process.process.stdout.readline().strip()
        if not said or (due and said != due):
            raise RuntimeError(f"MLflow's client: {said} {self.process.last_words()}")
        return said

    def measured(self):
        source = self.process.process.stdin
        source.write(f"{self.requests}\n")
        source.flush()
        return json.loads(self.line()), {}

    def cpu_seconds(self):
        return self.process.cpu_seconds()
