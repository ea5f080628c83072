//! The actions that a GraphQL document takes.

use super::policy::setup;
use crate::support::upstream::Upstream;

#[test]
fn graphql_fields_below_the_top_are_judged_by_their_type() {
    let reader = setup(Upstream::ok(), "read", &["--deny", "model-versions:*@read,experiments:*@read"]);
    for (query, expected) in [
        ("{ mlflowGetRun { run { info { runId } data { tags { key } } } } }", 200),
        ("{ mlflowGetRun { run { experiment { name } } } }", 403),
        ("{ mlflowGetRun { run { data: experiment { name } } } }", 403),
        ("{ mlflowGetRun { r: run { modelVersions { name } } } }", 403),
        ("{ mlflowGetRun { ...F } } fragment F on MlflowGetRunResponse { run { ... { experiment { name } } } }", 403),
        ("mutation { mlflowSearchRuns { runs { ... on MlflowRunExtension { modelVersions { source } } } } }", 403),
        ("{ mlflowGetExperiment { experiment { name } } }", 403),
        ("{ mlflowGetRun { run { later { name } } } }", 403),
        ("{ mlflowGetRun { run { info { experimentId } } } __schema { types { name } } }", 403),
    ] {
        let body = serde_json::json!({"query": query}).to_string();
        assert_eq!(reader.ask("POST", "/graphql", Some(&body)).status, expected, "{query}");
    }
}

#[test]
fn graphql_is_judged_by_its_operations() {
    let reader = setup(Upstream::ok(), "read", &[]);
    let document = |query: &str| serde_json::json!({"query": query}).to_string();
    let reads = document("query { mlflowGetRun { run { info { runId } } } }");
    let hidden = document("query A { mlflowGetRun { x } } mutation B { mlflowDeleteRun { x } }");
    let alias = document("{ mlflowGetRun: mlflowSetTag { x } }");
    let nested = document(&format!("{}{}", "{ mlflowGetRun ".repeat(100_000), "}".repeat(100_000)));
    for (body, expected) in [
        (reads.as_str(), 200),
        (&document("mutation { mlflowSearchRuns { x } }"), 200),
        (&document("mutation { mlflowGetRun { x } }"), 403),
        (&hidden, 403),
        (&alias, 403),
        (&nested, 403),
        ("not json", 403),
        ("{\"query\": \"{ mlflowGetRun { x } }\", \"query\": \"{ mlflowSetTag { x } }\"}", 403),
        ("", 403),
    ] {
        let answer = reader.ask("POST", "/graphql", Some(body));
        assert_eq!(answer.status, expected, "{}: {}", &body[..body.len().min(80)], answer.text());
    }
    assert_eq!(reader.ask("POST", "/graphql?query=%7BmlflowSetTag%7D", Some(&reads)).status, 403);
    let admin = setup(Upstream::ok(), "admin", &[]);
    assert_eq!(admin.ask("POST", "/graphql", Some(&hidden)).status, 200);
    let denied = setup(Upstream::ok(), "admin", &["--deny", "runs:get"]);
    assert_eq!(denied.ask("POST", "/graphql", Some(&reads)).status, 403, "rules hold for what a document does");
}
