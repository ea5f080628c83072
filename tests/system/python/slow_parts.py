"""Uploads a file in parts with MLflow's own client over a link so slow that credentials end on the way.

usage: slow_parts.py TRACKING_URI SECONDS
Each part begins SECONDS after the one before it. Prints one JSON line: {"checks": comparisons made, "parts": where the
parts went, "seconds": how long the upload took}.
"""

import json
import os
import pathlib
import sys
import tempfile
import time

PART = 5 << 20
os.environ["GIT_PYTHON_REFRESH"] = "quiet"
os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] = "true"
os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = str(PART)
os.environ["MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"] = str(PART)
# One after the other, as over a slow link.
os.environ["MLFLOW_ENABLE_MULTIPART_UPLOAD"] = "true"

import mlflow  # noqa: E402  (after the variables that it reads)
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository  # noqa: E402

import checks  # noqa: E402
from checks import same  # noqa: E402

tracking_uri, pause = sys.argv[1], float(sys.argv[2])
assert not [name for name in os.environ if name.startswith("AWS_")], "the client must have no AWS configuration"
sent = []
upload = HttpArtifactRepository._upload_part


def slowly(credential, local_file, size, start_byte):
    time.sleep(pause * credential.part_number)
    sent.append(credential.url.split("/api/")[0].split("?")[0])
    return upload(credential, local_file, size, start_byte)


HttpArtifactRepository._upload_part = staticmethod(slowly)
mlflow.set_tracking_uri(tracking_uri)
client = mlflow.MlflowClient()
run = client.create_run("0")
path = pathlib.Path(tempfile.mkdtemp()) / "größe 1.bin"
content = b"".join(number.to_bytes(8, "big") * 131072 for number in range(22))
path.write_bytes(content)
began = time.monotonic()
client.log_artifact(run.info.run_id, str(path), "in parts")
took = time.monotonic() - began
same("parts", len(sent), 5)
same("longer than the credentials live", took > 4 * pause, True)
back = client.download_artifacts(run.info.run_id, f"in parts/{path.name}", tempfile.mkdtemp())
same("content", pathlib.Path(back).read_bytes() == content, True)
print(json.dumps({"checks": checks.made, "parts": sorted(set(sent)), "seconds": round(took, 1)}))
