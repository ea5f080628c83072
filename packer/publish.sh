#!/usr/bin/env bash
# Publishes the image that was baked last to the Parameter Store, in each region that has it.
#
# usage: publish.sh MANIFEST PREFIX ARCHITECTURE
# MANIFEST is Packer's. The parameter PREFIX/ARCHITECTURE gets the image's id. An empty PREFIX publishes nothing.
set -euo pipefail

manifest=$1 prefix=$2 architecture=$3
[ -n "$prefix" ] || exit 0

fail() {
    echo "$*" >&2
    exit 1
}

# Packer writes the entry of a run behind those of earlier ones, and `REGION:ID` of each region with commas between them.
images=$(sed -n 's/^ *"artifact_id": "\(.*\)",*$/\1/p' "$manifest" | tail -n 1)
[[ $images =~ ^[a-z0-9-]+:ami-[0-9a-z]+(,[a-z0-9-]+:ami-[0-9a-z]+)*$ ]] || fail "$manifest names no image"

name=$prefix/$architecture
for image in ${images//,/ }; do
    region=${image%%:*} id=${image#*:}
    # EC2 is asked whether there is such an image, because of the data type; that takes a moment, and what is refused
    # then is refused silently.
    aws ssm put-parameter --region "$region" --name "$name" --value "$id" --type String --data-type aws:ec2:image \
        --description "The newest SageMaker MLflow appliance for $architecture" --overwrite >/dev/null
    for _ in {1..30}; do
        found=$(aws ssm get-parameter --region "$region" --name "$name" --query Parameter.Value --output text 2>/dev/null || true)
        [ "$found" != "$id" ] || break
        sleep 2
    done
    [ "$found" = "$id" ] || fail "$name in $region did not become $id, but is ${found:-missing}"
    aws ssm add-tags-to-resource --region "$region" --resource-type Parameter --resource-id "$name" \
        --tags Key=project,Value=sagemaker-mlflow-appliance
    echo "$name in $region is $id"
done
