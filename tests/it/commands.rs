//! Commands for people at a shell: `init`, `targets`, `policy` and `healthcheck`.

use std::fs;

use serde_json::{Value, json};

use crate::support::appliance::{ACCESS_KEY_ID, APP_ARN, Builder, SECRET_ACCESS_KEY, TRACKING_ARN, run};
use crate::support::tokens::TokenFile;
use crate::support::upstream::{Recorded, Upstream};
use crate::support::{Message, quiet_port};

/// The exit code, standard output and standard error of a command.
fn ran(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let output = run(arguments, variables);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn init_writes_a_file_that_passes_the_check_and_never_overwrites_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.toml");
    let file = file.to_str().unwrap();
    let (code, _, said) = ran(&["init", file, "--resource-arn", TRACKING_ARN], &[]);
    assert!(code == 0 && said.contains(&format!("`appliance check --config {file}`")), "{said}");
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains("\n# log-format = \"text\"\n") && text.contains("# ---- Callers ----"), "{text}");
    let variables = [("APPLIANCE_LISTEN", "127.0.0.1:0")];
    let (code, stdout, said) = ran(&["check", "--offline", "--config", file], &variables);
    assert_eq!(code, 0, "{stdout}{said}");
    let (code, _, said) = ran(&["init", file, "--resource-arn", APP_ARN], &[]);
    assert!(code == 1 && said.contains("exists already"), "{said}");
    assert_eq!(fs::read_to_string(file).unwrap(), text);
    // Without an ARN, that is the only thing that is missing.
    let (code, stdout, _) = ran(&["init", "-"], &[]);
    let other = directory.path().join("other.toml");
    fs::write(&other, &stdout).unwrap();
    let (checked, _, said) = ran(&["check", "--offline", "--config", other.to_str().unwrap()], &variables);
    assert!(code == 0 && checked == 78 && said.contains("error: 1 problem") && said.contains("resource-arn"), "{said}");
    let (code, _, said) = ran(&["init", "-", "--resource-arn", "arn:aws:s3:::x"], &[]);
    assert!(code == 2 && said.contains("--resource-arn"), "{said}");
}

/// A SageMaker API with two tracking servers, one on a page, and an app that this identity may perhaps not list.
fn sagemaker(may_list_apps: bool) -> Upstream {
    Upstream::plain(move |request, wire| {
        let input: Value = serde_json::from_slice(&request.body).unwrap();
        let server = |name: &str| {
            json!({"TrackingServerArn": format!("arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/{name}"),
                   "TrackingServerName": name, "TrackingServerStatus": "Created", "IsActive": "Active",
                   "MlflowVersion": "3.0", "CreationTime": 1.0})
        };
        let answer = match (request.header("x-amz-target"), input["NextToken"].as_str()) {
            ("SageMaker.ListMlflowTrackingServers", None) => {
                json!({"TrackingServerSummaries": [server("ts1")], "NextToken": "more"})
            }
            ("SageMaker.ListMlflowTrackingServers", Some("more")) => {
                json!({"TrackingServerSummaries": [server("ts2")]})
            }
            ("SageMaker.ListMlflowApps", None) if may_list_apps => {
                json!({"Summaries": [{"Arn": APP_ARN, "Name": "team", "Status": "Creating", "MlflowVersion": "3.10"}]})
            }
            ("SageMaker.ListMlflowApps", None) => {
                let text =
                    "User: arn:aws:iam::123456789012:user/ada is not authorized to perform: sagemaker:ListMlflowApps";
                let refusal = json!({"__type": "AccessDeniedException", "Message": text});
                return wire.answer("400 Bad Request", refusal.to_string());
            }
            other => panic!("{other:?}"),
        };
        wire.answer("200 OK", answer.to_string())
    })
}

