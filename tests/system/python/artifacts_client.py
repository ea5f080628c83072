"""Logs, lists and loads artifacts with MLflow's own client, which has no AWS credentials, and checks what comes back.

usage: artifacts_client.py TRACKING_URI MLFLOW_URI
TRACKING_URI is the appliance, MLFLOW_URI the server behind it, asked only for where artifacts really are. A plain MLflow
server is started beside them: what the client makes of odd file names must be the same through both.
Prints one JSON line: {"checks": comparisons made, "direct": requests of the client that went straight to S3}.
"""

import hashlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

import requests

import checks
from checks import same

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
DIRECT = []
tracking_uri, mlflow_uri = sys.argv[1:3]
assert not [name for name in os.environ if name.startswith("AWS_")], "the client must have no AWS configuration"


def watch_calls():
    send = requests.Session.send

    def watched(self, request, **arguments):
        if not request.url.startswith((tracking_uri, mlflow_uri, "http://127.0.0.1:%d/" % PLAIN_PORT)):
            DIRECT.append((request.method, request.url))
        return send(self, request, **arguments)

    requests.Session.send = watched


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PLAIN_PORT = free_port()
watch_calls()
import mlflow  # noqa: E402  (after the calls are watched)
import mlflow.artifacts  # noqa: E402
from mlflow.tracing.attachments import Attachment  # noqa: E402

mlflow.set_tracking_uri(tracking_uri)
client = mlflow.MlflowClient()
directory = pathlib.Path(tempfile.mkdtemp())


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sample(name, size):
    """A file whose blocks differ, so that parts in the wrong order are noticed."""
    path = directory / name
    with open(path, "wb") as file:
        block = os.urandom(1 << 20)
        for number in range(size >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])
        file.write(block[: size & 0xFFFFF])
    return path


def locations(run_id):
    same("the run's location", mlflow.get_run(run_id).info.artifact_uri.startswith("mlflow-artifacts:/"), True)
    real = requests.get(f"{mlflow_uri}/api/2.0/mlflow/runs/get", params={"run_id": run_id}).json()["run"]["info"]
    same("its real location", real["artifact_uri"].startswith("s3://sandbox-artifacts/mlflow/"), True)
    same("rest of the location", real["artifact_uri"].endswith(f"/{run_id}/artifacts"), True)
    named = client.create_experiment("elsewhere", artifact_location="mlflow-artifacts:/elsewhere/ü + 1")
    same("given location", client.get_experiment(named).artifact_location, "mlflow-artifacts:/elsewhere/ü + 1")
    real = requests.get(f"{mlflow_uri}/api/2.0/mlflow/experiments/get", params={"experiment_id": named}).json()
    same("as kept", real["experiment"]["artifact_location"], "s3://sandbox-artifacts/mlflow/elsewhere/ü + 1")


def sizes(run_id):
    for name, size in {"empty": 0, "one": 1, "five": 5 << 20, "six hundred": 600 << 20}.items():
        before = len(DIRECT)
        path = sample(name, size)
        expected = digest(path)
        client.log_artifact(run_id, str(path), "sizes")
        path.unlink()
        parts = [method for method, _ in DIRECT[before:]].count("PUT")
        same(f"parts of {name}", parts, 60 if size >= 500 << 20 else 0)
        back = client.download_artifacts(run_id, f"sizes/{name}", str(directory))
        same(f"content of {name}", digest(back), expected)
        os.unlink(back)
    found = {item.path: item.file_size for item in client.list_artifacts(run_id, "sizes")}
    same("sizes", found, {"sizes/empty": 0, "sizes/one": 1, "sizes/five": 5 << 20, "sizes/six hundred": 600 << 20})


NAMES = ["a b.txt", "plus+.txt", "100% .txt", "a=b,c;d&e.txt", "größe 価格.txt", "hash#.txt", "pct%41.txt", "quo'te.txt"]


def logged_names(run_id):
    """The names that a server has after the client has logged NAMES, and their contents."""
    source = directory / "names"
    source.mkdir(exist_ok=True)
    for name in NAMES:
        (source / name).write_text(name)
    client.log_artifacts(run_id, str(source), "odd names")
    found = sorted(item.path for item in client.list_artifacts(run_id, "odd names"))
    target = pathlib.Path(tempfile.mkdtemp())
    failures = []
    for path in found:
        # The client may not find on its way back what it mangled on its way in. That must be the same, too.
        try:
            client.download_artifacts(run_id, path, str(target))
        except Exception as error:
            failures.append(f"{path}: {type(error).__name__}")
    contents = {path.name: path.read_text() for path in target.rglob("*") if path.is_file()}
    return found, failures, contents


