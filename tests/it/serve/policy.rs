//! The actions that callers may take: the role that each route needs, and deny rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use appliance::access::routes;
use appliance::mlflow::graphql;

use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Answer;
use crate::support::tokens::{Token, TokenFile};
use crate::support::upstream::Upstream;
use crate::support::{Message as _, figure, python};

/// The POSTs that only read, as MLflow's documents describe them: independent of the table under test.
const READING_POSTS: [&str; 17] = [
    "mlflow/experiments/search",
    "mlflow/experiments/search-datasets",
    "2.0mlflow/experiments/search-datasets",
    "mlflow/runs/search",
    "mlflow/logged-models/search",
    "mlflow/registered-models/get-latest-versions",
    "mlflow/traces/search",
    "mlflow/traces/batchGetInfos",
    "mlflow/traces/calculate-filter-correlation",
    "mlflow/traces/metrics",
    "mlflow/datasets/search",
    "mlflow/issues/search",
    "mlflow/prompt-optimization/jobs/search",
    "jobs/search",
    "mlflow/artifacts/presigned-download-url",
    "mlflow/ui-telemetry",
    "graphql",
];

/// All routes of the installed MLflow, and the fields of its GraphQL schema, as method and path.
fn installed() -> Vec<(String, String)> {
    let bin = python::environment();
    let rows = python::run(&bin, "routes.py", &[], b"");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(|row| (text(&row[0]), text(&row[1]))).collect()
}

/// A path that fits a route.
fn example(route: &str) -> String {
    let mut path = String::new();
    let mut rest = route;
    while let Some((before, after)) = rest.split_once('{') {
        let (parameter, after) = after.split_once('}').unwrap();
        let _ = write!(path, "{before}{}", if parameter.starts_with('*') { "a/b" } else { "a" });
        rest = after;
    }
    path + rest
}

