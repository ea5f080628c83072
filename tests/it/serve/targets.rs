//! Several targets behind one appliance.

use std::io;
use std::path::PathBuf;

use crate::support::appliance::{APP_ARN, Appliance, Builder, TRACKING_ARN, run};
use crate::support::authority::authority;
use crate::support::upstream::{Recorded, Upstream, Wire};
use crate::support::{Message as _, eventually};

/// An upstream that says its name.
fn named(name: &'static str) -> Upstream {
    Upstream::start(move |request: &Recorded, wire: &mut Wire| -> io::Result<()> {
        let location = match request.target.as_str() {
            "/moved" => "Location: /elsewhere\r\n".to_owned(),
            "/moved-whole" => format!("Location: https://{}/elsewhere\r\n", request.header("host")),
            "/moved-away" => "Location: //other.example/\r\n".to_owned(),
            _ => String::new(),
        };
        wire.send(format!("HTTP/1.1 200 OK\r\n{location}Content-Length: {}\r\n\r\n{name}", name.len()))
    })
}

/// Starts an appliance with a configuration file; its directory is kept for as long as the appliance runs.
fn start(configuration: &str) -> (Appliance, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    std::fs::write(&file, trust() + configuration).unwrap();
    let appliance = Builder::from_file(&file).start();
    (appliance, directory)
}

/// The trusted authority, which stands above the tables.
fn trust() -> String {
    format!("ca-file = \"{}\"\n", authority().file().display())
}

fn table(name: &str, arn: &str, upstream: &Upstream) -> String {
    format!("[[target]]\nname = \"{name}\"\nresource-arn = \"{arn}\"\nupstream-endpoint = \"{}\"\n", upstream.url())
}

#[test]
fn each_target_has_its_path_and_one_is_the_default() {
    let (first, second, third) = (named("first"), named("second"), named("third"));
    let other_server = TRACKING_ARN.replace("ts1", "ts2");
    let configuration = [
        table("team-a", TRACKING_ARN, &first),
        table("team-b", APP_ARN, &second) + "default = true\n",
        table("team-c", &other_server, &third),
    ];
    let (appliance, _directory) = start(&configuration.concat());
    let mut caller = appliance.connect();
    for (target, expected, seen_as) in [
        ("/t/team-a/api/2.0/mlflow/runs/get?run_id=1", "first", "/api/2.0/mlflow/runs/get?run_id=1"),
        ("/t/team-b/", "second", "/"),
        ("/t/team-c/graphql", "third", "/graphql"),
        ("/t/team-c//version", "third", "/version"),
        ("//t/team-c///health", "third", "/health"),
        ("/api/2.0/mlflow/runs/search", "second", "/api/2.0/mlflow/runs/search"),
        ("/", "second", "/"),
        ("/tx", "second", "/tx"),
    ] {
        assert_eq!(caller.get(target).text(), expected, "{target}");
        let upstream = [&first, &second, &third]
            .into_iter()
            .find(|upstream| upstream.requests().iter().any(|request| request.target == seen_as));
        assert!(upstream.is_some(), "{target} was seen as {seen_as}");
    }
    assert_eq!(first.only_request().header("x-mlflow-sm-tracking-server-arn"), TRACKING_ARN);
    for request in third.requests() {
        assert_eq!(request.header("x-mlflow-sm-tracking-server-arn"), other_server);
    }
    for request in second.requests() {
        assert_eq!(request.header("x-sm-mlflow-app-arn"), APP_ARN);
        assert!(request.header("authorization").contains("/eu-west-1/sagemaker/aws4_request"), "{request:?}");
    }
    let redirect = caller.get("/t/team-a?x=1");
    assert_eq!((redirect.status, redirect.header("location")), (308, "../t/team-a/?x=1"), "for the UI's relative URLs");
    for unknown in ["/t/", "/t/team-x/api", "/t/team-x", "/t/team-a%2Fapi", "/t/TEAM-A/"] {
        let got = caller.get(unknown);
        assert_eq!((got.status, got.header("x-appliance-error")), (404, "no-such-target"), "{unknown}");
        assert_eq!(got.json()["error_code"], "ENDPOINT_NOT_FOUND");
    }
    for (path, location) in
        [("moved", "/t/team-a/elsewhere"), ("moved-whole", "/t/team-a/elsewhere"), ("moved-away", "/t/team-a/")]
    {
        assert_eq!(caller.get(&format!("/t/team-a/{path}")).header("location"), location, "{path}");
    }
    assert_eq!(caller.get("//t/team-a/moved").header("location"), "/t/team-a/elsewhere", "and never to another host");
    assert_eq!(caller.get("/t/te%61m-a/moved").header("location"), "/t/team-a/elsewhere", "however it is spelt");
    assert_eq!(caller.get("/moved").header("location"), "/elsewhere");
    assert_eq!(caller.get("/t/team-a/../team-b/").status, 400, "no path leads from one to the other");
    eventually("the log names the targets", || {
        let log = appliance.access_log();
        log.iter().any(|event| event["mlflow"] == "team-a") && log.iter().any(|event| event["mlflow"] == "team-b")
    });
    let ready = caller.get("/_appliance/readyz").json();
    assert_eq!(ready["targets"]["team-c"], "ready");
    assert_eq!(caller.get("/_appliance/readyz/team-a").status, 200);
    assert_eq!(caller.get("/_appliance/readyz/team-x").status, 404);
}

