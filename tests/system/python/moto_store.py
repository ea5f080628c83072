"""Puts the artifact gateway before moto's S3 and checks from behind, with boto3, what it did there.

usage: moto_store.py S3_PORT APPLIANCE_URL KMS_KEY
The appliance keeps artifacts in s3://bucket/team/mlflow and has been told where S3 will be.
Prints one JSON line: {"checks": comparisons made}.
"""

import json
import sys
import urllib.parse

import boto3
import requests
from moto.server import ThreadedMotoServer

import checks
from checks import same

port, url, kms_key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
service = f"{url}/api/2.0/mlflow-artifacts"


def listed(path):
    answer = requests.get(f"{service}/artifacts", params={"path": path})
    same(f"list {path}", answer.status_code, 200)
    return [(item["path"], item["is_dir"], item.get("file_size")) for item in answer.json()["files"]]


server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
server.start()
s3 = boto3.client(
    "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
)
missing = requests.put(f"{service}/artifacts/x", data=b"x")
same("no bucket", (missing.status_code, missing.headers["x-appliance-error"]), (500, "artifact-store-misconfigured"))
s3.create_bucket(Bucket="bucket")

names = ["plain.txt", "a b.txt", "plus+.txt", "100% .txt", "a=b,c;d&e.txt", "größe 価格.txt", "hash#.txt", "pct%41.txt", "q'uo\"te*.txt", "~-_."]
for name in names:
    target = f"{service}/artifacts/{urllib.parse.quote(f'run/odd/{name}', safe='')}"
    same(f"PUT {name}", requests.put(target, data=name.encode(), headers={"Content-Type": "text/x-test"}).status_code, 200)
    head = s3.head_object(Bucket="bucket", Key=f"team/mlflow/run/odd/{name}")
    same(f"type of {name}", head["ContentType"], "text/x-test")
    same(f"encryption of {name}", (head["ServerSideEncryption"], head["SSEKMSKeyId"]), ("aws:kms", kms_key))
    answer = requests.get(target)
    same(f"GET {name}", (answer.content.decode(), answer.headers["content-type"]), (name, "text/x-test"))
    answer = requests.get(target, headers={"Range": "bytes=1-2"})
    same(f"part of {name}", (answer.status_code, answer.content), (206, name.encode()[1:3]))
    answer = requests.head(target)
    same(f"HEAD {name}", (answer.status_code, answer.headers["content-length"]), (200, str(len(name.encode()))))
    answer = requests.get(target, headers={"If-None-Match": head["ETag"]})
    same(f"unchanged {name}", (answer.status_code, answer.content), (304, b""))
same("names", listed("run/odd"), sorted((name, False, len(name.encode())) for name in names))
same("folders", listed("run"), [("odd", True, None)])
same("nothing", listed("run/none"), [])
same("missing", requests.get(f"{service}/artifacts/run/none").json()["error_code"], "RESOURCE_DOES_NOT_EXIST")

# More than a page of either kind of entry, and a neighbour whose name begins the same.
for number in range(1005):
    s3.put_object(Bucket="bucket", Key=f"team/mlflow/many/{number:04}/x", Body=b"x")
s3.put_object(Bucket="bucket", Key="team/mlflow/many2/x", Body=b"x")
s3.put_object(Bucket="bucket", Key="team/mlflow/many", Body=b"an object beside its folder")
same("pages", [name for name, is_dir, _ in listed("many") if is_dir], [f"{number:04}" for number in range(1005)])
same("DELETE", requests.delete(f"{service}/artifacts/many").json(), {})
left = [item["Key"] for item in s3.list_objects_v2(Bucket="bucket", Prefix="team/mlflow/many").get("Contents", [])]
same("left", left, ["team/mlflow/many2/x"])
same("DELETE again", requests.delete(f"{service}/artifacts/many").status_code, 200)

# An upload in parts, and one that is given up.
document = {"path": "/home/me/big file.bin", "num_parts": 2}
created = requests.post(f"{service}/mpu/create/run/parts", json=document).json()
parts = []
for credential, content in zip(created["credentials"], [b"a" * (5 << 20), b"b" * 10]):
    answer = requests.put(credential["url"], data=content, headers=credential["headers"])
    parts.append({"part_number": credential["part_number"], "etag": answer.headers["ETag"], "url": credential["url"]})
same("nothing yet", listed("run/parts"), [])
document = {"path": "big file.bin", "upload_id": created["upload_id"], "parts": parts}
wrong = requests.post(f"{service}/mpu/complete/run/parts", json={**document, "parts": parts[1:]})
same("out of order", (wrong.status_code, wrong.json()["error_code"]), (400, "INVALID_PARAMETER_VALUE"))
same("complete", requests.post(f"{service}/mpu/complete/run/parts", json=document).json(), {})
same("whole", listed("run/parts"), [("big file.bin", False, (5 << 20) + 10)])
presigned = requests.get(f"{service}/presigned/run/parts/big%20file.bin").json()
same("size", presigned["file_size"], (5 << 20) + 10)
content = requests.get(presigned["url"], headers={**presigned["headers"], "Range": "bytes=5242878-5242881"})
same("by URL", content.content, b"aabb")
created = requests.post(f"{service}/mpu/create/run/given-up", json={"path": "x", "num_parts": 1}).json()
document = {"path": "x", "upload_id": created["upload_id"]}
same("abort", requests.post(f"{service}/mpu/abort/run/given-up", json=document).json(), {})
same("no uploads left", "Uploads" in s3.list_multipart_uploads(Bucket="bucket"), False)

outside = [item["Key"] for item in s3.list_objects_v2(Bucket="bucket")["Contents"] if not item["Key"].startswith("team/mlflow/")]
same("outside of the prefix", outside, [])
server.stop()
print(json.dumps({"checks": checks.made}))
