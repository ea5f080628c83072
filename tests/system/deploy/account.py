"""The emulated account: where moto answers, and clients of its services."""

import boto3

# launch.py says it once it is known.
ENDPOINT = {}


def aws(service, region):
    return boto3.client(service, endpoint_url=ENDPOINT["url"], region_name=region, aws_access_key_id="AKIASHIM", aws_secret_access_key="x")