#[test]
fn a_target_whose_role_is_denied_does_not_affect_the_others() {
    let (good, bad) = (named("good"), named("bad"));
    let sts = Upstream::plain(|_, wire| {
        let body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
        wire.send(format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    let role = "role-arn = \"arn:aws:iam::123456789012:role/refused\"\n";
    let configuration = trust() + &table("good", TRACKING_ARN, &good) + &table("bad", APP_ARN, &bad) + role;
    std::fs::write(&file, configuration).unwrap();
    let appliance = Builder::from_file(&file).env("AWS_ENDPOINT_URL_STS", &sts.url()).without_waiting().start();
    eventually("the good one is ready", || appliance.get("/_appliance/readyz/good").status == 200);
    eventually("STS has refused", || appliance.get("/_appliance/readyz/bad").text().contains("could not be assumed"));
    assert_eq!(appliance.get("/_appliance/readyz").status, 503, "not all of them are");
    assert_eq!(appliance.get("/t/good/x").text(), "good");
    let refused = appliance.get("/t/bad/x");
    assert_eq!((refused.status, refused.header("x-appliance-error")), (503, "no-credentials"));
    assert_eq!(bad.requests().len(), 0);
}

#[test]
fn each_target_has_its_own_artifacts() {
    let mlflow = named("mlflow");
    let s3 = Upstream::plain(|_, wire| wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let store = |bucket: &str| format!("artifact-store = \"s3://{bucket}\"\ns3-endpoint = \"{}\"\n", s3.url());
    let configuration = [
        table("one", TRACKING_ARN, &mlflow) + &store("bucket-one/p"),
        table("two", APP_ARN, &mlflow) + &store("bucket-two"),
        table("none", APP_ARN, &mlflow),
    ];
    let (appliance, _directory) = start(&configuration.concat());
    let path = "api/2.0/mlflow-artifacts/artifacts/x";
    for (name, key, region) in [("one", "/bucket-one/p/x?", "us-east-1"), ("two", "/bucket-two/x?", "eu-west-1")] {
        assert_eq!(appliance.get(&format!("/t/{name}/{path}")).status, 200);
        let asked = s3.requests().pop().unwrap();
        assert!(asked.target.starts_with(key) && asked.target.contains(&format!("%2F{region}%2Fs3%2F")), "{asked:?}");
    }
    assert_eq!(appliance.get(&format!("/t/none/{path}")).text(), "mlflow", "its own server answers");
}

#[test]
fn all_mistakes_in_targets_are_reported_together() {
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("appliance.toml");
    let configuration = "role-arn = \"arn:aws:iam::123456789012:role/flat\"\n\
        [[target]]\nname = \"Team A\"\nresource-arn = \"arn:nonsense\"\n\
        [[target]]\nresource-arn = \"ARN\"\nlisten = \"0.0.0.0:1\"\nrole-anr = \"x\"\ndefault = true\n\
        [[target]]\nname = \"b\"\nresource-arn = \"ARN\"\ndefault = true\nartifact-store = \"bucket\"\n\
        [[target]]\nname = \"b\"\ns3-endpoint = \"https://s3.example\"\n"
        .replace("ARN", TRACKING_ARN);
    std::fs::write(&file, configuration).unwrap();
    let output = run(&["serve", "--config", file.to_str().unwrap()], &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    for expected in [
        "toml:1: `role-arn` is not allowed beside `[[target]]` tables, the first of which is at ",
        "toml:3: name: `Team A`: a name has 1 to 63 lower-case letters",
        "toml:4: resource-arn: `arn:nonsense`",
        "toml:5: the target has no `name`",
        "toml:7: `listen` is the same for all targets",
        "toml:8: `role-anr` is not an option",
        "did you mean `role-arn`?",
        "more than one target is the default",
        "toml:14: artifact-store: `bucket`: an artifact store starts with `s3://`",
        "toml:16: name: `b`: another target has this name",
        "toml:15: the target has no `resource-arn`",
        "toml:17: s3-endpoint: this has no effect, because the artifact gateway is off",
    ] {
        assert!(said.contains(expected), "`{expected}` is missing in\n{said}");
    }
}
