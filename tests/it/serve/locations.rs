//! Callers see and use only public locations of artifacts, with any spelling of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Answer;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

/// A managed MLflow that answers everything with one document.
fn answering(document: &Value) -> Upstream {
    let text = document.to_string();
    Upstream::start(move |_, wire| {
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        ))
    })
}

fn gateway(mlflow: &Upstream, arguments: &[&str]) -> Appliance {
    // Nothing listens there: what comes to S3 fails.
    let store = ["--artifact-store", "s3://bucket/team", "--s3-endpoint", "http://127.0.0.1:9"];
    Builder::new(mlflow).with(&store).with(arguments).start()
}

fn post(appliance: &Appliance, path: &str, body: &str) -> Answer {
    appliance.connect().request("POST", path, &JSON, Some(body.as_bytes()))
}

/// The body of the last request that managed MLflow got.
fn last_body(mlflow: &Upstream) -> String {
    String::from_utf8(mlflow.requests().pop().unwrap().body).unwrap()
}

#[test]
fn no_spelling_of_a_route_reveals_a_real_location() {
    let mlflow = answering(&json!({"run": {"info": {"artifact_uri": "s3://bucket/team/1/r/artifacts"}}}));
    let appliance = gateway(&mlflow, &[]);
    for path in [
        "/api/2.0/mlflow/runs/get",
        "//api/2.0/mlflow/runs/get",
        "////ajax-api/2.0/mlflow/runs/get",
        "/api//2.0/mlflow/runs//get",
        "/api/2.0/mlflow%2Fruns/get",
        "/api%2f2.0%2Fmlflow%2Fruns%2Fget",
        "/%2Fapi/2.0/mlflow/runs/get",
        "/%61pi/2.0/m%6Cflow/runs/get",
        // The appliance does not know the field, but a later MLflow may.
        "/api/2.0/mlflow%2Fruns%2Fget-later",
        "//api/2.0/mlflow/runs/get/",
    ] {
        let got = appliance.get(&format!("{path}?run_id=r"));
        assert_eq!(got.text(), r#"{"run":{"info":{"artifact_uri":"mlflow-artifacts:/1/r/artifacts"}}}"#, "{path}");
    }
    let seen: Vec<_> = mlflow.requests().into_iter().map(|request| request.target).collect();
    assert!(seen[..8].iter().all(|target| target.ends_with("api/2.0/mlflow/runs/get?run_id=r")), "{seen:?}");
    assert!(seen.iter().all(|target| !target.starts_with("//ajax")), "{seen:?}");
}

#[test]
fn the_gateway_answers_every_spelling_of_its_routes() {
    let mlflow = answering(&json!({"run": {"info": {"artifact_uri": "s3://bucket/team/1/r/artifacts"}}}));
    let appliance = gateway(&mlflow, &["--artifact-access", "presigned-only"]);
    for path in [
        "/ajax-api/2.0/mlflow/upload-artifact",
        "/ajax-api/2.0/mlflow%2Fupload-artifact",
        "//ajax-api/2.0/mlflow/upload-artifact",
        "/ajax-api/2.0/mlflow//upload-artifact",
    ] {
        let got = post(&appliance, &format!("{path}?run_uuid=r&path=y"), "{}");
        assert_eq!((got.status, got.header("x-appliance-error")), (403, "presigned-only"), "{path}");
    }
    let put = appliance.connect().request("PUT", "//api/2.0/mlflow-artifacts%2Fartifacts/x", &[], Some(b"x"));
    assert_eq!((put.status, put.header("x-appliance-error")), (403, "presigned-only"));
    assert!(mlflow.requests().iter().all(|request| request.method == "GET"), "managed MLflow writes nothing");
}

#[test]
fn graphql_reveals_no_real_location_under_any_alias() {
    let location = "s3://bucket/team/1/r";
    let mlflow = answering(&json!({"data": {
        "mlflowGetRun": {"run": {"experiment": {"artifactLocation": location}, "inputs": {"datasetInputs": [{"dataset": {"source": location}}]}}},
        "r": {"i": {"u": location}, "source": [location, {"modelVersions": [{"source": location}]}]},
    }}));
    let appliance = gateway(&mlflow, &[]);
    let count = |body: &str| post(&appliance, "/graphql", body).text().matches("s3://").count();
    let document = |query: &str| json!({"query": query}).to_string();
    let known = document(
        "{ mlflowGetRun { run { experiment { artifactLocation } inputs { datasetInputs { dataset { source } } } } } \
         r: mlflowGetRun { i: run { u: info { artifactUri } } } }",
    );
    // The dataset's own source is the user's; below `r`, nothing stands where this document has a location.
    assert_eq!(count(&known), 1 + 3);
    // The answer to a document that is not understood is translated wherever a string is a location.
    for unknown in [
        document("{ mlflowGetRun { run { later { uri } } } }"),
        document("query"),
        "no json".to_owned(),
        format!("{{\"query\": \"{{ mlflowGetRun {{ run }} }}{}\"}}", " ".repeat(1 << 21)),
    ] {
        assert_eq!(count(&unknown), 0, "{}", &unknown[..unknown.len().min(60)]);
    }
    assert_eq!(post(&appliance, "//graphql?x=1", &known).text().matches("s3://").count(), 0);
}

#[test]
fn a_public_location_can_be_used_in_a_search() {
    let mlflow = answering(&json!({}));
    let appliance = gateway(&mlflow, &[]);
    let shown = "attributes.artifact_uri = 'mlflow-artifacts:/1/r' AND params.x = 'mlflow-artifacts:/1/r'";
    let real = shown.replacen("mlflow-artifacts:/1/r", "s3://bucket/team/1/r", 1);
    for path in
        ["/api/2.0/mlflow/runs/search", "//ajax-api/2.0/mlflow/runs/search", "/api/2.0/mlflow/logged-models/search"]
    {
        post(&appliance, path, &json!({"filter": shown}).to_string());
        assert_eq!(last_body(&mlflow), json!({"filter": real}).to_string(), "{path}");
    }
    let target = |query: &str| {
        appliance.get(&format!("/api/2.0/mlflow/model-versions/search?{query}"));
        mlflow.requests().pop().unwrap().target.split_once('?').unwrap().1.to_owned()
    };
    assert_eq!(
        target("max_results=1&filter=source_path%3D%27mlflow-artifacts%3A%2F1%2Fm%27&page_token="),
        "max_results=1&filter=source_path%3D%27s3%3A%2F%2Fbucket%2Fteam%2F1%2Fm%27&page_token="
    );
    assert_eq!(
        target("filter=name+LIKE+%27mlflow-artifacts%3A%2F%25%27"),
        "filter=name%20LIKE%20%27mlflow-artifacts%3A%2F%25%27"
    );

    let by_variable = json!({"query": "q", "variables": {"data": {"filter": shown}, "f": shown, "n": 1}});
    post(&appliance, "/graphql", &by_variable.to_string());
    let expected = json!({"query": "q", "variables": {"data": {"filter": real}, "f": real, "n": 1}});
    assert_eq!(last_body(&mlflow), expected.to_string());
    let inline = json!({"query": format!("{{ mlflowSearchRuns(input: {{filter: \"{shown}\"}}) {{ runs {{ x }} }} }}")});
    post(&appliance, "/graphql", &inline.to_string());
    assert_eq!(last_body(&mlflow), inline.to_string().replacen("mlflow-artifacts:/1/r", "s3://bucket/team/1/r", 1));
}

#[test]
fn a_request_with_a_location_outside_of_the_store_is_rejected() {
    let mlflow = answering(&json!({}));
    let appliance = gateway(&mlflow, &[]);
    let foreign = [
        ("/api/2.0/mlflow/experiments/create", r#"{"name": "x", "artifact_location": "s3://finance/payroll"}"#),
        ("//api/2.0/mlflow%2Fexperiments/create", r#"{"name": "x", "artifact_location": "s3://finance/payroll"}"#),
        ("/api/2.0/mlflow/experiments/create", r#"{"artifactLocation": "gs://finance/payroll"}"#),
        ("/api/2.0/mlflow/experiments/create", r#"{"artifact_l\u006fcation": "s3:\/\/finance/payroll"}"#),
        ("/api/2.0/mlflow/experiments/create", r#"{"artifact_location": "", "artifact_location": "file:///etc"}"#),
        ("/api/2.0/mlflow/experiments/create", r#""{\"artifact_location\": \"s3://finance/payroll\"}""#),
        ("/api/2.0/mlflow/experiments/create", "{\0\"\0a\0"),
        ("/ajax-api/2.0/mlflow/model-versions/create", r#"{"name": "m", "source": "s3://finance/payroll"}"#),
        ("/api/2.0/mlflow/model-versions/create", r#"{"name": "m", "source": "/etc/passwd"}"#),
        ("/api/2.0/mlflow/model-versions/create", r#"{"name": "m", "source": "http://169.254.169.254/x"}"#),
        ("/api/2.0/mlflow/model-versions/create", r#"{"name": "m", "source": "s3://bucket/team/../other"}"#),
        ("/api/3.0/mlflow/traces", r#"{"trace": {"trace_info": {"tags": {"mlflow.artifactLocation": "dbfs:/x"}}}}"#),
        ("/api/3.0/mlflow/traces", r#"{"trace": {"traceInfo": {"tags": {"mlflow.artifactLocation": "dbfs:/x"}}}}"#),
        ("/api/2.0/mlflow/traces", r#"{"tags": [{"key": "mlflow.artifactLocation", "value": "wasbs://x"}]}"#),
        ("/api/3.0/mlflow/workspaces", r#"{"name": "w", "default_artifact_root": "s3://finance/payroll"}"#),
        ("/api/2.0/mlflow/traces", r#"{"tags": [{"value": "wasbs://x", "key": "mlflow.artifactLocation"}]}"#),
    ];
    for (path, body) in foreign {
        let got = post(&appliance, path, body);
        assert_eq!((got.status, got.header("x-appliance-error")), (400, "foreign-location"), "{path} {body}");
        assert_eq!(got.json()["error_code"], "INVALID_PARAMETER_VALUE");
    }
    let tag = r#"{"key": "mlflow.artifactLocation", "value": "s3://finance/payroll"}"#;
    let plain = [("Content-Type", "text/plain")];
    for headers in [JSON, plain] {
        let got =
            appliance.connect().request("PATCH", "/api/3.0/mlflow/traces/tr-1/tags", &headers, Some(tag.as_bytes()));
        assert_eq!((got.status, got.header("x-appliance-error")), (400, "foreign-location"));
        assert!(got.text().contains("`s3://finance/payroll` is outside of the artifact store"), "{}", got.text());
    }
    assert_eq!(mlflow.requests().len(), 0, "managed MLflow has seen none of it");

    let allowed = [
        (
            "/api/2.0/mlflow/experiments/create",
            r#"{"name": "s3://finance/payroll", "tags": [{"key": "a", "value": "s3://b"}]}"#,
        ),
        ("/api/2.0/mlflow/experiments/create", r#"{"artifact_location": "s3://bucket/team/x"}"#),
        ("/api/2.0/mlflow/model-versions/create", r#"{"source": "models:/m-1"}"#),
        ("/api/2.0/mlflow/model-versions/create", r#"{"source": "runs:/r/model"}"#),
        ("/api/2.0/mlflow/model-versions/create", r#"{"source": "dummy-source"}"#),
    ];
    for (path, body) in allowed {
        assert_eq!((post(&appliance, path, body).status, last_body(&mlflow).as_str()), (200, body), "{path}");
    }
    let permissive = gateway(&mlflow, &["--artifact-elsewhere", "allow"]);
    for (path, body) in foreign {
        assert_eq!((post(&permissive, path, body).status, last_body(&mlflow).as_str()), (200, body), "{path}");
    }
}

#[test]
fn an_artifact_outside_of_the_store_is_not_read() {
    let foreign = "s3://finance/payroll";
    let mlflow = answering(&json!({
        "run": {"info": {"artifact_uri": foreign}},
        "artifact_uri": foreign,
        "model": {"info": {"artifact_uri": foreign}},
        "trace": {"trace_info": {"tags": {"mlflow.artifactLocation": foreign}}},
    }));
    let appliance = gateway(&mlflow, &[]);
    for target in [
        "/get-artifact?run_id=r&path=x",
        "//get-artifact?run_id=r&path=x",
        "/api/2.0/mlflow/artifacts/list?run_id=r",
        "/model-versions/get-artifact?name=m&version=1&path=x",
        "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files?artifact_file_path=x",
        "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/directories",
        "/ajax-api/3.0/mlflow/get-trace-artifact?request_id=tr-1&path=x",
        "/ajax-api/3.0/mlflow/get-trace-artifact?request_id=tr-1",
    ] {
        let got = appliance.get(target);
        assert_eq!((got.status, got.header("x-appliance-error")), (403, "foreign-location"), "{target}");
        assert!(got.text().contains("artifact-elsewhere"), "{}", got.text());
    }
    let upload = post(&appliance, "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=r&path=x", "{}");
    assert_eq!((upload.status, upload.header("x-appliance-error")), (403, "foreign-location"));
    let asked = mlflow.requests();
    assert!(asked.iter().all(|request| !request.target.contains("artifact")), "{asked:?}");
}

#[test]
fn rewriting_a_body_takes_bounded_memory() {
    let received = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&received);
    let mlflow = Upstream::start(move |request, wire| {
        count.fetch_add(request.body.len(), Ordering::SeqCst);
        wire.answer("200 OK", "{}")
    });
    let appliance = gateway(&mlflow, &[]);
    let mut most = appliance.resident();
    let before = most;
    for path in ["experiments/search", "runs/search", "registered-models/get-latest-versions", "traces/search"] {
        for unit in [
            "[",
            "{\"trace\":[",
            "{\"tags\":[[",
            "{\"run",
            "\"",
            "[{\"artifact_location\":\"",
            "{\"trace_info\":{\"tags\":[{\"key\":",
        ] {
            let body = unit.repeat((16 << 20) / unit.len());
            let mut caller = appliance.connect();
            let _ = caller.send(format!(
                "POST /api/3.0/mlflow/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            for piece in body.as_bytes().chunks(1 << 20) {
                if caller.send(piece).is_err() {
                    break;
                }
                most = most.max(appliance.resident());
            }
            let answer = caller.answer(false).unwrap();
            most = most.max(appliance.resident());
            // A search of runs has no location. What cannot be an object of JSON could hide one in all others.
            let is_forwarded = path == "runs/search" || unit.starts_with('{');
            let expected = if is_forwarded { (200, vec![]) } else { (400, vec!["foreign-location"]) };
            assert_eq!((answer.status, answer.all("x-appliance-error")), expected, "{path} {unit}");
            let arrived = received.swap(0, Ordering::SeqCst);
            assert_eq!(arrived, if is_forwarded { body.len() } else { 0 }, "{path} {unit}");
        }
    }
    let grown = (most - before) >> 20;
    assert!(grown <= 24, "{grown} MiB");
}

#[test]
fn the_health_pages_name_no_target_to_unauthenticated_clients() {
    let mlflow = answering(&json!({}));
    let appliance = Builder::new(&mlflow).with(&["--allowed-hosts", "mlflow.corp"]).start();
    let ask = |path: &str, host: &str| {
        let mut caller = appliance.connect();
        caller.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap();
        caller.answer(false).unwrap()
    };
    assert_eq!(
        ask("/_appliance/readyz", "mlflow.corp").json(),
        json!({"status": "ready", "targets": {"default": "ready"}})
    );
    let strange = ask("/_appliance/readyz", "10.0.0.9:5000");
    assert_eq!((strange.status, strange.json()), (200, json!({"status": "ready"})));
    assert_eq!(ask("/_appliance/healthz", "10.0.0.9:5000").json(), json!({"status": "ok"}));
    let tokens = TokenFile::new();
    tokens.add("ci", "read", &[]);
    let waiting = Builder::new(&mlflow).with_tokens(&tokens).with(&["--allowed-networks", "198.51.100.0/24"]);
    let waiting = waiting.without_credentials().start();
    let got = waiting.get("/_appliance/readyz");
    assert_eq!((got.status, got.json()), (503, json!({"status": "not ready"})));
}
