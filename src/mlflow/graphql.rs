//! Reads the fields that a GraphQL document requests, and the type of each, despite fragments and aliases.
//!
//! The types are those of MLflow 3.17 (`mlflow/server/graphql`). Type conditions are not looked at: no field of MLflow's
//! has an interface or a union as its type, so a condition that names another type than the field's is an error there.

use std::borrow::Cow;
use std::collections::HashMap;

use apollo_parser::cst::{CstNode, Definition, Document, OperationDefinition, Selection, SelectionSet, StringValue};
use apollo_parser::{Parser, SyntaxTree};
use serde::Deserialize;

/// The deepest nesting of a document. MLflow's UI nests a dozen levels.
const RECURSION_LIMIT: usize = 64;
/// The most tokens of a document. The UI's largest document has a few hundred.
const TOKEN_LIMIT: usize = 20_000;
/// MLflow refuses documents with more than 1,000. Fragments that name each other can ask for a million in a few lines.
const SELECTION_LIMIT: usize = 2_000;

/// This is the parent type of a query's own fields.
pub const QUERY: &str = "QUERY";
/// This is the parent type of a mutation's own fields.
pub const MUTATION: &str = "MUTATION";

/// The fields with fields of their own: the type that has the field, its name, and its own type.
const TYPES: &[(&str, &str, &str)] = &[
    (QUERY, "mlflowGetExperiment", "MlflowGetExperimentResponse"),
    (QUERY, "mlflowGetMetricHistoryBulkInterval", "MlflowGetMetricHistoryBulkIntervalResponse"),
    (QUERY, "mlflowGetRun", "MlflowGetRunResponse"),
    (QUERY, "mlflowListArtifacts", "MlflowListArtifactsResponse"),
    (QUERY, "mlflowSearchModelVersions", "MlflowSearchModelVersionsResponse"),
    (QUERY, "mlflowSearchRuns", "MlflowSearchRunsResponse"),
    (QUERY, "test", "Test"),
    (MUTATION, "mlflowSearchDatasets", "MlflowSearchDatasetsResponse"),
    (MUTATION, "mlflowSearchRuns", "MlflowSearchRunsResponse"),
    (MUTATION, "testMutation", "TestMutation"),
    ("ApiError", "errorDetails", "ErrorDetail"),
    ("MlflowGetExperimentResponse", "experiment", "MlflowExperiment"),
    ("MlflowGetExperimentResponse", "apiError", "ApiError"),
    ("MlflowGetMetricHistoryBulkIntervalResponse", "metrics", "MlflowMetricWithRunId"),
    ("MlflowGetMetricHistoryBulkIntervalResponse", "apiError", "ApiError"),
    ("MlflowGetRunResponse", "run", "MlflowRun"),
    ("MlflowGetRunResponse", "apiError", "ApiError"),
    ("MlflowListArtifactsResponse", "files", "MlflowFileInfo"),
    ("MlflowListArtifactsResponse", "apiError", "ApiError"),
    ("MlflowSearchModelVersionsResponse", "modelVersions", "MlflowModelVersion"),
    ("MlflowSearchModelVersionsResponse", "apiError", "ApiError"),
    ("MlflowSearchRunsResponse", "runs", "MlflowRun"),
    ("MlflowSearchRunsResponse", "apiError", "ApiError"),
    ("MlflowSearchDatasetsResponse", "datasetSummaries", "MlflowDatasetSummary"),
    ("MlflowSearchDatasetsResponse", "apiError", "ApiError"),
    ("MlflowExperiment", "tags", "MlflowExperimentTag"),
    ("MlflowRun", "info", "MlflowRunInfo"),
    ("MlflowRun", "data", "MlflowRunData"),
    ("MlflowRun", "inputs", "MlflowRunInputs"),
    ("MlflowRun", "outputs", "MlflowRunOutputs"),
    ("MlflowRun", "experiment", "MlflowExperiment"),
    ("MlflowRun", "modelVersions", "MlflowModelVersion"),
    ("MlflowRunData", "metrics", "MlflowMetric"),
    ("MlflowRunData", "params", "MlflowParam"),
    ("MlflowRunData", "tags", "MlflowRunTag"),
    ("MlflowRunInputs", "datasetInputs", "MlflowDatasetInput"),
    ("MlflowRunInputs", "modelInputs", "MlflowModelInput"),
    ("MlflowRunOutputs", "modelOutputs", "MlflowModelOutput"),
    ("MlflowDatasetInput", "tags", "MlflowInputTag"),
    ("MlflowDatasetInput", "dataset", "MlflowDataset"),
    ("MlflowModelVersion", "tags", "MlflowModelVersionTag"),
    ("MlflowModelVersion", "modelParams", "MlflowModelParam"),
    ("MlflowModelVersion", "modelMetrics", "MlflowModelMetric"),
    ("MlflowModelVersion", "deploymentJobState", "MlflowModelVersionDeploymentJobState"),
];