#[test]
fn targets_lists_servers_and_apps_with_their_arns() {
    let server = sagemaker(true);
    let variables = [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL_SAGEMAKER", &server.url()),
    ];
    let (code, table, said) = ran(&["targets", "--region", "eu-west-1"], &variables);
    assert_eq!((code, said.as_str()), (0, ""), "{table}");
    let rows: Vec<Vec<_>> =
        table.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    assert_eq!(rows[0], ["NAME", "KIND", "STATUS", "VERSION", "ARN"], "{table}");
    assert_eq!(rows.len(), 4, "{table}");
    assert!(table.contains("mlflow-tracking-server/ts2\n") && rows[3].last() == Some(&APP_ARN), "{table}");
    let (_, list, _) = ran(&["targets", "--region", "eu-west-1", "--json"], &variables);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        list[2],
        json!({"name": "team", "kind": "app", "status": "Creating", "version": "3.10", "resource_arn": APP_ARN})
    );
    let is_signed = |request: &Recorded| request.header("authorization").contains("/eu-west-1/sagemaker/aws4_request");
    assert!(server.requests().iter().all(is_signed));
}

#[test]
fn targets_names_the_missing_permission_beside_what_it_knows() {
    let server = sagemaker(false);
    let variables = [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_SAGEMAKER", &server.url()),
    ];
    let (code, table, said) = ran(&["targets"], &variables);
    assert!(code == 1 && table.contains("/ts1") && table.contains("/ts2"), "{table}");
    assert!(
        said.contains("is not authorized") && said.contains("hint: allow `sagemaker:ListMlflowApps` on `*`"),
        "{said}"
    );
}

#[test]
fn policy_decides_as_serve_does() {
    let delete = "/api/2.0/mlflow/experiments/delete";
    let document = r#"{"query": "{ mlflowGetRun { __typename } nonsense }"}"#;
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("a.toml");
    fs::write(&config, "deny = \"experiments:delete@write\"\n").unwrap();
    let config = config.to_str().unwrap();
    for (arguments, code, expected) in [
        (&["--role", "write", "POST", delete][..], 0, "allowed  `experiments:delete`\n"),
        (
            &["--role", "read", "POST", delete],
            1,
            "denied   `experiments:delete` needs the role `write`, and this caller's is `read`\n",
        ),
        (
            &["--role", "write", "--config", config, "POST", delete],
            1,
            "denied   `experiments:delete` is denied by the rule `experiments:delete@write`\n",
        ),
        (&["--role", "admin", "--config", config, "POST", delete], 0, "allowed  `experiments:delete`\n"),
        (&["--role", "admin", "--deny", "experiments:*", "post", delete], 1, "is denied by the rule `experiments:*`\n"),
        // MLflow decodes a path and merges slashes, and a target's name is no part of a route.
        (&["--role", "read", "POST", "//api/2.0/mlflow%2Fexperiments/delete?x=1"], 1, "`experiments:delete` needs"),
        (&["--role", "read", "POST", "/t/ads/api/2.0/mlflow/experiments/delete"], 1, "`experiments:delete` needs"),
        (&["--role", "write", "POST", "/api/2.0/mlflow/nonsense"], 1, "`unclassified:unknown` needs the role `admin`"),
        (&["--role", "write", "POST", "/graphql", "--data", document], 1, "denied   `unclassified:unknown`"),
        (
            &["POST", delete],
            0,
            "read   denied   `experiments:delete` needs the role `write`, and this caller's is `read`\nwrite  allowed  `experiments:delete`\nadmin  allowed",
        ),
        (&["--role", "read"], 0, "ROLE  ACTION\n"),
    ] {
        let (actual, stdout, said) = ran(&[&["policy"], arguments].concat(), &[]);
        assert!(actual == code && stdout.contains(expected), "{arguments:?}: {actual}\n{stdout}{said}");
    }
    let (code, _, said) = ran(&["policy", "POST", "/graphql"], &[]);
    assert!(code == 2 && said.contains("hint: add the body with `--data`"), "{said}");
    let (code, _, said) = ran(&["policy", "--deny", "experiment:delete,runs:*"], &[]);
    assert!(
        code == 78
            && said.contains(
                "the rule `experiment:delete`: MLflow has no such action; did you mean `experiments:delete`?"
            ),
        "{said}"
    );
    let rows = |arguments: &[&str]| {
        let (_, stdout, _) = ran(&[&["policy", "--json"], arguments].concat(), &[]);
        serde_json::from_str::<Value>(&stdout).unwrap().as_array().unwrap().clone()
    };
    let (all, readable) = (rows(&[]), rows(&["--role", "read"]));
    assert!(all.len() > 250 && readable.len() < all.len() && readable.iter().all(|row| row["role"] == "read"));
    assert_eq!(rows(&["--role", "admin"]), all);
    let decided: Value =
        serde_json::from_str(&ran(&["policy", "--json", "--role", "read", "POST", delete], &[]).1).unwrap();
    assert_eq!((&decided["allowed"], &decided["actions"][0]), (&json!(false), &json!("experiments:delete")));
}

