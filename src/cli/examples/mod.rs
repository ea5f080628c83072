//! The end of each help: examples to copy, and exit codes.
//!
//! Lines of examples are short, so that no terminal breaks them. Other paragraphs are one line each, which the terminal
//! breaks. Tests pass each example to the parser, with and without the commands that a feature adds.

#[cfg(feature = "deploy")]
mod deploy;

#[cfg(feature = "deploy")]
pub(super) use self::deploy::*;

/// The binary for instances has fewer commands, and its help mentions no other.
pub(super) fn appliance() -> String {
    let with = |is_there: bool, text: &'static str| if is_there { text } else { "" };
    let sandbox = with(
        cfg!(feature = "sandbox"),
        "  appliance sandbox                                       # try everything without AWS\n",
    );
    let generate = with(cfg!(feature = "generate"), "`appliance generate` writes completions and man pages. ");
    format!(
        "\
Examples:
{sandbox}  appliance targets                                       # list your tracking servers and apps
  appliance init                                          # write a commented appliance.toml
  appliance check --config appliance.toml                 # find problems first
  appliance serve --config appliance.toml
  appliance ui --config appliance.toml --open             # open AWS's own MLflow page
  appliance token new --file tokens.toml --name ci --role write
  appliance serve --help-all                              # all options

{generate}Output is coloured on terminals only; NO_COLOR and CLICOLOR_FORCE change that.

Exit codes: 0 success, 1 failure, 2 wrong usage, 78 invalid configuration (EX_CONFIG); the help of each command has more"
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

Exit codes: 0 graceful shutdown, 1 failure, 2 wrong usage, 78 invalid configuration";

pub(super) const CHECK: &str = "\
Examples:
  appliance check --config appliance.toml
  appliance check --config appliance.toml --offline       # only the configuration and its files
  appliance check --config appliance.toml --elsewhere     # the configuration of another machine
  AWS_PROFILE=research appliance check \\
    --resource-arn arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456
  appliance check --config appliance.toml --json |
    jq '.findings[] | select(.outcome == \"failure\")'

Exit codes: 0 no failure, warnings possible, 1 a check failed, 2 wrong usage, 78 invalid configuration";

#[cfg(feature = "assumptions")]
pub(super) const ASSUMPTIONS: &str = "\
Examples:
  appliance assumptions --list                            # the assumptions, without any request
  appliance assumptions --config appliance.toml           # asks before it creates anything
  appliance assumptions --config appliance.toml --read-only
  AWS_PROFILE=research appliance assumptions --yes --artifact-store auto \\
    --resource-arn arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456
  appliance assumptions --config appliance.toml --yes --json |
    jq '.assumptions[] | select(.result == \"does-not-hold\")'

Exit codes: 0 all tested assumptions hold, 1 nothing could be tested, the run was interrupted, or a removal failed, 2 wrong usage or no consent, 3 an assumption does not hold, 78 invalid configuration";

pub(super) const INIT: &str = "\
Examples:
  appliance init
  appliance init research.toml \\
    --resource-arn arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456
  appliance init - | less                                 # only print it

Exit codes: 0 success, 1 failure, such as an existing file, 2 wrong usage";

pub(super) const TARGETS: &str = "\
Examples:
  AWS_PROFILE=research appliance targets --region eu-west-1
  appliance targets --json | jq -r '.[] | select(.status == \"Created\") | .resource_arn'

The identity needs `sagemaker:ListMlflowTrackingServers` and `sagemaker:ListMlflowApps` on `*`. If one of them is missing, the command prints the rest, names the permission, and fails.

Exit codes: 0 success, 1 a list is missing, 2 wrong usage, 78 invalid configuration";

pub(super) const POLICY: &str = "\
Examples:
  appliance policy --role write POST /api/2.0/mlflow/experiments/delete
  appliance policy --role admin --deny 'webhooks:*' POST /api/2.0/mlflow/webhooks
  appliance policy --role read POST /graphql \\
    --data '{\"query\": \"{ mlflowGetRun { __typename } }\"}'
  appliance policy --config appliance.toml GET /api/2.0/mlflow/runs/get
  appliance policy --role read                            # all routes that `read` may use

Exit codes: 0 allowed, or a table was printed, 1 the role of `--role` is denied, 2 wrong usage, 78 invalid configuration";

pub(super) const HEALTHCHECK: &str = "\
Examples:
  appliance healthcheck
  appliance healthcheck --ready --timeout 1s
  appliance healthcheck https://mlflow.corp/_appliance/healthz

Exit codes: 0 the answer was 200, 1 another answer or none, 2 wrong usage, 78 invalid configuration";

pub(super) const UI: &str = "\
Examples:
  AWS_PROFILE=research appliance ui \\
    --resource-arn arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456
  appliance ui --config appliance.toml --target ads --open
  appliance ui --config appliance.toml --expires-in 30s --session 1h --json |
    jq -r .url

The identity needs `sagemaker:CreatePresignedMlflowAppUrl` or `sagemaker:CreatePresignedMlflowTrackingServerUrl` on the ARN. If it also has `sagemaker:DescribeMlflowApp` or `sagemaker:DescribeMlflowTrackingServer`, the command can report that a server has been stopped.

Exit codes: 0 success, 1 AWS created no URL or no browser was found, 2 wrong usage, 78 invalid configuration";

pub(super) const BOOTSTRAP: &str = "\
Examples:
  appliance bootstrap --dry-run                 # show each value and its origin
  appliance bootstrap --dry-run --json | jq '.values[] | select(.key == \"resource-arn\")'
  sudo appliance bootstrap                      # configure; systemd does this at each start
  sudo appliance bootstrap install              # install units, user and configuration

Values come from user data (TOML or JSON, with the keys of `appliance serve`), from parameters below a path, from instance tags `appliance:<key>`, and from the image's file; the first source with a value wins. The table [bootstrap] of user data may contain: parameters (a path), stack-name and logical-id (the resource that waits for the readiness signal), wait-handle, auto-scaling-group and lifecycle-hook, and target-group (the ARN of the group in which the load balancer has to find the instance healthy before the signal is sent). Tags may set those that are names.

Exit codes: 0 success, 1 failure, 2 wrong usage, 78 invalid configuration";

pub(super) const BOOTSTRAP_SIGNAL: &str = "\
Examples:
  sudo appliance bootstrap signal
  sudo appliance bootstrap signal --timeout 10m

Exit codes: 0 ready and all signals sent, 1 not ready or a signal failed, 2 wrong usage";

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
  appliance bootstrap install --from instance --root image # into an image

Another version upgrades in the same way: the configuration is kept, and a service that runs is restarted.

Exit codes: 0 success, 1 failure, 2 wrong usage";

pub(super) const BOOTSTRAP_UNINSTALL: &str = "\
Examples:
  sudo appliance bootstrap uninstall
  sudo appliance bootstrap uninstall --purge              # also configuration and tokens

Exit codes: 0 success, 1 failure, 2 wrong usage";

pub(super) const TOKEN: &str = "\
Examples:
  appliance token new --file tokens.toml --name ci --role write --expires 90d
  appliance token list --file tokens.toml
  appliance token revoke --file tokens.toml ci
  appliance serve --tokens tokens.toml …
  MLFLOW_TRACKING_URI=https://mlflow.corp MLFLOW_TRACKING_TOKEN=mlfa_… python train.py

The file contains only hashes. A running appliance reloads it within a minute, and at once after SIGHUP.

To keep the tokens in AWS, name the same secret here and in `serve --tokens`; `token new` creates it:
  appliance token new --file secretsmanager:mlflow-tokens --name ci --role write
  appliance serve --tokens secretsmanager:mlflow-tokens …

Several people may change a file or a secret at the same time, and lose nothing. Secrets Manager needs the permissions `secretsmanager:GetSecretValue`, `PutSecretValue`, `UpdateSecretVersionStage` and, for the first token, `CreateSecret`; the Parameter Store needs `ssm:GetParameterHistory`, `ssm:PutParameter` and, to list, `ssm:GetParameter`.

Exit codes: 0 success, 1 failure, 2 wrong usage, 78 invalid token file";

pub(super) const TOKEN_NEW: &str = "\
Examples:
  appliance token new --file tokens.toml --name ci --role write --expires 90d
  appliance token new --file tokens.toml --name alice --role read --targets research,ads
  export MLFLOW_TRACKING_TOKEN=$(appliance token new --file tokens.toml --name ci --role write)

Standard output has only the token, which clients send as MLFLOW_TRACKING_TOKEN. The file contains only its hash.

Exit codes: 0 success, 1 failure, 2 wrong usage, 78 invalid token file";

pub(super) const TOKEN_AWS: &str = "\
Examples:
  export MLFLOW_TRACKING_TOKEN=$(appliance token aws --audience https://mlflow.corp)
  appliance token aws --audience https://mlflow.corp --region eu-west-1 --expires 5m
  appliance token aws --audience https://mlflow.corp --json | jq -r .expires_in_s

The appliance needs `aws-audience` with the same text and a `[[caller]]` with the `principal` of this identity. It sends the request to the STS of the region only, and accepts the regions of its targets unless `aws-regions` names others. The identity needs no permission.

Exit codes: 0 success, 1 no AWS credentials were found, 2 wrong usage";

pub(super) const TOKEN_LIST: &str = "\
Examples:
  appliance token list --file tokens.toml
  appliance token list --file ssm:/mlflow/tokens
  appliance token list --file tokens.toml --json | jq -r '.[] | select(.expired) | .id'

Exit codes: 0 success, 1 failure, 2 wrong usage, 78 invalid token file";

pub(super) const TOKEN_REVOKE: &str = "\
Examples:
  appliance token revoke --file tokens.toml ci            # all tokens of this name
  appliance token revoke --file tokens.toml 0123456789    # the token with this id

Exit codes: 0 success, 1 failure, such as no such token, 2 wrong usage, 78 invalid token file";

pub(super) const LOGIN: &str = "\
Examples:
  appliance login https://mlflow.corp
  export MLFLOW_TRACKING_TOKEN=$(appliance login https://mlflow.corp --role read)
  appliance login https://mlflow.corp --name laptop --expires 7d --write ~/.mlflow-token

The page that confirms the token needs a person who has signed in there. Only this terminal sees the token: the address has only its hash, and the person types the code that the terminal shows. Standard output has only the token.

Exit codes: 0 success, 1 failure, such as no confirmation within 10 minutes, 2 wrong usage, 78 this appliance has no personal tokens";

pub(super) const LOGOUT: &str = "\
Examples:
  appliance logout https://mlflow.corp                    # the token in MLFLOW_TRACKING_TOKEN
  appliance logout https://mlflow.corp --file ~/.mlflow-token

Exit codes: 0 the token is no longer valid, 1 failure, 2 wrong usage, 78 it is not a personal token";

#[cfg(feature = "sandbox")]
pub(super) const SANDBOX: &str = "\
Examples:
  appliance sandbox
  appliance sandbox --mode serverless --port 8080
  appliance sandbox --mlflow-url http://127.0.0.1:8000 --mode tracking
  appliance sandbox --write-config appliance.toml         # for `appliance serve`
  appliance sandbox --json | jq -r .tokens.read

Exit codes: 0 graceful shutdown, 1 failure, 2 wrong usage, 78 a port is in use, no MLflow is at the URL, or a file cannot be written";

#[cfg(feature = "generate")]
pub(super) const GENERATE: &str = "\
Examples:
  appliance generate completions bash >appliance.bash
  appliance generate man-pages man
  appliance generate options >options.json

Exit codes: 0 success, 1 failure, 2 wrong usage";

#[cfg(feature = "generate")]
pub(super) const GENERATE_COMPLETIONS: &str = "\
Examples:
  source <(appliance generate completions bash)
  appliance generate completions zsh >_appliance          # a directory of $fpath
  appliance generate completions fish >~/.config/fish/completions/appliance.fish

Exit codes: 0 success, 1 failure, 2 wrong usage";

#[cfg(feature = "generate")]
pub(super) const GENERATE_MAN_PAGES: &str = "\
Examples:
  appliance generate man-pages man && man -l man/appliance-serve.1

Exit codes: 0 success, 1 failure, 2 wrong usage";

#[cfg(feature = "generate")]
pub(super) const GENERATE_OPTIONS: &str = "\
Examples:
  appliance generate options | jq -r '.options[].key'

Exit codes: 0 success, 1 failure, 2 wrong usage";

#[cfg(feature = "generate")]
pub(super) const GENERATE_REFERENCE: &str = "\
Examples:
  appliance generate reference >docs/reference/options.md

Exit codes: 0 success, 1 failure, 2 wrong usage";

#[cfg(test)]
mod shell;
#[cfg(test)]
mod tests;
