//! The examples of `appliance deploy`.

pub(crate) const DEPLOY: &str = "\
Examples:
  appliance deploy plan --mode serverless
  appliance deploy apply --mode tracking --config tracking.toml
  appliance deploy apply --mode serverless --parameter MinInstances=2
  eval \"$(appliance deploy outputs --mode serverless --env)\"
  appliance deploy destroy --mode tracking

Exit codes: 0 success, 1 failure, 2 wrong usage, 78 invalid configuration";

pub(crate) const DEPLOY_PLAN: &str = "\
Examples:
  appliance deploy plan --mode serverless
  appliance deploy plan --mode serverless --json | jq 'map_values(.action)'
  appliance deploy plan --mode tracking --config tracking.toml --detailed-exitcode

Exit codes: 0 success, 1 failure, 2 wrong usage or, with `--detailed-exitcode`, changes, 78 invalid configuration";

pub(crate) const DEPLOY_APPLY: &str = "\
Examples:
  appliance deploy apply --mode serverless
  appliance deploy apply --mode tracking --config tracking.toml --yes
  appliance deploy apply --mode tracking --tag CostCenter=42 \\
    --role-arn arn:aws:iam::111122223333:role/cloudformation
  appliance deploy apply --mode serverless --yes --json | jq -r .Url
  appliance deploy apply --mode serverless --compute fargate \\
    --parameter ContainerImage=registry.example.com/mlflow-appliance:0.1.0

Ctrl-C stops only the command, not the update; the same command continues to watch it.

Exit codes: 0 success, 1 failure or not confirmed, 2 wrong usage, 78 invalid configuration";

pub(crate) const DEPLOY_DESTROY: &str = "\
Examples:
  appliance deploy destroy --mode tracking
  appliance deploy destroy --mode serverless --shared     # also the network
  appliance deploy destroy --mode tracking --compute instances    # after a move to Fargate

Exit codes: 0 success, 1 failure or not confirmed, 2 wrong usage, 78 invalid configuration";

pub(crate) const DEPLOY_STATUS: &str = "\
Examples:
  appliance deploy status --mode serverless
  appliance deploy status --mode serverless --drift       # also changes by hand
  appliance deploy status --mode serverless --json | jq 'map_values(.status)'

Exit codes: 0 success, 1 failure, 2 wrong usage, 78 invalid configuration";

pub(crate) const DEPLOY_OUTPUTS: &str = "\
Examples:
  appliance deploy outputs --mode serverless
  appliance deploy outputs --mode serverless --json | jq -r '.[].Url // empty'
  eval \"$(appliance deploy outputs --mode serverless --env)\"

Exit codes: 0 success, 1 failure or, with `--env`, no appliance yet, 2 wrong usage, 78 invalid configuration";

pub(crate) const DEPLOY_COST: &str = "\
Examples:
  appliance deploy cost --mode tracking
  appliance deploy cost --domain --parameter MinInstances=3
  appliance deploy cost --compute fargate --parameter TaskSize=1024/2048 --parameter MinTasks=2
  appliance deploy cost --json | jq .sum

Exit codes: 0 success, 1 failure, 2 wrong usage, 78 invalid configuration";

pub(crate) const DEPLOY_EXPORT: &str = "\
Examples:
  appliance deploy export templates
  aws cloudformation validate-template --template-body file://templates/mlflow.yaml

Exit codes: 0 success, 1 failure, 2 wrong usage";