/// Returns the type of a field with fields of its own; nothing if the schema has no such field.
#[must_use]
pub fn type_of(parent: &str, field: &str) -> Option<&'static str> {
    TYPES.iter().find(|(of, name, _)| *of == parent && *name == field).map(|(_, _, own)| *own)
}

/// A field that a document asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedField {
    /// The type that it is a field of; [`QUERY`] or [`MUTATION`] at the top.
    pub parent: &'static str,
    /// Its name in the schema.
    pub name: String,
    /// The keys under which the answer has it, from the top.
    pub path: Vec<String>,
    /// False if it has fields of its own and its type is unknown. Those are not listed.
    pub is_known: bool,
}

#[derive(Deserialize)]
struct GraphqlRequest<'a> {
    #[serde(borrow)]
    query: Cow<'a, str>,
}

/// Returns the fields that the operations of a request's document ask for; nothing if it cannot be understood.
#[must_use]
pub fn requested_fields(body: &[u8]) -> Option<Vec<RequestedField>> {
    let request = serde_json::from_slice::<GraphqlRequest<'_>>(body).ok()?;
    fields(&request.query)
}

fn parse(document: &str) -> Option<SyntaxTree<Document>> {
    let tree = Parser::new(document).recursion_limit(RECURSION_LIMIT).token_limit(TOKEN_LIMIT).parse();
    tree.errors().next().is_none().then_some(tree)
}

fn fields(document: &str) -> Option<Vec<RequestedField>> {
    let tree = parse(document)?;
    let mut walk = Walk { fragments: HashMap::new(), path: Vec::new(), found: Vec::new(), left: SELECTION_LIMIT };
    let mut operations = Vec::new();
    for definition in tree.document().definitions() {
        match definition {
            Definition::OperationDefinition(operation) => operations.push(operation),
            Definition::FragmentDefinition(fragment) => {
                let name = fragment.fragment_name()?.name()?.text().to_string();
                // SECURITY: servers differ in which of two fragments with one name they take.
                if walk.fragments.insert(name, fragment.selection_set()?).is_some() {
                    return None;
                }
            }
            _ => return None,
        }
    }
    for operation in &operations {
        walk.selections(&operation.selection_set()?, kind(operation)?, 0)?;
    }
    Some(walk.found)
}

fn kind(operation: &OperationDefinition) -> Option<&'static str> {
    let Some(kind) = operation.operation_type() else { return Some(QUERY) };
    match (kind.query_token(), kind.mutation_token()) {
        (Some(_), _) => Some(QUERY),
        (_, Some(_)) => Some(MUTATION),
        _ => None,
    }
}

/// A walk through all that the operations of a document select.
struct Walk {
    fragments: HashMap<String, SelectionSet>,
    path: Vec<String>,
    found: Vec<RequestedField>,
    left: usize,
}

impl Walk {
    fn selections(&mut self, selections: &SelectionSet, parent: &'static str, depth: usize) -> Option<()> {
        // Fragments may name each other in a circle.
        if depth > RECURSION_LIMIT {
            return None;
        }
        for selection in selections.selections() {
            self.left = self.left.checked_sub(1)?;
            match selection {
                Selection::Field(field) => {
                    let name = field.name()?.text().to_string();
                    if name == "__typename" {
                        continue;
                    }
                    let key = match field.alias() {
                        Some(alias) => alias.name()?.text().to_string(),
                        None => name.clone(),
                    };
                    self.path.push(key);
                    let own = type_of(parent, &name);
                    let below = field.selection_set();
                    let is_known = below.is_none() || own.is_some();
                    self.found.push(RequestedField { parent, name, path: self.path.clone(), is_known });
                    if let (Some(below), Some(own)) = (below, own) {
                        self.selections(&below, own, depth + 1)?;
                    }
                    self.path.pop();
                }
                Selection::InlineFragment(inline) => self.selections(&inline.selection_set()?, parent, depth + 1)?,
                Selection::FragmentSpread(spread) => {
                    let name = spread.fragment_name()?.name()?.text().to_string();
                    let below = self.fragments.get(&name)?.clone();
                    self.selections(&below, parent, depth + 1)?;
                }
            }
        }
        Some(())
    }
}

