"""MLflow's own client on a host that knows a URL and a token, and nothing of AWS.

usage: client.py URL, with MLFLOW_TRACKING_TOKEN
"""

import json
import sys

import mlflow

mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("rehearsal")
with mlflow.start_run() as run:
    mlflow.log_param("p", "1")
    for step in range(3):
        mlflow.log_metric("m", step / 2, step=step)
    mlflow.log_text("from a third host", "notes/first.txt")
client = mlflow.MlflowClient()
found = client.get_run(run.info.run_id).data
history = [metric.value for metric in client.get_metric_history(run.info.run_id, "m")]
assert found.params == {"p": "1"} and history == [0.0, 0.5, 1.0], (found, history)
assert run.info.artifact_uri.startswith("mlflow-artifacts:/"), run.info.artifact_uri
text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/first.txt")
assert text == "from a third host", text
client.create_registered_model("rehearsed")
assert [model.name for model in client.search_registered_models()] == ["rehearsed"]
print(json.dumps({"metrics": len(history), "artifacts": 1}))