fn is_field(method: &str) -> bool {
    matches!(method, "QUERY" | "MUTATION")
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn every_route_of_the_installed_mlflow_is_classified() {
    let rows = installed();
    let mut unknown = Vec::new();
    for (method, path) in &rows {
        let route = if is_field(method) { routes::of_field(method, path) } else { routes::of(method, &example(path)) };
        if route == routes::UNCLASSIFIED {
            unknown.push(format!("{method} {path}"));
        }
    }
    assert!(rows.len() > 480, "the routes were found: {}", rows.len());
    assert!(unknown.is_empty(), "add these to src/access/routes.txt:\n{}", unknown.join("\n"));
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn every_type_of_the_installed_graphql_schema_is_known() {
    let bin = python::environment();
    let rows = python::run(&bin, "graphql_types.py", &[], b"");
    let rows: Vec<[String; 3]> = serde_json::from_value(rows).unwrap();
    let unknown: Vec<_> =
        rows.iter().filter(|[parent, field, own]| graphql::type_of(parent, field) != Some(own.as_str())).collect();
    assert!(rows.len() > 40 && unknown.is_empty(), "add these to src/mlflow/graphql.rs: {unknown:?}");
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn each_role_gets_what_it_may_and_nothing_else_reaches_the_upstream() {
    let rows = installed();
    let upstream = Upstream::ok();
    let tokens = TokenFile::new();
    let callers = ["read", "write", "admin"].map(|role| (role, tokens.add(role, role, &[])));
    let appliance = Builder::new(&upstream).with_tokens(&tokens).start();
    let mut passed = BTreeMap::<&str, usize>::new();
    let mut refused = BTreeMap::<&str, usize>::new();
    for (role, token) in &callers {
        let mut caller = appliance.connect();
        for (method, path) in rows.iter().filter(|(method, _)| !is_field(method)) {
            let path = example(path);
            let authorization = token.bearer();
            let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
            let body = r#"{"query": "{ mlflowGetRun { run { x } } }"}"#;
            let body = (method != "GET" || path == "/graphql").then_some(body.as_bytes());
            let answer = caller.request(method, &path, &headers, body);
            if answer.has("connection") {
                // The body was not read, and the connection ends.
                caller = appliance.connect();
            }
            match answer.status {
                200 => *passed.entry(role).or_default() += 1,
                403 => {
                    assert_eq!(answer.header("x-appliance-error"), "role-too-low", "{role} {method} {path}");
                    assert_eq!(answer.json()["error_code"], "PERMISSION_DENIED");
                    *refused.entry(role).or_default() += 1;
                }
                status => panic!("{role} {method} {path}: {status} {}", answer.text()),
            }
            // A reader's forwarded request is a GET, or one of the POSTs that are known to read.
            let tail = path.split_once("api/").map_or(&*path, |(_, rest)| rest);
            let tail = tail.trim_start_matches('/').trim_start_matches("2.0/").trim_start_matches("3.0/");
            let reads = method == "GET" || (method == "POST" && READING_POSTS.contains(&tail));
            assert!(*role != "read" || answer.status != 200 || reads, "`read` got through {method} {path}");
        }
    }
    assert_eq!(refused.get("admin"), None, "no request of `admin` is rejected");
    assert!(passed["read"] < passed["write"] && passed["write"] < passed["admin"], "{passed:?}");
    assert_eq!(upstream.requests().len(), passed.values().sum::<usize>(), "no rejected request was forwarded");
    figure(&format!("MLflow's routes by role: passed {passed:?}, refused {refused:?}"));
}

#[test]
fn the_documented_table_is_the_one_in_force() {
    let mut text = String::from(
        "# What each role may do\n\n\
         Made from `src/access/routes.txt` by `APPLIANCE_TEST_UPDATE=1 cargo test --test it documented_table`. `*` stands for `/api/2.0`,\n\
         `/api/3.0`, `/ajax-api/2.0` and `/ajax-api/3.0`. What is not in the table needs `admin`. A caller with a higher role may do\n\
         what those below it may. `--deny` takes names of the last column. QUERY and MUTATION are fields of GraphQL documents.\n",
    );
    let mut resource = "";
    for line in routes::lines() {
        let (group, _) = line.route.action.split_once(':').unwrap();
        if group != resource {
            let _ = write!(
                text,
                "\n## {group}\n\n| method | route | read | write | admin | action |\n|---|---|:-:|:-:|:-:|---|\n"
            );
            resource = group;
        }
        let mark = |role: &str| if line.route.role <= role.parse().unwrap() { "✓" } else { "" };
        let marks = ["read", "write", "admin"].map(mark).join(" | ");
        let _ = writeln!(text, "| {} | `{}` | {marks} | `{}` |", line.method, line.path, line.route.action);
    }
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/routes.md");
    if std::env::var_os("APPLIANCE_TEST_UPDATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(&file).unwrap_or_default() == text,
        "docs/reference/routes.md is out of date: its first line says how to make it"
    );
}

pub(super) struct Setup {
    pub(super) upstream: Upstream,
    pub(super) appliance: Appliance,
    pub(super) token: Token,
}

pub(super) fn setup(upstream: Upstream, role: &str, arguments: &[&str]) -> Setup {
    let tokens = TokenFile::new();
    let token = tokens.add("ci", role, &[]);
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with(arguments).start();
    Setup { upstream, appliance, token }
}

impl Setup {
    #[track_caller]
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let bearer = self.token.bearer();
        self.appliance.connect().request(method, path, &[("Authorization", &bearer)], body.map(str::as_bytes))
    }
}

#[test]
fn deny_rules_apply_where_iam_has_no_action() {
    let rules = "experiments:delete,registered-models:delete*,gateway*:*@write";
    let write = setup(Upstream::ok(), "write", &["--deny", rules]);
    let admin = setup(Upstream::ok(), "admin", &["--deny", rules]);
    for (method, path, of_write, of_admin) in [
        ("POST", "/api/2.0/mlflow/experiments/delete", 403, 403),
        ("POST", "/ajax-api/2.0/mlflow/experiments/delete", 403, 403),
        ("POST", "/api/2.0/mlflow/experiments%2Fdelete", 403, 403),
        ("POST", "/api/2.0/mlflow/%65xperiments/delet%65", 403, 403),
        ("DELETE", "/api/2.0/mlflow/registered-models/delete", 403, 403),
        ("DELETE", "/api/2.0/mlflow/registered-models/delete-tag", 403, 403),
        ("POST", "/gateway/openai/v1/responses", 403, 200),
        ("POST", "/api/2.0/mlflow/experiments/restore", 200, 200),
        ("POST", "/api/2.0/mlflow/runs/delete", 200, 200),
    ] {
        for (setup, expected) in [(&write, of_write), (&admin, of_admin)] {
            let answer = setup.ask(method, path, Some("{}"));
            assert_eq!(answer.status, expected, "{method} {path}: {}", answer.text());
            assert!(expected == 200 || answer.header("x-appliance-error") == "denied-by-rule");
        }
    }
}

#[test]
fn no_spelling_of_a_route_evades_a_rule() {
    let admin = setup(Upstream::ok(), "admin", &["--deny", "experiments:delete,model-versions:*@read"]);
    for path in [
        "//api/2.0/mlflow/experiments/delete",
        "///ajax-api/2.0/mlflow/experiments/delete",
        "/api//2.0/mlflow/experiments/delete",
        "/api/2.0/mlflow/experiments//delete",
        "/api/2.0/mlflow/experiments/delete/",
        "/api/2.0/mlflow/experiments/delete//",
        "/api/2.0/mlflow%2Fexperiments%2fdelete",
        "/%2Fapi/2.0/mlflow/experiments/delete",
        "/%61pi/2.0/mlflow/experiments/delet%65",
        "/api/2.0/mlflow/experiments/delete;x=1",
        "/api/2.0/mlflow/experiments%252Fdelete",
        "/api/2.0/mlflow/experiments+delete",
        "/api/2.0/mlflow/Experiments/delete",
        "/api/2.0/preview/mlflow/experiments/delete",
        "/api/9.0/mlflow/experiments/delete",
    ] {
        let answer = admin.ask("POST", path, Some("{}"));
        assert_eq!((answer.status, answer.header("x-appliance-error")), (403, "denied-by-rule"), "{path}");
    }
    // The rule does not forbid this, whatever the slashes.
    assert_eq!(admin.ask("POST", "//api/2.0/mlflow//experiments/restore", Some("{}")).status, 200);
    assert_eq!(admin.upstream.only_request().target, "/api/2.0/mlflow/experiments/restore");
    // GraphQL that is not understood could do anything, too.
    for (path, body) in [
        ("/graphql?x=1", r#"{"query": "{ mlflowGetRun { x } }"}"#.to_owned()),
        ("/graphql", "no json".to_owned()),
        ("//graphql", "{}".to_owned()),
        ("/graphql", format!(r#"{{"query": "{{ mlflowGetRun {{ x }} }}{}"}}"#, " ".repeat(1 << 21))),
    ] {
        let answer = admin.ask("POST", path, Some(&body));
        assert_eq!((answer.status, answer.header("x-appliance-error")), (403, "denied-by-rule"), "{path}");
    }
    assert_eq!(admin.upstream.requests().len(), 1);
}

#[test]
fn an_unknown_route_is_named_in_the_error() {
    let write = setup(Upstream::ok(), "write", &[]);
    let answer = write.ask("POST", "/api/2.0/mlflow/runs/obliterate", None);
    assert_eq!((answer.status, answer.header("x-appliance-error")), (403, "role-too-low"));
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    for part in ["no route of MLflow", "`POST /api/2.0/mlflow/runs/obliterate`", "`admin`", "`write`"] {
        assert!(message.contains(part), "{message}");
    }
    let long = write.ask("GET", &format!("/{}", "x".repeat(5000)), None);
    assert!(long.status == 403 && long.text().len() < 1000, "{}", long.text());
}
