//! What stands at the end of each help: examples to copy, and exit codes to rely on.
//!
//! Lines of examples are short enough not to be broken; what is no example is one line, however long, for the terminal
//! to break where it wants. Tests give each example to the parser, with and without the commands that a feature adds.

/// The binary for instances lacks some commands, so its help does not mention them.
pub(super) fn appliance() -> String {
    let with = |is_there: bool, text: &'static str| if is_there { text } else { "" };
    let sandbox = with(
        cfg!(feature = "sandbox"),
        "  appliance sandbox                                       # try all of it here, without AWS\n",
    );
    let generate = with(
        cfg!(feature = "generate"),
        "For packages, and for your shell: `appliance generate --help` has completions and man pages. ",
    );
    format!(
        "\
Examples:
{sandbox}  appliance check --config appliance.toml                 # would it work, and if not, why
  appliance serve --config appliance.toml
  appliance ui --config appliance.toml --open             # AWS's own page of MLflow
  appliance token new --file tokens.toml --name ci --role write
  appliance serve --help

{generate}Colours are for terminals only; NO_COLOR and CLICOLOR_FORCE are obeyed.

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 what was said has to change first (EX_CONFIG); each command's help says what that means"
    )
}

pub(super) const SERVE: &str = "\
Examples:
  appliance serve \\
    --resource-arn arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456
  AWS_PROFILE=research appliance serve --config appliance.toml
  appliance serve --config appliance.toml --listen 0.0.0.0:5000 --tokens tokens.toml
  appliance serve --config appliance.toml --otlp-endpoint http://127.0.0.1:4318
  MLFLOW_TRACKING_URI=http://127.0.0.1:5000 python train.py

Exit codes: 0 stopped in order, 1 failed, 2 wrong usage, 78 the configuration has to change";

pub(super) const CHECK: &str = "\
Examples:
  appliance check --config appliance.toml
  appliance check --config appliance.toml --offline       # the configuration and its files
  appliance check --config appliance.toml --elsewhere     # the configuration of another machine
  AWS_PROFILE=research appliance check \\
    --resource-arn arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456
  appliance check --config appliance.toml --json |
    jq '.findings[] | select(.outcome == \"failure\")'

Exit codes: 0 all is well or needs a look at most, 1 something does not work, 2 wrong usage, 78 the configuration has to change";

pub(super) const UI: &str = "\
Examples:
  AWS_PROFILE=research appliance ui \\
    --resource-arn arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456
  appliance ui --config appliance.toml --target ads --open
  appliance ui --config appliance.toml --expires-in 30s --session 1h --json |
    jq -r .url

The identity needs `sagemaker:CreatePresignedMlflowAppUrl` or `sagemaker:CreatePresignedMlflowTrackingServerUrl` on the ARN. If it also has `sagemaker:DescribeMlflowApp` or `sagemaker:DescribeMlflowTrackingServer`, it is told when there is nothing to open because a server has been stopped.

Exit codes: 0 done, 1 AWS gave no URL or no browser was found, 2 wrong usage, 78 the configuration has to change";

pub(super) const BOOTSTRAP: &str = "\
Examples:
  appliance bootstrap --dry-run                 # what would be configured, and where it is from
  appliance bootstrap --dry-run --json | jq '.values[] | select(.key == \"resource-arn\")'
  sudo appliance bootstrap                      # do it; systemd does, at each start
  sudo appliance bootstrap install              # put units, user and configuration here

Values come from user data (TOML or JSON, with the keys of `appliance serve`), from parameters below a path, from instance tags `appliance:<key>`, and from the image's file; the first that says something wins. The table [bootstrap] of user data may hold: parameters (a path), stack-name and logical-id (whom CloudFormation waits for), wait-handle, auto-scaling-group and lifecycle-hook, and target-group (the ARN of the group in which the load balancer has to find the instance healthy before success is told). Tags may set those that are names.

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 what was said has to change first";

pub(super) const BOOTSTRAP_SIGNAL: &str = "\
Examples:
  sudo appliance bootstrap signal
  sudo appliance bootstrap signal --timeout 10m