def odd_names(run_id):
    through_the_appliance = logged_names(run_id)
    plain_uri = f"http://127.0.0.1:{PLAIN_PORT}"
    home = tempfile.mkdtemp()
    program = pathlib.Path(sys.executable).with_name("mlflow")
    arguments = [program, "server", "--port", str(PLAIN_PORT), "--workers", "1", "--backend-store-uri", f"sqlite:///{home}/db"]
    arguments += ["--artifacts-destination", f"{home}/artifacts", "--host", "127.0.0.1"]
    without_jobs = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=home, env=without_jobs)
    global client
    kept = client
    try:
        for _ in range(600):
            try:
                if requests.get(f"{plain_uri}/health", timeout=5).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.1)
        mlflow.set_tracking_uri(plain_uri)
        client = mlflow.MlflowClient()
        run = client.create_run("0")
        same("names and contents", through_the_appliance, logged_names(run.info.run_id))
    finally:
        client = kept
        mlflow.set_tracking_uri(tracking_uri)
        server.terminate()
        server.wait()
    # A caller that encodes correctly gets exactly its name.
    root = mlflow.get_run(run_id).info.artifact_uri.removeprefix("mlflow-artifacts:/")
    for name in NAMES:
        url = f"{tracking_uri}/api/2.0/mlflow-artifacts/artifacts/{urllib.parse.quote(f'{root}/raw/{name}', safe='')}"
        same(f"PUT {name}", requests.put(url, data=name.encode()).status_code, 200)
        same(f"GET {name}", requests.get(url).content.decode(), name)
    # Asked without the client, which refuses to list a name that looks encoded.
    listed = requests.get(f"{tracking_uri}/api/2.0/mlflow-artifacts/artifacts", params={"path": f"{root}/raw"}).json()
    same("raw names", {item["path"] for item in listed["files"]}, set(NAMES))


def figures_and_texts(run_id):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.plot([1, 2, 3])
    with mlflow.start_run(run_id=run_id):
        mlflow.log_figure(figure, "plots/figure.png")
        mlflow.log_dict({"ü": [1, 2]}, "dict.json")
        mlflow.log_text("größe", "text.txt")
    same("dict", mlflow.artifacts.load_dict(f"runs:/{run_id}/dict.json"), {"ü": [1, 2]})
    same("text", mlflow.artifacts.load_text(f"runs:/{run_id}/text.txt"), "größe")
    image = requests.get(f"{tracking_uri}/get-artifact", params={"run_id": run_id, "path": "plots/figure.png"})
    same("figure", (image.status_code, image.content[:4], image.headers["content-type"]), (200, b"\x89PNG", "image/png"))
    same("not a page", image.headers["content-disposition"], "attachment; filename=figure.png")


def models():
    import numpy
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(model, name="line", registered_model_name="registered line")
    same("logged model", numpy.allclose(mlflow.pyfunc.load_model(logged.model_uri).predict([[10.0]]), [21.0]), True)
    version = client.get_model_version("registered line", "1")
    same("source", version.source.startswith(("mlflow-artifacts:/", "models:/")), True)
    loaded = mlflow.sklearn.load_model("models:/registered line/1")
    same("registered model", numpy.allclose(loaded.predict([[20.0]]), [41.0]), True)
    target = tempfile.mkdtemp()
    mlflow.artifacts.download_artifacts("models:/registered line/1", dst_path=target)
    same("download", "MLmodel" in os.listdir(target), True)
    parameters = {"name": "registered line", "version": "1", "path": "MLmodel"}
    text = requests.get(f"{tracking_uri}/model-versions/get-artifact", params=parameters)
    same("model version's file", (text.status_code, "sklearn" in text.text), (200, True))
    url = f"{tracking_uri}/ajax-api/2.0/mlflow/logged-models/{logged.model_id}/artifacts"
    text = requests.get(f"{url}/files", params={"artifact_file_path": "MLmodel"})
    same("logged model's file", (text.status_code, "sklearn" in text.text), (200, True))
    listed = requests.get(f"{url}/directories").json()
    same("logged model's files", "MLmodel" in [item["path"] for item in listed["files"]], True)
    # A version that names a run's directory: its source has to be the real one for the server to accept it.
    with mlflow.start_run() as run:
        mlflow.log_text("x", "dir/x.txt")
    client.create_registered_model("by source")
    source = f"{run.info.artifact_uri}/dir"
    made = client.create_model_version("by source", source, run_id=run.info.run_id)
    same("its source", made.source, source)
    found = client.search_model_versions("name = 'by source'")
    same("as found", [version.source for version in found], [source])
    same("downloadable", client.get_model_version_download_uri("by source", "1"), source)


