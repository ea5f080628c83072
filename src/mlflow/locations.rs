//! The positions of artifact URIs in MLflow's API (the protobufs of MLflow 3.17; `service.proto`,
//! `model_registry.proto`, the GraphQL schema).
//!
//! Only these strings are translated between their real and their public form. `Dataset.source`,
//! `DatasetRecord.source`, parameters, tags and span attributes may look alike; they are the user's own.
//!
//! MLflow takes each field of a request under two names, as the protobuf spells it and in camel case.

use super::graphql;
use super::json_paths::{JsonPath, JsonPaths, StringKind};

/// The paths in a route's JSON whose strings are translated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Locations {
    /// In requests: from public to real.
    pub request: &'static [JsonPath],
    /// In responses: from real to public.
    pub response: &'static [JsonPath],
}

const NONE: &[JsonPath] = &[];
/// The condition of a search by REST.
const FILTER: JsonPath = JsonPath::of(StringKind::Filter, &["filter"]);
/// The tags of a trace that hold a location.
const TRACE_TAGS: &[&str] = &["mlflow.artifactLocation", "mlflow.trace.archiveLocation"];

const EXPERIMENTS: Locations = Locations {
    request: &[JsonPath::at(&["artifact_location"]), JsonPath::at(&["artifactLocation"])],
    response: &[
        JsonPath::at(&["experiment", "artifact_location"]),
        JsonPath::at(&["experiments", "artifact_location"]),
    ],
};
const RUNS: Locations = Locations {
    request: NONE,
    response: &[
        JsonPath::at(&["run", "info", "artifact_uri"]),
        JsonPath::at(&["runs", "info", "artifact_uri"]),
        JsonPath::at(&["run_info", "artifact_uri"]),
    ],
};
const LOGGED_MODELS: Locations = Locations {
    request: NONE,
    response: &[
        JsonPath::at(&["model", "info", "artifact_uri"]),
        JsonPath::at(&["models", "info", "artifact_uri"]),
        JsonPath::at(&["root_uri"]),
    ],
};
const REGISTRY: Locations = Locations {
    request: &[JsonPath::at(&["source"]), FILTER],
    response: &[
        JsonPath::at(&["model_version", "source"]),
        JsonPath::at(&["model_versions", "source"]),
        JsonPath::at(&["registered_model", "latest_versions", "source"]),
        JsonPath::at(&["registered_models", "latest_versions", "source"]),
        JsonPath::at(&["artifact_uri"]),
    ],
};
/// A workspace has a root for the locations of its experiments, and one for traces that are archived.
const WORKSPACES: Locations = Locations {
    request: &[
        JsonPath::at(&["default_artifact_root"]),
        JsonPath::at(&["defaultArtifactRoot"]),
        JsonPath::at(&["trace_archival_config", "location"]),
        JsonPath::at(&["traceArchivalConfig", "location"]),
    ],
    response: &[
        JsonPath::at(&["workspace", "default_artifact_root"]),
        JsonPath::at(&["workspace", "trace_archival_config", "location"]),
        JsonPath::at(&["workspaces", "default_artifact_root"]),
        JsonPath::at(&["workspaces", "trace_archival_config", "location"]),
    ],
};
const ARTIFACTS: Locations = Locations { request: NONE, response: &[JsonPath::at(&["root_uri"])] };

