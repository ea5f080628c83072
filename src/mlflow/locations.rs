//! Where the URIs of artifacts stand in MLflow's API (the protobufs of MLflow 3.17; `service.proto`,
//! `model_registry.proto`, the GraphQL schema).
//!
//! Only these strings are translated between their real and their public form. `Dataset.source`,
//! `DatasetRecord.source`, parameters, tags and span attributes may look alike; they are the user's own.
//!
//! MLflow takes each field of a request under two names, as the protobuf spells it and in camel case.

use super::graphql;
use super::places::{Kind, Place, Places};

/// What of a route's JSON is translated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Locations {
    /// In requests: from public to real.
    pub request: &'static [Place],
    /// In responses: from real to public.
    pub response: &'static [Place],
}

const NONE: &[Place] = &[];
/// The condition of a search by REST.
const FILTER: Place = Place::of(Kind::Filter, &["filter"]);
/// The tags of a trace that hold a location.
const TRACE_TAGS: &[&str] = &["mlflow.artifactLocation", "mlflow.trace.archiveLocation"];

const EXPERIMENTS: Locations = Locations {
    request: &[Place::at(&["artifact_location"]), Place::at(&["artifactLocation"])],
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
    request: &[Place::at(&["source"]), FILTER],
    response: &[
        Place::at(&["model_version", "source"]),
        Place::at(&["model_versions", "source"]),
        Place::at(&["registered_model", "latest_versions", "source"]),
        Place::at(&["registered_models", "latest_versions", "source"]),
        Place::at(&["artifact_uri"]),
    ],
};
/// A workspace has a root for the locations of its experiments, and one for traces that are archived.
const WORKSPACES: Locations = Locations {
    request: &[
        Place::at(&["default_artifact_root"]),
        Place::at(&["defaultArtifactRoot"]),
        Place::at(&["trace_archival_config", "location"]),
        Place::at(&["traceArchivalConfig", "location"]),
    ],
    response: &[
        Place::at(&["workspace", "default_artifact_root"]),
        Place::at(&["workspace", "trace_archival_config", "location"]),
        Place::at(&["workspaces", "default_artifact_root"]),
        Place::at(&["workspaces", "trace_archival_config", "location"]),
    ],
};
const ARTIFACTS: Locations = Locations { request: NONE, response: &[Place::at(&["root_uri"])] };

/// Tags are an object in version 3 of the API and a list of keys and values in version 2.
macro_rules! trace_places {
    ($([$($key:literal),*]),+ $(; $($more:tt)*)?) => {
        &[$(
            Place::at(&[$($key,)* "tags", "mlflow.artifactLocation"]),
            Place::at(&[$($key,)* "tags", "mlflow.trace.archiveLocation"]),
            Place { path: &[$($key,)* "tags", "value"], if_key: TRACE_TAGS, kind: Kind::Location },
        )+ $($($more)*)?]
    };
}
const TRACES: Locations = Locations {
    request: trace_places!(
        ["trace", "trace_info"],
        ["trace", "traceInfo"],
        ["trace_info"],
        ["traceInfo"],
        [];
        // One tag, as it is set by itself.
        Place { path: &["value"], if_key: TRACE_TAGS, kind: Kind::Location }
    ),
    response: trace_places!(
        ["trace", "trace_info"],
        ["traces", "trace_info"],
        ["trace_info"],
        ["trace_infos"],
        ["traces"]
    ),
};
/// The places in the answer depend on the document; [`of_graphql`] finds them.
const GRAPHQL: Locations = Locations {
    request: &[
        Place::of(Kind::Document, &["query"]),
        Place::of(Kind::Filter, &["variables", "*"]),
        Place::of(Kind::Filter, &["variables", "*", "filter"]),
    ],
    response: NONE,
};
/// The fields of MLflow's GraphQL schema that are locations.
const GRAPHQL_FIELDS: [(&str, &str); 4] = [
    ("MlflowRunInfo", "artifactUri"),
    ("MlflowExperiment", "artifactLocation"),
    ("MlflowModelVersion", "source"),
    ("MlflowListArtifactsResponse", "rootUri"),
];

/// Returns the places to translate for a request path, as MLflow reads it.
#[must_use]
pub fn of(path: &str) -> Locations {
    if is_graphql(path) {
        return GRAPHQL;
    }
    let Some(rest) = api(path) else { return Locations::default() };
    match rest.split('/').next() {
        Some("experiments") => EXPERIMENTS,
        // The frequent calls that log to a run contain no location, and are not looked through.
        Some("runs") if rest == "runs/search" => Locations { request: &[FILTER], ..RUNS },
        Some("runs") => RUNS,
        Some("logged-models") if rest == "logged-models/search" => Locations { request: &[FILTER], ..LOGGED_MODELS },
        Some("logged-models") => LOGGED_MODELS,
        Some("registered-models" | "model-versions") => REGISTRY,
        Some("workspaces") => WORKSPACES,
        Some("artifacts") => ARTIFACTS,
        Some("traces" | "unified-traces") => TRACES,
        _ => Locations::default(),
    }
}

/// Returns true for the path whose answers are shaped by the request's document.
#[must_use]
pub fn is_graphql(path: &str) -> bool {
    path == "/graphql"
}

/// Returns the places of locations in the answer to a GraphQL request. The caller chooses the keys; if they cannot be told, every string
/// may be one.
#[must_use]
pub fn of_graphql(body: Option<&[u8]>) -> Places {
    let Some(asked) = body.and_then(graphql::asked) else { return Places::Everywhere };
    if asked.iter().any(|field| !field.is_known) {
        return Places::Everywhere;
    }
    let is_location = |field: &graphql::Asked| GRAPHQL_FIELDS.contains(&(field.parent, &field.name));
    let mut paths: Vec<Vec<String>> =
        asked.into_iter().filter(is_location).map(|field| [vec!["data".to_owned()], field.path].concat()).collect();
    paths.sort_unstable();
    paths.dedup();
    if paths.len() > Places::LIMIT { Places::Everywhere } else { Places::Asked(paths) }
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

    fn rewritten(places: impl Into<Places>, text: &str) -> String {
        let places = places.into();
        if places.is_empty() {
            return text.to_owned();
        }
        let swap = |_, value: &str| value.strip_prefix("s3://b/").map(|rest| format!("mlflow-artifacts:/{rest}"));
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
            (
                "/ajax-api/3.0/mlflow/workspaces",
                r#"{"workspaces":[{"name":"s3://b/1","default_artifact_root":"@","trace_archival_config":{"location":"@"}}]}"#,
            ),
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
            // The first is of a later MLflow's schema, and the second is no document at all.
            ("{ mlflowGetRun { run { parent { uri } } } }", r#"{"mlflowGetRun":{"run":{"parent":{"uri":["@"]}}}}"#),
            ("{", r#"{"x":"@"}"#),
        ] {
            let (real, public) = (answer.replace('@', "s3://b/x"), answer.replace('@', "mlflow-artifacts:/x"));
            let body = serde_json::json!({"query": document}).to_string();
            let places = of_graphql(Some(body.as_bytes()));
            assert_eq!(
                rewritten(places, &format!("{{\"data\":{real}}}")),
                format!("{{\"data\":{public}}}"),
                "{document}"
            );
        }
        assert!(matches!(of_graphql(None), Places::Everywhere));
        let aliases: String = (0..100).map(|at| format!("a{at}: mlflowListArtifacts {{ rootUri }} ")).collect();
        let body = serde_json::json!({"query": format!("{{ {aliases} }}")}).to_string();
        assert!(matches!(of_graphql(Some(body.as_bytes())), Places::Everywhere));
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