def what_the_ui_asks(run_id):
    api = f"{tracking_uri}/ajax-api/2.0/mlflow"
    listed = requests.get(f"{api}/artifacts/list", params={"run_uuid": run_id, "path": "plots"}).json()
    same("list", [item["path"] for item in listed["files"]], ["plots/figure.png"])
    same("root", listed["root_uri"], mlflow.get_run(run_id).info.artifact_uri)
    sent = requests.post(f"{api}/upload-artifact", params={"run_uuid": run_id, "path": "up/load ü.txt"}, data=b"hello")
    same("upload", (sent.status_code, sent.json()), (200, {}))
    same("uploaded", mlflow.artifacts.load_text(f"runs:/{run_id}/up/load ü.txt"), "hello")
    query = 'query { mlflowGetRun(input: {runId: "%s"}) { run { info { artifactUri } } } }' % run_id
    answer = requests.post(f"{tracking_uri}/graphql", json={"query": query}).json()
    same("GraphQL", answer["data"]["mlflowGetRun"]["run"]["info"]["artifactUri"], listed["root_uri"])
    # Managed MLflow reads its artifacts itself as well.
    direct = requests.get(f"{mlflow_uri}/get-artifact", params={"run_id": run_id, "path": "up/load ü.txt"})
    same("the server's own reading", (direct.status_code, direct.text), (200, "hello"))
    missing = requests.get(f"{tracking_uri}/get-artifact", params={"run_id": run_id, "path": "no such"})
    same("missing", (missing.status_code, missing.json()["error_code"]), (404, "RESOURCE_DOES_NOT_EXIST"))
    unknown = requests.get(f"{tracking_uri}/get-artifact", params={"run_id": "0" * 32, "path": "x"})
    same("unknown run", (unknown.status_code, unknown.json()["error_code"]), (404, "RESOURCE_DOES_NOT_EXIST"))
    escaping = requests.get(f"{tracking_uri}/get-artifact", params={"run_id": run_id, "path": "../../x"})
    same("escaping", (escaping.status_code, escaping.json()["error_code"]), (400, "INVALID_PARAMETER_VALUE"))


def attachments():
    @mlflow.trace
    def described():
        span = mlflow.get_current_active_span()
        span.set_outputs({"image": Attachment(content_type="image/png", content_bytes=b"\x89PNG attached")})

    described()
    mlflow.flush_trace_async_logging()
    trace_id = mlflow.get_last_active_trace_id()
    trace = client.get_trace(trace_id)
    location = trace.info.tags["mlflow.artifactLocation"]
    same("trace's location", location.startswith("mlflow-artifacts:/"), True)
    for _ in range(100):
        found = list(mlflow.artifacts.list_artifacts(f"{location}/attachments"))
        if found:
            break
        time.sleep(0.1)
    same("attachments", len(found), 1)
    name = os.path.basename(found[0].path)
    parameters = {"request_id": trace_id, "path": name}
    answer = requests.get(f"{tracking_uri}/ajax-api/2.0/mlflow/get-trace-artifact", params=parameters)
    same("attachment", (answer.status_code, answer.content), (200, b"\x89PNG attached"))


def deletion(run_id):
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    for path in ["gone/a.txt", "gone/deep/b.txt", "gone2/c.txt"]:
        client.log_text(run_id, "x", path)
    get_artifact_repository(mlflow.get_run(run_id).info.artifact_uri).delete_artifacts("gone")
    names = {item.path for item in client.list_artifacts(run_id)}
    same("deleted", ("gone" in names, "gone2" in names), (False, True))


mlflow.set_experiment("artifacts ü + 1")
with mlflow.start_run() as started:
    run_id = started.info.run_id
locations(run_id)
sizes(run_id)
odd_names(run_id)
figures_and_texts(run_id)
models()
what_the_ui_asks(run_id)
attachments()
deletion(run_id)
print(json.dumps({"checks": checks.made, "direct": len(DIRECT)}))
