//! The actions of a GraphQL request: the fields that MLflow resolves by calling its APIs.
//!
//! One path serves reading and changing, so the role depends on the body. Every operation of a document counts, whichever
//! is executed: a caller has no need to send others. Below the top, a field counts by the type that it belongs to: a run
//! gives its experiment, which a rule may deny to a caller who may see the run.

use super::routes::{self, Route, UNCLASSIFIED};
use crate::mlflow::graphql::{self, MUTATION, QUERY, RequestedField};

/// Returns the route of each such field. A document that cannot be understood needs the strictest role.
#[must_use]
pub fn routes(body: &[u8]) -> Vec<Route> {
    let asked = graphql::requested_fields(body).unwrap_or_default();
    let found: Vec<Route> = asked.iter().filter_map(route).collect();
    if found.is_empty() { vec![UNCLASSIFIED] } else { found }
}

/// Returns the route of a field, or nothing if the field above it has already supplied its value.
fn route(field: &RequestedField) -> Option<Route> {
    if matches!(field.parent, QUERY | MUTATION) {
        return Some(routes::of_field(field.parent, &field.name));
    }
    let resolved = routes::of_nested_field(field.parent, &field.name);
    // SECURITY: a later MLflow may resolve more fields by calling an API, and those have fields of their own.
    resolved.or_else(|| (!field.is_known).then_some(UNCLASSIFIED))
}

#[cfg(test)]
mod tests {
    use super::super::caller::Role;
    use super::*;

    fn actions(document: &str) -> Vec<&'static str> {
        let body = serde_json::json!({"operationName": "x", "query": document, "variables": {}}).to_string();
        routes(body.as_bytes()).into_iter().map(|route| route.action).collect()
    }

    #[test]
    fn the_fields_at_the_top_are_the_actions() {
        assert_eq!(
            actions("query GetRun($d: In) { mlflowGetRun(input: $d) { run { info { runId } } } }"),
            ["runs:get"]
        );
        assert_eq!(actions("{ alias: mlflowGetRun { x } mlflowGetExperiment { y } }"), ["runs:get", "experiments:get"]);
        assert_eq!(actions("mutation { mlflowSearchRuns { x } }"), ["runs:search"]);
        assert_eq!(actions("query { ...F } fragment F on Query { mlflowGetRun { x } }"), ["runs:get"]);
        assert_eq!(actions("query { ... on Query { mlflowGetRun { x } } }"), ["runs:get"]);
        let two = "query A { mlflowGetRun { x } } mutation B { mlflowDeleteEverything { x } }";
        assert_eq!(actions(two), ["runs:get", UNCLASSIFIED.action]);
        assert_eq!(actions("{ mlflowGetRun: mlflowDeleteEverything { x } }"), [UNCLASSIFIED.action]);
    }

    #[test]
    fn fields_below_the_top_count_by_the_type_that_has_them() {
        let nested = ["runs:get", "experiments:get", "model-versions:search"];
        assert_eq!(actions("{ mlflowGetRun { run { experiment { name } modelVersions { name } } } }"), nested);
        assert_eq!(
            actions("{ mlflowGetRun { run { info: experiment { name } data: modelVersions { name } } } }"),
            nested
        );
        assert_eq!(
            actions(
                "{ mlflowGetRun { r: run { ...F } } } fragment F on MlflowRunExtension { ... on MlflowRunExtension { e: experiment { name } } ...G }
                 fragment G on MlflowRunExtension { modelVersions { source } }"
            ),
            nested
        );
        assert_eq!(
            actions("mutation { mlflowSearchRuns { runs { experiment { name } } } }"),
            ["runs:search", "experiments:get"]
        );
        // The field of another type that has the same name is not resolved by itself.
        assert_eq!(actions("{ mlflowSearchModelVersions { modelVersions { name } } }"), ["model-versions:search"]);
        assert_eq!(actions("{ mlflowGetExperiment { experiment { name } } }"), ["experiments:get"]);
        assert_eq!(actions("{ mlflowGetRun { run { owner { name } } } }"), ["runs:get", UNCLASSIFIED.action]);
    }

    #[test]
    fn an_invalid_document_needs_the_strictest_role() {
        let deep = format!("{{ mlflowGetRun {}{} }}", "{ a ".repeat(5000), "}".repeat(5000));
        let circle = "{ ...F } fragment F on Query { ...G } fragment G on Query { ...F }";
        let long = format!("{{ {} }}", "mlflowGetRun ".repeat(50_000));
        for document in
            ["", "{", "subscription { mlflowGetRun }", "{ ...Missing }", circle, &deep, &long, "type A { b: C }"]
        {
            assert_eq!(actions(document), [UNCLASSIFIED.action], "{}", &document[..document.len().min(60)]);
        }
        for body in [&b""[..], b"[]", b"{}", b"{\"query\": 1}", b"{\"query\": \"{mlflowGetRun}\"", b"\xff"] {
            assert_eq!(routes(body), [UNCLASSIFIED]);
        }
        assert_eq!(UNCLASSIFIED.role, Role::Admin);
    }
}
