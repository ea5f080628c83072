//! The tests of `locations.rs`.

use bytes::Bytes;

use super::super::rewrite::Rewriter;
use super::*;

fn rewritten(paths: impl Into<JsonPaths>, text: &str) -> String {
    let paths = paths.into();
    if paths.is_empty() {
        return text.to_owned();
    }
    let swap = |_, value: &str| value.strip_prefix("s3://b/").map(|rest| format!("mlflow-artifacts:/{rest}"));
    let out = Rewriter::new(paths, swap).push(Bytes::copy_from_slice(text.as_bytes()));
    String::from_utf8(out.to_vec()).expect("UTF-8")
}

#[test]
fn every_known_place_is_translated() {
    for (path, text) in [
        (
            "/api/2.0/mlflow/runs/get",
            r#"{"run":{"info":{"artifact_uri":"@"},"inputs":{"dataset_inputs":[{"dataset":{"source":"s3://b/1"}}]}}}"#,
        ),
        ("/api/2.0/mlflow/runs/update", r#"{"run_info":{"artifact_uri":"@"}}"#),
        (
            "/ajax-api/2.0/mlflow/runs/search",
            r#"{"runs":[{"info":{"artifact_uri":"@"},"data":{"tags":[{"key":"mlflow.artifactLocation","value":"s3://b/1"}]}}]}"#,
        ),
        ("/api/2.0/mlflow/experiments/get-by-name", r#"{"experiment":{"artifact_location":"@","name":"s3://b/1"}}"#),
        (
            "/api/2.0/mlflow/experiments/search",
            r#"{"experiments":[{"artifact_location":"@"},{"artifact_location":"@"}]}"#,
        ),
        (
            "/api/2.0/mlflow/logged-models/m-1",
            r#"{"model":{"info":{"artifact_uri":"@"},"data":{"params":[{"key":"artifact_uri","value":"s3://b/1"}]}}}"#,
        ),
        ("/api/2.0/mlflow/logged-models/search", r#"{"models":[{"info":{"artifact_uri":"@"}}]}"#),
        ("/api/2.0/mlflow/model-versions/get", r#"{"model_version":{"source":"@","description":"s3://b/1"}}"#),
        ("/api/2.0/mlflow/model-versions/search", r#"{"model_versions":[{"source":"@"}]}"#),
        ("/api/2.0/mlflow/model-versions/get-download-uri", r#"{"artifact_uri":"@"}"#),
        ("/api/2.0/mlflow/registered-models/search", r#"{"registered_models":[{"latest_versions":[{"source":"@"}]}]}"#),
        ("/api/2.0/mlflow/registered-models/get", r#"{"registered_model":{"latest_versions":[{"source":"@"}]}}"#),
        (
            "/ajax-api/3.0/mlflow/workspaces",
            r#"{"workspaces":[{"name":"s3://b/1","default_artifact_root":"@","trace_archival_config":{"location":"@"}}]}"#,
        ),
        ("/ajax-api/2.0/mlflow/artifacts/list", r#"{"files":[{"path":"s3://b/1"}],"root_uri":"@"}"#),
        ("/api/3.0/mlflow/traces/search", r#"{"traces":[{"tags":{"mlflow.artifactLocation":"@","x":"s3://b/1"}}]}"#),
        (
            "/api/3.0/mlflow/traces/tr-1",
            r#"{"trace":{"trace_info":{"tags":{"mlflow.trace.archiveLocation":"@"},"request_preview":"s3://b/1"}}}"#,
        ),
        (
            "/api/2.0/mlflow/traces/tr-1/info",
            r#"{"trace_info":{"tags":[{"key":"mlflow.artifactLocation","value":"@"},{"key":"x","value":"s3://b/1"}]}}"#,
        ),
    ] {
        let (real, public) = (text.replace('@', "s3://b/x"), text.replace('@', "mlflow-artifacts:/x"));
        assert_eq!(rewritten(of(path).response, &real), public, "{path}");
    }
}

#[test]
fn graphql_shows_no_location_under_any_name() {
    for (document, answer) in [
        (
            "{ mlflowGetRun { run { info { artifactUri } modelVersions { source } inputs { datasetInputs { dataset { source } } } } } }",
            r#"{"mlflowGetRun":{"run":{"info":{"artifactUri":"@"},"modelVersions":[{"source":"@"}],"inputs":{"datasetInputs":[{"dataset":{"source":"s3://b/1"}}]}}}}"#,
        ),
        ("{ a: mlflowSearchRuns { b: runs { c: info { d: artifactUri } } } }", r#"{"a":{"b":[{"c":{"d":"@"}}]}}"#),
        (
            "{ mlflowGetExperiment { experiment { artifactLocation } } mlflowListArtifacts { rootUri } }",
            r#"{"mlflowGetExperiment":{"experiment":{"artifactLocation":"@"}},"mlflowListArtifacts":{"rootUri":"@"}}"#,
        ),
        (
            "{ mlflowGetRun { run { ...F } } } fragment F on MlflowRunExtension { ... { experiment { name: artifactLocation } } }",
            r#"{"mlflowGetRun":{"run":{"experiment":{"name":"@"}}}}"#,
        ),
        (
            "{ mlflowGetRun { e: apiError { m: message code } } }",
            r#"{"mlflowGetRun":{"e":{"m":"@","code":"s3://b/1"}}}"#,
        ),
        // The first is of a later MLflow's schema, and the second is no document at all.
        ("{ mlflowGetRun { run { parent { uri } } } }", r#"{"mlflowGetRun":{"run":{"parent":{"uri":["@"]}}}}"#),
        ("{", r#"{"x":"@"}"#),
    ] {
        let (real, public) = (answer.replace('@', "s3://b/x"), answer.replace('@', "mlflow-artifacts:/x"));
        let body = serde_json::json!({"query": document}).to_string();
        let paths = of_graphql(Some(body.as_bytes()));
        assert_eq!(rewritten(paths, &format!("{{\"data\":{real}}}")), format!("{{\"data\":{public}}}"), "{document}");
    }
    let body = br#"{"query": "{ mlflowGetRun { run { info { runId } } } }"}"#;
    let errors =
        |location: &str| format!(r#"{{"errors":[{{"message":"{location}","path":["s3://b/1"]}}],"data":null}}"#);
    assert_eq!(rewritten(of_graphql(Some(body)), &errors("s3://b/x")), errors("mlflow-artifacts:/x"));
    assert!(matches!(of_graphql(None), JsonPaths::Everywhere));
    let aliases: String = (0..100).map(|at| format!("a{at}: mlflowListArtifacts {{ rootUri }} ")).collect();
    let body = serde_json::json!({"query": format!("{{ {aliases} }}")}).to_string();
    assert!(matches!(of_graphql(Some(body.as_bytes())), JsonPaths::Everywhere));
}

#[test]
fn other_routes_are_not_touched() {
    for path in [
        "/api/2.0/mlflow/metrics/get-history",
        "/api/2.0/mlflow/datasets/search",
        "/api/3.0/mlflow/datasets/d-1/records",
        "/api/2.0/mlflow-artifacts/artifacts",
        "/v1/traces",
        "/api/2.0/other/runs/get",
        "/runs/get",
        "/graphql/x",
        "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files",
    ] {
        assert!(of(path).response.is_empty() && of(path).request.is_empty(), "{path}");
        assert_eq!(takes_spans(path), path == "/v1/traces");
    }
}