Exit codes: 0 it is ready and everybody knows, 1 it is not, or somebody could not be told, 2 wrong usage";

pub(super) const BOOTSTRAP_STATUS: &str = "\
Examples:
  sudo appliance bootstrap status
  sudo appliance bootstrap status --json | jq -r .state
  sudo appliance bootstrap status --watch

Exit codes: 0 ready, 1 not ready, 2 wrong usage";

pub(super) const BOOTSTRAP_INSTALL: &str = "\
Examples:
  sudo appliance bootstrap install                        # on an EC2 instance
  sudo appliance bootstrap install --from file --start    # on any machine with systemd
  appliance bootstrap install --from instance --root image # into an image that is being made

Exit codes: 0 done, 1 failed, 2 wrong usage";

pub(super) const BOOTSTRAP_UNINSTALL: &str = "\
Examples:
  sudo appliance bootstrap uninstall
  sudo appliance bootstrap uninstall --purge              # configuration and tokens as well

Exit codes: 0 done, 1 failed, 2 wrong usage";

#[cfg(feature = "deploy")]
pub(super) const DEPLOY: &str = "\
Examples:
  appliance deploy plan --mode serverless
  appliance deploy apply --mode tracking --config tracking.toml
  appliance deploy apply --mode serverless --parameter MinInstances=2
  eval \"$(appliance deploy outputs --mode serverless --env)\"
  appliance deploy destroy --mode tracking

Exit codes: 0 done, 1 failed, 2 wrong usage or, of `plan`, there are changes, 78 what was said has to change first";

#[cfg(feature = "deploy")]
pub(super) const DEPLOY_PLAN: &str = "\
Examples:
  appliance deploy plan --mode serverless
  appliance deploy plan --mode serverless --json | jq 'map_values(.action)'
  appliance deploy plan --mode tracking --config tracking.toml || echo there is something to do

Exit codes: 0 nothing would change, 1 failed, 2 there are changes, or wrong usage, 78 what was said has to change first";

#[cfg(feature = "deploy")]
pub(super) const DEPLOY_APPLY: &str = "\
Examples:
  appliance deploy apply --mode serverless
  appliance deploy apply --mode tracking --config tracking.toml --yes
  appliance deploy apply --mode tracking --tag CostCenter=42 \\
    --role-arn arn:aws:iam::111122223333:role/cloudformation
  appliance deploy apply --mode serverless --yes --json | jq -r .Url

Ctrl-C only stops watching; the same command takes up where it is.

Exit codes: 0 done, 1 failed or not agreed to, 2 wrong usage, 78 what was said has to change first";

#[cfg(feature = "deploy")]
pub(super) const DEPLOY_DESTROY: &str = "\
Examples:
  appliance deploy destroy --mode tracking
  appliance deploy destroy --mode serverless --shared     # the network as well

Exit codes: 0 done, 1 failed or not agreed to, 2 wrong usage, 78 what was said has to change first";

#[cfg(feature = "deploy")]
pub(super) const DEPLOY_STATUS: &str = "\
Examples:
  appliance deploy status --mode serverless
  appliance deploy status --mode serverless --drift       # what was changed by hand
  appliance deploy status --mode serverless --json | jq 'map_values(.status)'

Exit codes: 0 shown, 1 failed, 2 wrong usage, 78 what was said has to change first";

#[cfg(feature = "deploy")]
pub(super) const DEPLOY_OUTPUTS: &str = "\
Examples:
  appliance deploy outputs --mode serverless
  appliance deploy outputs --mode serverless --json | jq -r '.[].Url // empty'
  eval \"$(appliance deploy outputs --mode serverless --env)\"

Exit codes: 0 shown, 1 failed or, with `--env`, there is no appliance yet, 2 wrong usage, 78 what was said has to change first";

#[cfg(feature = "deploy")]
pub(super) const DEPLOY_COST: &str = "\
Examples:
  appliance deploy cost
  appliance deploy cost --domain --parameter MinInstances=3
  appliance deploy cost --json | jq .sum

