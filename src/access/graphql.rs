//! What a GraphQL request does: the fields at the top of its operations.
//!
//! One path serves reading and changing, so the role depends on the body. Every operation of a document counts, whichever
//! is executed: a caller has no need to send others.

use std::collections::HashMap;

use apollo_parser::Parser;
use apollo_parser::cst::{Definition, OperationDefinition, Selection, SelectionSet};
use serde::Deserialize;

use super::routes::{self, Route, UNCLASSIFIED};

/// MLflow's UI nests a dozen levels.
const RECURSION_LIMIT: usize = 64;
/// The UI's largest document has a few hundred.
const TOKEN_LIMIT: usize = 20_000;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    query: std::borrow::Cow<'a, str>,
}

/// What each field at the top of a request's operations needs. What cannot be understood needs the strictest role.
#[must_use]
pub fn routes(body: &[u8]) -> Vec<Route> {
    let document = serde_json::from_slice::<Request<'_>>(body).ok();
    document.and_then(|request| fields(&request.query)).unwrap_or_else(|| vec![UNCLASSIFIED])
}

fn fields(document: &str) -> Option<Vec<Route>> {
    let tree = Parser::new(document).recursion_limit(RECURSION_LIMIT).token_limit(TOKEN_LIMIT).parse();
    if tree.errors().next().is_some() {
        return None;
    }
    let mut fragments = HashMap::new();
    let mut operations = Vec::new();
    for definition in tree.document().definitions() {
        match definition {
            Definition::OperationDefinition(operation) => operations.push(operation),
            Definition::FragmentDefinition(fragment) => {
                let name = fragment.fragment_name()?.name()?.text().to_string();
                fragments.insert(name, fragment.selection_set()?);
            }
            _ => return None,
        }
    }
    let mut found = Vec::new();
    for operation in &operations {
        let mut names = Vec::new();
        // Fragments may name each other in a circle.
        let mut patience = RECURSION_LIMIT;
        gather(&operation.selection_set()?, &fragments, &mut names, &mut patience)?;
        let kind = kind(operation)?;
        found.extend(names.iter().map(|name| routes::of_field(kind, name)));
    }
    (!found.is_empty()).then_some(found)
}

fn kind(operation: &OperationDefinition) -> Option<&'static str> {
    let Some(kind) = operation.operation_type() else { return Some("QUERY") };
    match (kind.query_token(), kind.mutation_token()) {
        (Some(_), _) => Some("QUERY"),
        (_, Some(_)) => Some("MUTATION"),
        _ => None,
    }
}

fn gather(
    selections: &SelectionSet,
    fragments: &HashMap<String, SelectionSet>,
    names: &mut Vec<String>,
    patience: &mut usize,
) -> Option<()> {
    *patience = patience.checked_sub(1)?;
    for selection in selections.selections() {
        match selection {
            Selection::Field(field) => names.push(field.name()?.text().to_string()),
            Selection::InlineFragment(inline) => gather(&inline.selection_set()?, fragments, names, patience)?,
            Selection::FragmentSpread(spread) => {
                let name = spread.fragment_name()?.name()?.text().to_string();
                gather(fragments.get(&name)?, fragments, names, patience)?;
            }
        }
    }
    Some(())
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
    fn the_fields_at_the_top_say_what_is_done() {
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
    fn what_is_not_understood_needs_the_strictest_role() {
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
