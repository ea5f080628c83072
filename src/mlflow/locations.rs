//! Where the URIs of artifacts stand in MLflow's API (the protobufs of MLflow 3.17; `service.proto`,
//! `model_registry.proto`, the GraphQL schema).
//!
//! Only these strings are translated between their real and their public form. `Dataset.source`,
//! `DatasetRecord.source`, parameters, tags and span attributes may look alike; they are the user's own.

use super::rewrite::Place;

/// What of a route's JSON is translated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Locations {
    /// In requests: from public to real.
    pub request: &'static [Place],
    /// In responses: from real to public.
    pub response: &'static [Place],
}

const NONE: &[Place] = &[];
/// The tags of a trace that hold a location.
const TRACE_TAGS: &[&str] = &["mlflow.artifactLocation", "mlflow.trace.archiveLocation"];

const EXPERIMENTS: Locations = Locations {
    request: &[Place::at(&["artifact_location"])],
    response: &[Place::at(&["experiment", "artifact_location"]), Place::at(&["experiments", "artifact_location"])],
};
const RUNS: Locations = Locations {
    request: NONE,
    response: &[
        Place::at(&["run", "info", "artifact_uri"]),
        Place::at(&["runs", "info", "artifact_uri"]),
        Place::at(&["run_info", "artifact_uri"]),
    ],
};
const LOGGED_MODELS: Locations = Locations {
    request: NONE,
    response: &[
        Place::at(&["model", "info", "artifact_uri"]),
        Place::at(&["models", "info", "artifact_uri"]),
        Place::at(&["root_uri"]),
    ],
};
const REGISTRY: Locations = Locations {
    request: &[Place::at(&["source"])],
    response: &[
        Place::at(&["model_version", "source"]),
        Place::at(&["model_versions", "source"]),
        Place::at(&["registered_model", "latest_versions", "source"]),
        Place::at(&["registered_models", "latest_versions", "source"]),
        Place::at(&["artifact_uri"]),
    ],
};
const ARTIFACTS: Locations = Locations { request: NONE, response: &[Place::at(&["root_uri"])] };

/// Tags are an object in version 3 of the API and a list of keys and values in version 2.
macro_rules! trace_places {
    ($([$($key:literal),*]),+) => {
        &[$(
            Place::at(&[$($key,)* "tags", "mlflow.artifactLocation"]),
            Place::at(&[$($key,)* "tags", "mlflow.trace.archiveLocation"]),
            Place { path: &[$($key,)* "tags", "value"], if_key: TRACE_TAGS },
        )+]
    };
}
const TRACES: Locations = Locations {
    request: trace_places!(["trace", "trace_info"], ["trace_info"], []),
    response: trace_places!(
        ["trace", "trace_info"],
        ["traces", "trace_info"],
        ["trace_info"],
        ["trace_infos"],
        ["traces"]
    ),
};
const GRAPHQL: Locations = Locations {
    request: NONE,
    response: &[
        Place::at(&["data", "*", "run", "info", "artifactUri"]),
        Place::at(&["data", "*", "runs", "info", "artifactUri"]),
        Place::at(&["data", "*", "experiment", "artifactLocation"]),
        Place::at(&["data", "*", "experiments", "artifactLocation"]),
        Place::at(&["data", "*", "modelVersions", "source"]),
        Place::at(&["data", "*", "run", "modelVersions", "source"]),
        Place::at(&["data", "*", "runs", "modelVersions", "source"]),
        Place::at(&["data", "*", "rootUri"]),
    ],
};

/// What to translate for a request path in normal form.
#[must_use]
pub fn of(path: &str) -> Locations {
    if path == "/graphql" {
        return GRAPHQL;
    }
    match api(path).and_then(|rest| rest.split('/').next()) {
        Some("experiments") => EXPERIMENTS,
        Some("runs") => RUNS,
        Some("logged-models") => LOGGED_MODELS,
        Some("registered-models" | "model-versions") => REGISTRY,
        Some("artifacts") => ARTIFACTS,
        Some("traces" | "unified-traces") => TRACES,
        _ => Locations::default(),
    }
}

/// What follows `…/mlflow/` in a path of the REST API or its mirror for the UI.
#[must_use]
pub fn api(path: &str) -> Option<&str> {
    let rest = versioned(path)?;
    let rest = rest.strip_prefix("2.0/preview/").or_else(|| rest.strip_prefix("2.0/")).or_else(|| {
        // `/api/2.0mlflow/…` is a route of MLflow's, too.
        rest.strip_prefix("3.0/").or_else(|| rest.strip_prefix("2.0"))
    })?;
    rest.strip_prefix("mlflow/")
}

/// What follows `…/mlflow-artifacts/` in a path of the artifact service or its mirror for the UI.
#[must_use]
pub fn artifact_service(path: &str) -> Option<&str> {
    versioned(path)?.strip_prefix("2.0/mlflow-artifacts/")
}

fn versioned(path: &str) -> Option<&str> {
    path.strip_prefix("/api/").or_else(|| path.strip_prefix("/ajax-api/"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::rewrite::Rewriter;
    use super::*;

    fn rewritten(path: &str, text: &str) -> String {
        let places = of(path).response;
        if places.is_empty() {
            return text.to_owned();
        }
        let swap = |value: &str| value.strip_prefix("s3://b/").map(|rest| format!("mlflow-artifacts:/{rest}"));
        let out = Rewriter::new(places, swap).push(Bytes::copy_from_slice(text.as_bytes()));
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
            (
                "/api/2.0/mlflow/experiments/get-by-name",
                r#"{"experiment":{"artifact_location":"@","name":"s3://b/1"}}"#,
            ),
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
            (
                "/api/2.0/mlflow/registered-models/search",
                r#"{"registered_models":[{"latest_versions":[{"source":"@"}]}]}"#,
            ),
            ("/api/2.0/mlflow/registered-models/get", r#"{"registered_model":{"latest_versions":[{"source":"@"}]}}"#),
            ("/ajax-api/2.0/mlflow/artifacts/list", r#"{"files":[{"path":"s3://b/1"}],"root_uri":"@"}"#),
            (
                "/api/3.0/mlflow/traces/search",
                r#"{"traces":[{"tags":{"mlflow.artifactLocation":"@","x":"s3://b/1"}}]}"#,
            ),
            (
                "/api/3.0/mlflow/traces/tr-1",
                r#"{"trace":{"trace_info":{"tags":{"mlflow.trace.archiveLocation":"@"},"request_preview":"s3://b/1"}}}"#,
            ),
            (
                "/api/2.0/mlflow/traces/tr-1/info",
                r#"{"trace_info":{"tags":[{"key":"mlflow.artifactLocation","value":"@"},{"key":"x","value":"s3://b/1"}]}}"#,
            ),
            (
                "/graphql",
                r#"{"data":{"mlflowGetRun":{"run":{"info":{"artifactUri":"@"},"modelVersions":[{"source":"@"}]}}}}"#,
            ),
            ("/graphql", r#"{"data":{"mlflowSearchRuns":{"runs":[{"info":{"artifactUri":"@"}}]}}}"#),
            ("/graphql", r#"{"data":{"mlflowGetExperiment":{"experiment":{"artifactLocation":"@"}}}}"#),
        ] {
            let (real, public) = (text.replace('@', "s3://b/x"), text.replace('@', "mlflow-artifacts:/x"));
            assert_eq!(rewritten(path, &real), public, "{path}");
        }
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
        ] {
            assert!(of(path).response.is_empty() && of(path).request.is_empty(), "{path}");
        }
    }
}