Exit codes: 0 shown, 1 failed, 2 wrong usage, 78 what was said has to change first";

#[cfg(feature = "deploy")]
pub(super) const DEPLOY_EXPORT: &str = "\
Examples:
  appliance deploy export templates
  aws cloudformation validate-template --template-body file://templates/mlflow.yaml

Exit codes: 0 done, 1 failed, 2 wrong usage";

pub(super) const TOKEN: &str = "\
Examples:
  appliance token new --file tokens.toml --name ci --role write --expires 90d
  appliance token list --file tokens.toml
  appliance token revoke --file tokens.toml ci
  appliance serve --tokens tokens.toml …
  MLFLOW_TRACKING_URI=https://mlflow.corp MLFLOW_TRACKING_TOKEN=mlfa_… python train.py

Only hashes are kept in the file. A running appliance reads it again by itself; SIGHUP makes it do so at once.

From AWS instead of a file, with `--tokens ssm:/mlflow/tokens`:
  aws ssm put-parameter --type SecureString --overwrite \\
    --name /mlflow/tokens --value file://tokens.toml

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 what was said, or the file, has to change first";

pub(super) const TOKEN_NEW: &str = "\
Examples:
  appliance token new --file tokens.toml --name ci --role write --expires 90d
  appliance token new --file tokens.toml --name alice --role read --targets research,ads
  appliance token new --file tokens.toml --name ci --role write --json | jq -r .token

Clients send it as MLFLOW_TRACKING_TOKEN. Only its hash is kept in the file.

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 what was said, or the file, has to change first";

pub(super) const TOKEN_LIST: &str = "\
Examples:
  appliance token list --file tokens.toml
  appliance token list --file tokens.toml --json | jq -r '.[] | select(.expired) | .id'

Exit codes: 0 shown, 1 failed, 2 wrong usage, 78 the file cannot be read";

pub(super) const TOKEN_REVOKE: &str = "\
Examples:
  appliance token revoke --file tokens.toml ci            # all of this name
  appliance token revoke --file tokens.toml 0123456789    # the one of this id

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 there is no such token, or the file cannot be read";

#[cfg(feature = "sandbox")]
pub(super) const SANDBOX: &str = "\
Examples:
  appliance sandbox
  appliance sandbox --mode serverless --port 8080
  appliance sandbox --mlflow-url http://127.0.0.1:8000 --mode tracking
  appliance sandbox --json | jq -r .appliances.tracking

Exit codes: 0 interrupted and stopped in order, 1 failed, 2 wrong usage, 78 a port is taken";

#[cfg(feature = "generate")]
pub(super) const GENERATE: &str = "\
Examples:
  appliance generate completions bash >appliance.bash
  appliance generate man-pages man
  appliance generate options >options.json

Exit codes: 0 done, 1 failed, 2 wrong usage";

#[cfg(feature = "generate")]
pub(super) const GENERATE_COMPLETIONS: &str = "\
Examples:
  source <(appliance generate completions bash)
  appliance generate completions zsh >_appliance          # in a directory of $fpath
  appliance generate completions fish >~/.config/fish/completions/appliance.fish

Exit codes: 0 done, 1 failed, 2 wrong usage";

#[cfg(feature = "generate")]
pub(super) const GENERATE_MAN_PAGES: &str = "\
Examples:
  appliance generate man-pages man && man -l man/appliance-serve.1

Exit codes: 0 done, 1 failed, 2 wrong usage";

#[cfg(feature = "generate")]
pub(super) const GENERATE_OPTIONS: &str = "\
Examples:
  appliance generate options | jq -r '.options[].key'

Exit codes: 0 done, 1 failed, 2 wrong usage";

#[cfg(feature = "generate")]
pub(super) const GENERATE_REFERENCE: &str = "\
Examples:
  appliance generate reference >docs/reference/options.md

Exit codes: 0 done, 1 failed, 2 wrong usage";

#[cfg(test)]
mod shell;
#[cfg(test)]
mod tests;