/// Returns the document with some of its strings replaced; nothing if none is, or if it cannot be understood.
pub fn with_strings(document: &str, mut replace: impl FnMut(&str) -> Option<String>) -> Option<String> {
    let tree = parse(document)?;
    let (mut text, mut from) = (String::new(), 0);
    for string in tree.document().syntax().descendants().filter_map(StringValue::cast) {
        let Some(new) = replace(&String::from(&string)) else { continue };
        // White space behind the string may belong to it in the tree.
        let token = string.syntax().first_token()?.text_range();
        text.push_str(&document[from..usize::from(token.start())]);
        // JSON and GraphQL escape the same characters in the same way.
        text.push_str(&serde_json::Value::String(new).to_string());
        from = usize::from(token.end());
    }
    (from > 0).then(|| text + &document[from..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested_by(document: &str) -> Vec<String> {
        let fields = fields(document).expect(document);
        fields
            .iter()
            .map(|field| {
                let mark = if field.is_known { "" } else { "?" };
                format!("{}.{}{mark}={}", field.parent, field.name, field.path.join("/"))
            })
            .collect()
    }

    #[test]
    fn fields_have_their_types_under_aliases_and_fragments() {
        let expected = [
            "QUERY.mlflowGetRun=a",
            "MlflowGetRunResponse.run=a/b",
            "MlflowRun.experiment=a/b/c",
            "MlflowExperiment.artifactLocation=a/b/c/d",
        ];
        for document in [
            "{ a: mlflowGetRun { b: run { c: experiment { d: artifactLocation __typename } } } __typename }",
            "query Q { ... on Query { a: mlflowGetRun { ...R } } }
             fragment R on MlflowGetRunResponse { b: run { ... { ...E } } }
             fragment E on MlflowRunExtension { c: experiment { d: artifactLocation } }",
        ] {
            assert_eq!(requested_by(document), expected, "{document}");
        }
        assert_eq!(requested_by("mutation { mlflowSearchRuns { runs { x } } }").len(), 3);
        assert_eq!(requested_by("{ __schema { types { name } } }"), ["QUERY.__schema?=__schema"]);
        assert_eq!(
            requested_by("{ mlflowGetRun { run { owner { name } } } }")[2],
            "MlflowRun.owner?=mlflowGetRun/run/owner"
        );
        assert_eq!(requested_by("{ __typename }"), [""; 0]);
    }

    #[test]
    fn a_document_that_multiplies_is_not_followed() {
        let doubling: String =
            (0..20).map(|at| format!("fragment F{at} on Query {{ ...F{0} ...F{0} }} ", at + 1)).collect();
        let document = format!("{{ ...F0 }} {doubling} fragment F20 on Query {{ mlflowGetRun {{ x }} }}");
        assert_eq!(fields(&document), None);
        assert_eq!(fields("{ ...F } fragment F on Query { ...G } fragment G on Query { ...F }"), None);
        assert_eq!(fields("subscription { x }"), None);
        assert_eq!(fields("{ ...F } fragment F on Query { a } fragment F on Query { b }"), None);
    }

    #[test]
    fn strings_are_replaced_and_nothing_else_is() {
        let swap = |text: &str| (text == "a 'b'").then(|| "c \"d\"\n".to_owned());
        assert_eq!(
            with_strings(
                "{ f(x: \"a 'b'\" , y: \"é\", z: {w: \"a \\u0027b'\"}) # \"a 'b'\"\n { é: g } }"
                    .replace("é: ", "")
                    .as_str(),
                swap
            )
            .as_deref(),
            Some("{ f(x: \"c \\\"d\\\"\\n\" , y: \"é\", z: {w: \"c \\\"d\\\"\\n\"}) # \"a 'b'\"\n { g } }")
        );
        assert_eq!(with_strings("{ f(x: \"\"\"a 'b'\"\"\") }", swap).as_deref(), Some("{ f(x: \"c \\\"d\\\"\\n\") }"));
        assert_eq!(with_strings("{ f(x: \"other\") }", swap), None);
        assert_eq!(with_strings("{ f(x: \"a 'b'\"", swap), None);
    }
}
