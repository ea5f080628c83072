"""Uses MLflow's own client, unmodified, through the appliance, and checks what comes back.

usage: mlflow_client.py TRACKING_URI
Prints one JSON line: {"calls": HTTP requests made, "checks": comparisons made}.
"""

import json
import os
import pathlib
import sys
import tempfile
import time
import uuid

import requests

import checks
from checks import same

CALLS = 0


def count_calls():
    send = requests.Session.send

    def counted(self, request, **arguments):
        global CALLS
        CALLS += 1
        return send(self, request, **arguments)

    requests.Session.send = counted


count_calls()
import mlflow  # noqa: E402  (after the calls are counted)
from mlflow.entities import Metric, Param, RunTag  # noqa: E402

mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
mark = uuid.uuid4().hex[:8]


def experiments():
    name = f"e2e {mark} + ü / 100% 'quoted' & more"
    experiment_id = client.create_experiment(name, tags={"purpose": "test"})
    same("experiment by name", client.get_experiment_by_name(name).experiment_id, experiment_id)
    client.set_experiment_tag(experiment_id, "note", "größer als 'alles' + 1")
    experiment = client.get_experiment(experiment_id)
    same("experiment tag", experiment.tags["note"], "größer als 'alles' + 1")
    found = client.search_experiments(filter_string="tags.purpose = 'test'", max_results=1000)
    same("experiment search", experiment_id in [e.experiment_id for e in found], True)
    client.rename_experiment(experiment_id, name + " renamed")
    same("renamed", client.get_experiment(experiment_id).name, name + " renamed")
    client.delete_experiment(experiment_id)
    same("deleted", client.get_experiment(experiment_id).lifecycle_stage, "deleted")
    client.restore_experiment(experiment_id)
    return experiment_id


def runs(experiment_id):
    mlflow.set_experiment(experiment_id=experiment_id)
    with mlflow.start_run(run_name=f"run {mark} = ü") as run:
        run_id = run.info.run_id
        mlflow.log_param("learning rate", 0.1)
        mlflow.log_params({"a": "1", "b": "x + y", "c": "ü%2F"})
        mlflow.log_metric("loss", 0.5, step=1)
        mlflow.log_metrics({"accuracy": 0.9, "f1": 0.8}, step=2)
        mlflow.set_tag("team", "r&d+ml")
        now = int(time.time() * 1000)
        client.log_batch(
            run_id,
            metrics=[Metric("batch", float(i), now + i, i) for i in range(900)],
            params=[Param(f"p{i}", str(i)) for i in range(90)],
            tags=[RunTag(f"t{i}", "v" * 100) for i in range(90)],
        )
    data = client.get_run(run_id).data
    same("params", {k: data.params[k] for k in ("learning rate", "a", "b", "c")}, {"learning rate": "0.1", "a": "1", "b": "x + y", "c": "ü%2F"})
    same("metrics", (data.metrics["loss"], data.metrics["accuracy"], data.metrics["batch"]), (0.5, 0.9, 899.0))
    same("tags", (data.tags["team"], data.tags["t89"]), ("r&d+ml", "v" * 100))
    same("batch size", len(client.get_metric_history(run_id, "batch")), 900)
    found = client.search_runs([experiment_id], "params.b = 'x + y' and metrics.loss < 1 and tags.team = 'r&d+ml'")
    same("run search", [r.info.run_id for r in found], [run_id])
    same("no run", client.search_runs([experiment_id], "params.b = 'x y'"), [])
    frame = mlflow.search_runs([experiment_id], order_by=["metrics.accuracy DESC"])
    same("run frame", frame["run_id"].tolist(), [run_id])
    client.delete_run(run_id)
    same("deleted run", client.get_run(run_id).info.lifecycle_stage, "deleted")
    client.restore_run(run_id)
    return run_id


def artifacts(run_id):
    files = {
        "empty.txt": b"",
        "one byte": b"1",
        "plus+and space ü = , ; & 100% .bin": bytes(range(256)),
        "large.bin": os.urandom(3 << 20),
    }
    with tempfile.TemporaryDirectory() as directory:
        for name, content in files.items():
            path = pathlib.Path(directory, name)
            path.write_bytes(content)
            client.log_artifact(run_id, str(path), "some dir")
        names = {os.path.basename(item.path) for item in client.list_artifacts(run_id, "some dir")}
        same("artifact names", names, set(files))
        back = pathlib.Path(client.download_artifacts(run_id, "some dir", directory))
        for name, content in files.items():
            same(f"artifact {name}", (back / name).read_bytes() == content, True)
    client.log_dict(run_id, {"ü": [1, 2]}, "dict.json")
    same("dict", mlflow.artifacts.load_dict(f"runs:/{run_id}/dict.json"), {"ü": [1, 2]})


def registry(run_id):
    name = f"model {mark} + ü"
    client.create_registered_model(name, tags={"k": "v + w"}, description="größer")
    version = client.create_model_version(name, f"runs:/{run_id}/model", run_id=run_id, tags={"s": "t"})
    same("version", version.version, "1")
    client.set_registered_model_alias(name, "champion", "1")
    same("by alias", client.get_model_version_by_alias(name, "champion").version, "1")
    client.update_model_version(name, "1", description="changed")
    same("description", client.get_model_version(name, "1").description, "changed")
    same("tags", client.get_registered_model(name).tags, {"k": "v + w"})
    found = client.search_registered_models(f"name = '{name}'")
    same("model search", [m.name for m in found], [name])
    found = client.search_model_versions(f"run_id = '{run_id}'")
    same("version search", [(v.name, v.version) for v in found], [(name, "1")])
    same("latest", [v.version for v in client.get_latest_versions(name)], ["1"])
    client.delete_registered_model_alias(name, "champion")
    client.delete_model_version(name, "1")
    client.delete_registered_model(name)
    same("gone", client.search_registered_models(f"name = '{name}'"), [])


def traces(experiment_id):
    @mlflow.trace(name="outer ü", attributes={"a": "b + c"})
    def outer(x):
        with mlflow.start_span("inner") as span:
            span.set_inputs({"x": x})
            span.set_outputs({"y": x + 1})
        return x + 1

    same("traced function", outer(1), 2)
    mlflow.flush_trace_async_logging()
    for _ in range(100):
        found = client.search_traces(locations=[experiment_id])
        if found:
            break
        time.sleep(0.1)
    same("traces", len(found), 1)
    trace = client.get_trace(found[0].info.trace_id)
    same("spans", sorted(span.name for span in trace.data.spans), ["inner", "outer ü"])
    client.set_trace_tag(trace.info.trace_id, "tag", "v + w")
    same("trace tag", client.get_trace(trace.info.trace_id).info.tags["tag"], "v + w")


def errors():
    try:
        client.get_run("0" * 32)
    except mlflow.exceptions.MlflowException as error:
        same("error code", error.error_code, "RESOURCE_DOES_NOT_EXIST")
    else:
        sys.exit("a missing run must be an error")


experiment_id = experiments()
run_id = runs(experiment_id)
artifacts(run_id)
registry(run_id)
traces(experiment_id)
errors()
print(json.dumps({"calls": CALLS, "checks": checks.made}))