#[test]
fn healthcheck_tells_a_living_appliance_from_a_dead_one() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with_admin().start();
    let listen = appliance.address().to_string();
    // The tests turn the admin listener off by a variable, so the command asks the listener.
    for arguments in [&["healthcheck"][..], &["healthcheck", "--ready"]] {
        assert_eq!(ran(arguments, &[("APPLIANCE_LISTEN", &listen)]).0, 0, "{arguments:?}");
    }
    let admin = appliance.admin_address().to_string();
    let (code, stdout, _) = ran(&["healthcheck", "--ready"], &[("APPLIANCE_ADMIN_LISTEN", &admin)]);
    assert_eq!((code, stdout.as_str()), (0, "ok\n"));
    assert_eq!(ran(&["healthcheck", &format!("http://{admin}/livez")], &[]).0, 0);
    assert_eq!(ran(&["healthcheck", &format!("http://{listen}")], &[]).0, 0);
    let (code, _, said) = ran(&["healthcheck", &format!("http://{admin}/nonsense")], &[]);
    assert!(code == 1 && said.contains("404"), "{said}");
    drop(appliance);
    let (code, _, said) = ran(&["healthcheck"], &[("APPLIANCE_LISTEN", &listen)]);
    assert!(code == 1 && said.contains("hint: start `appliance serve`"), "{said}");
    let with_tls = [("APPLIANCE_TLS_CERTIFICATE", "a.pem")];
    let (code, _, said) = ran(&["healthcheck"], &with_tls);
    assert!(code == 2 && said.contains("name the URL"), "{said}");
}

#[test]
fn healthcheck_waits_no_longer_than_its_timeout() {
    let began = std::time::Instant::now();
    let port = quiet_port();
    let silent = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (code, _, said) = ran(&["healthcheck", "--timeout", "300ms", &format!("http://127.0.0.1:{port}")], &[]);
    assert!(code == 1 && began.elapsed() < std::time::Duration::from_secs(10), "{said}");
    drop(silent);
}

#[test]
fn a_token_for_a_target_that_does_not_exist_is_reported() {
    let tokens = TokenFile::new();
    tokens.add("ci", "read", &["--targets", "default,reserch"]);
    let path = tokens.path();
    let arguments = ["check", "--offline", "--listen", "127.0.0.1:0", "--resource-arn", TRACKING_ARN, "--tokens"];
    let (code, stdout, said) = ran(&[&arguments[..], &[path.to_str().unwrap()]].concat(), &[]);
    assert!(
        code == 0 && stdout.contains("of `ci` is for the target `reserch`, which does not exist"),
        "{stdout}{said}"
    );
    assert!(!stdout.contains("target `default`"), "{stdout}");
}

#[test]
fn options_that_other_programs_have_lead_to_those_of_serve() {
    for (arguments, tip) in [
        (&["serve", "--port", "5000"][..], "--listen 127.0.0.1:PORT"),
        (&["serve", "--verbose"], "--log-filter debug"),
        (&["serve", "-v"], "--log-filter debug"),
    ] {
        let (code, _, said) = ran(arguments, &[]);
        assert!(code == 2 && said.contains(&format!("tip: a similar argument exists: '{tip}'")), "{code}: {said}");
    }
}
