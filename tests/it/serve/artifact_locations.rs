//! The locations of artifacts, which are public for callers and real for managed MLflow.

use super::artifacts::{gateway, path, s3};
use crate::support::Message as _;
use crate::support::appliance::Appliance;
use crate::support::upstream::Upstream;

const RUN: &str = r#"{"run": {"info": {"run_id": "1", "artifact_uri": "s3://bucket/team/mlflow/7/1/artifacts"}, "data": {"params": [{"key": "artifact_uri", "value": "s3://bucket/team/mlflow/7"}]}, "n": 1.50}}"#;

pub(super) fn mlflow_with_a_run() -> Upstream {
    Upstream::start(|_, wire| {
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{RUN}",
            RUN.len()
        ))
    })
}

#[test]
fn callers_see_public_locations_and_mlflow_sees_real_ones() {
    let (mlflow, s3) = (mlflow_with_a_run(), s3(|_, wire| wire.answer("200 OK", "")));
    let appliance = gateway(&mlflow, &s3, &[]);
    let mut caller = appliance.connect();
    let got = caller.request("GET", "/api/2.0/mlflow/runs/get?run_id=1", &[("Accept-Encoding", "gzip")], None);
    let expected = RUN.replacen("s3://bucket/team/mlflow/7/1/artifacts", "mlflow-artifacts:/7/1/artifacts", 1);
    assert_eq!(got.text(), expected, "byte for byte");
    assert_eq!(mlflow.only_request().header("accept-encoding"), "identity");
    // A route without locations passes with what the caller accepts, and its length.
    let got = caller.request("GET", "/api/2.0/mlflow/metrics/get-history", &[("Accept-Encoding", "gzip")], None);
    assert_eq!((got.text().as_str(), got.header("content-length")), (RUN, RUN.len().to_string().as_str()));
    assert_eq!(mlflow.requests().pop().unwrap().header("accept-encoding"), "gzip");

    let asked = r#"{"name": "mlflow-artifacts:/x", "artifact_location":"mlflow-artifacts:/x y", "tags": [1e2]}"#;
    let json = [("Content-Type", "application/json")];
    caller.request("POST", "/api/2.0/mlflow/experiments/create", &json, Some(asked.as_bytes()));
    let sent = mlflow.requests().pop().unwrap();
    let expected = asked.replace(r#""mlflow-artifacts:/x y""#, r#""s3://bucket/team/mlflow/x y""#);
    assert_eq!(String::from_utf8(sent.body.clone()).unwrap(), expected);
    assert_eq!(sent.header("content-length"), expected.len().to_string());
    assert_eq!(s3.requests().len(), 0);

    let off = Appliance::before(&mlflow);
    assert_eq!(off.get("/api/2.0/mlflow/runs/get?run_id=1").text(), RUN, "without the gateway nothing is rewritten");
}

#[test]
fn an_artifact_of_a_run_is_found_by_asking_for_the_run() {
    let mlflow = mlflow_with_a_run();
    let s3 = s3(|_, wire| wire.answer("200 OK", "bytes"));
    let appliance = gateway(&mlflow, &s3, &[]);
    let got = appliance.get("/get-artifact?run_uuid=1&path=dir%2Ffile+name.txt");
    assert_eq!((got.status, got.text().as_str()), (200, "bytes"));
    assert_eq!(got.header("content-disposition"), "attachment; filename=\"file name.txt\"");
    assert_eq!(path(&s3.only_request()), "/bucket/team/mlflow/7/1/artifacts/dir/file%20name.txt");
    let question = mlflow.only_request();
    assert_eq!(question.target, "/api/2.0/mlflow/runs/get?run_id=1");
    assert!(question.has("authorization"), "signed like any other");
    // Ids go into a path, too; they do not lead out of it.
    let escaping = appliance.get("/ajax-api/2.0/mlflow/get-trace-artifact?request_id=..&path=x");
    assert_eq!((escaping.status, mlflow.requests().len()), (400, 1));
}

#[test]
fn managed_mlflow_serves_an_artifact_outside_of_the_store_if_that_is_allowed() {
    let mlflow = Upstream::start(|request, wire| {
        let run = r#"{"run":{"info":{"artifact_uri":"s3://another/7/1"}}}"#;
        wire.answer("200 OK", if request.target.contains("/runs/get") { run } else { "its own" })
    });
    let s3 = s3(|_, wire| wire.answer("200 OK", ""));
    let appliance = gateway(&mlflow, &s3, &["--artifact-elsewhere", "allow"]);
    assert_eq!(appliance.get("/get-artifact?run_id=1&path=x").text(), "its own");
    assert_eq!(s3.requests().len(), 0);
}

#[test]
fn a_document_of_any_type_shows_public_locations_and_a_compressed_one_is_rejected() {
    let mlflow = Upstream::start(|request, wire| {
        let (_, field) = request.target.split_once("run_id=").unwrap_or_default();
        let field =
            field.replace("%20", " ").replace("%3A", ":").replace("%2F", "/").replace("%2B", "+").replace("%3B", ";");
        wire.send(format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: {}\r\n\r\n{RUN}", RUN.len()))
    });
    let s3 = s3(|_, wire| wire.answer("200 OK", ""));
    let appliance = gateway(&mlflow, &s3, &[]);
    let get = |field: &str| appliance.get(&format!("/api/2.0/mlflow/runs/get?run_id={}", field.replace(' ', "%20")));
    let expected = RUN.replacen("s3://bucket/team/mlflow/7/1/artifacts", "mlflow-artifacts:/7/1/artifacts", 1);
    for field in [
        "Content-Type: text/json",
        "Content-Type: application/problem+json",
        "Content-Type: text/html; charset=utf-8",
        "Content-Type: application/x-ndjson",
        "Content-Encoding: Identity",
        "X-Other: x",
    ] {
        assert_eq!(get(field).text(), expected, "{field}");
    }
    for coding in ["gzip", "br", "identity, gzip"] {
        let got = get(&format!("Content-Encoding: {coding}"));
        assert_eq!((got.status, got.header("x-appliance-error")), (502, "upstream-invalid"), "{coding}");
    }
    let got = appliance.get("/api/2.0/mlflow/metrics/get-history?run_id=Content-Encoding:%20gzip");
    assert_eq!((got.status, got.header("content-encoding")), (200, "gzip"), "a route without locations");
}

#[test]
fn an_error_message_shows_public_locations() {
    let mlflow = Upstream::start(|request, wire| {
        let text = String::from_utf8_lossy(&request.body).replace('"', "'");
        let message = format!("Invalid value: {text}. s3://another/x");
        let document = match request.target.as_str() {
            "/graphql" => serde_json::json!({"errors": [{"message": message}], "data": null}),
            _ => serde_json::json!({"error_code": "INVALID_PARAMETER_VALUE", "message": message}),
        };
        wire.answer("400 Bad Request", document.to_string())
    });
    let s3 = s3(|_, wire| wire.answer("200 OK", ""));
    let appliance = gateway(&mlflow, &s3, &[]);
    let post = |path: &str, body: &str| {
        let got =
            appliance.connect().request("POST", path, &[("Content-Type", "application/json")], Some(body.as_bytes()));
        (String::from_utf8_lossy(&mlflow.requests().pop().unwrap().body).into_owned(), got.text())
    };
    for (path, body) in [
        ("/api/2.0/mlflow/runs/search", r#"{"filter": "artifact_uri = 'mlflow-artifacts:/7' AND x"}"#),
        ("/api/2.0/mlflow/experiments/create", r#"{"artifact_location": "mlflow-artifacts:/7"}"#),
        ("/ajax-api/2.0/mlflow/model-versions/create", r#"{"source": "mlflow-artifacts:/7"}"#),
        (
            "/graphql",
            r#"{"query": "{ mlflowSearchRuns(input: {filter: \"artifact_uri = 'mlflow-artifacts:/7'\"}) { runs { info { runId } } } }"}"#,
        ),
    ] {
        let (sent, got) = post(path, body);
        assert!(sent.contains("s3://bucket/team/mlflow/7"), "{path}: {sent}");
        assert!(
            got.contains("mlflow-artifacts:/7") && !got.contains("s3://bucket") && got.contains("s3://another/x"),
            "{path}: {got}"
        );
    }
    let long = format!(r#"{{"filter": "artifact_uri = 'mlflow-artifacts:/7' AND {}"}}"#, "x".repeat(20_000));
    let got = post("/api/2.0/mlflow/runs/search", &long).1;
    assert!(!got.contains("s3://bucket") && got.contains("INVALID_PARAMETER_VALUE"), "{}", &got[..200]);
}

#[test]
fn a_location_that_is_no_text_is_rejected() {
    let (mlflow, s3) = (Upstream::ok(), s3(|_, wire| wire.answer("200 OK", "")));
    let appliance = gateway(&mlflow, &s3, &[]);
    for location in [
        &br"s3://finance/\ud800"[..],
        b"s3://finance/\xff",
        b"s3://finance/\xed\xa0\x80",
        b"s3://finance/\n",
        br"s3://finance/\x",
    ] {
        let body = [&br#"{"name": "a", "artifact_location": ""#[..], location, br#""}"#].concat();
        let json = [("Content-Type", "application/json")];
        let got = appliance.connect().request("POST", "/api/2.0/mlflow/experiments/create", &json, Some(&body));
        assert_eq!(got.status, 400, "{}: {}", String::from_utf8_lossy(location), got.text());
    }
    assert_eq!(mlflow.requests().len(), 0);
}