/// Tags are an object in version 3 of the API and a list of keys and values in version 2.
macro_rules! trace_paths {
    ($([$($key:literal),*]),+ $(; $($more:tt)*)?) => {
        &[$(
            JsonPath::at(&[$($key,)* "tags", "mlflow.artifactLocation"]),
            JsonPath::at(&[$($key,)* "tags", "mlflow.trace.archiveLocation"]),
            JsonPath { path: &[$($key,)* "tags", "value"], if_key: TRACE_TAGS, kind: StringKind::Location },
        )+ $($($more)*)?]
    };
}
const TRACES: Locations = Locations {
    request: trace_paths!(
        ["trace", "trace_info"],
        ["trace", "traceInfo"],
        ["trace_info"],
        ["traceInfo"],
        [];
        // One tag, as it is set by itself.
        JsonPath { path: &["value"], if_key: TRACE_TAGS, kind: StringKind::Location }
    ),
    response: trace_paths!(
        ["trace", "trace_info"],
        ["traces", "trace_info"],
        ["trace_info"],
        ["trace_infos"],
        ["traces"]
    ),
};
/// The paths in the answer depend on the document; [`of_graphql`] finds them.
const GRAPHQL: Locations = Locations {
    request: &[
        JsonPath::of(StringKind::Document, &["query"]),
        JsonPath::of(StringKind::Filter, &["variables", "*"]),
        JsonPath::of(StringKind::Filter, &["variables", "*", "filter"]),
    ],
    response: NONE,
};
/// The fields of MLflow's GraphQL schema that are locations, or texts that can repeat some.
const GRAPHQL_FIELDS: [(&str, &str, StringKind); 5] = [
    ("MlflowRunInfo", "artifactUri", StringKind::Location),
    ("MlflowExperiment", "artifactLocation", StringKind::Location),
    ("MlflowModelVersion", "source", StringKind::Location),
    ("MlflowListArtifactsResponse", "rootUri", StringKind::Location),
    ("ApiError", "message", StringKind::Message),
];
/// The paths in an error of the REST API.
pub const ERROR: &[JsonPath] = &[JsonPath::of(StringKind::Message, &["message"])];

/// Returns the paths to translate for a request path, as MLflow reads it.
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
        // A file is no document of the API, whatever is in it.
        Some("logged-models") if rest.ends_with("/artifacts/files") => Locations::default(),
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

/// Returns true for the path that takes spans by OTLP. They have no paths to translate, and can name locations in trace tags
/// ([`super::trace_tags`]).
#[must_use]
pub fn takes_spans(path: &str) -> bool {
    path == "/v1/traces"
}

/// Returns the paths of locations in the answer to a GraphQL request. The caller chooses the keys; if they cannot be told, every string
/// may be one.
#[must_use]
pub fn of_graphql(body: Option<&[u8]>) -> JsonPaths {
    let Some(asked) = body.and_then(graphql::requested_fields) else { return JsonPaths::Everywhere };
    if asked.iter().any(|field| !field.is_known) {
        return JsonPaths::Everywhere;
    }
    let kind = |field: &graphql::RequestedField| {
        GRAPHQL_FIELDS
            .iter()
            .find(|(parent, name, _)| (*parent, *name) == (field.parent, &field.name))
            .map(|found| found.2)
    };
    let found = asked.into_iter().filter_map(|field| Some((kind(&field)?, field.path)));
    let mut paths: Vec<_> = found.map(|(kind, path)| ([vec!["data".to_owned()], path].concat(), kind)).collect();
    paths.push((vec!["errors".to_owned(), "message".to_owned()], StringKind::Message));
    paths.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    paths.dedup();
    if paths.len() > JsonPaths::LIMIT { JsonPaths::Everywhere } else { JsonPaths::Requested(paths) }
}

/// Returns the part after `…/mlflow/` in a path of the REST API or its mirror for the UI.
#[must_use]
pub fn api(path: &str) -> Option<&str> {
    let rest = versioned(path)?;
    let rest = rest.strip_prefix("2.0/preview/").or_else(|| rest.strip_prefix("2.0/")).or_else(|| {
        // `/api/2.0mlflow/…` is a route of MLflow's, too.
        rest.strip_prefix("3.0/").or_else(|| rest.strip_prefix("2.0"))
    })?;
    rest.strip_prefix("mlflow/")
}

/// Returns the part after `…/mlflow-artifacts/` in a path of the artifact service or its mirror for the UI.
#[must_use]
pub fn artifact_service(path: &str) -> Option<&str> {
    versioned(path)?.strip_prefix("2.0/mlflow-artifacts/")
}

fn versioned(path: &str) -> Option<&str> {
    path.strip_prefix("/api/").or_else(|| path.strip_prefix("/ajax-api/"))
}

#[cfg(test)]
mod tests;
