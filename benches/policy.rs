//! The decision about a request: its path in normal form, the route, the token and the deny rules.

use std::hint::black_box;
use std::time::UNIX_EPOCH;

use appliance::access::caller::{Role, Targets};
use appliance::access::policy::{Denial, Policy};
use appliance::access::tokens::{Entry, Tokens};
use appliance::access::{graphql, routes, token};
use appliance::http::uri;
use criterion::Criterion;
use ring::rand::SystemRandom;
use secrecy::ExposeSecret as _;
use serde_json::json;

const PATH: &str = "/api/2.0/mlflow/runs/log-metric";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let random = SystemRandom::new();
    let mut tokens = Tokens::default();
    let mut last = None;
    for number in 0..1_000 {
        let new = token::generate(&random).expect("randomness");
        let entry = Entry {
            id: new.id,
            name: format!("caller-{number}"),
            role: Role::Write,
            targets: Targets::All,
            created: UNIX_EPOCH,
            expires: None,
            hash: new.hash,
        };
        tokens.add(entry).expect("ids differ");
        last = Some(new.text);
    }
    let presented = last.expect("there are tokens");
    let rules = ["runs:delete@write", "registered-models:*", "webhooks:*@write"];
    let policy = Policy(rules.map(|rule| Denial::parse(rule).expect("a rule")).into());
    let query = "query Q { mlflowGetRun(input: {runId: \"1\"}) { run { info { runId status } } } }";
    let document = json!({"operationName": "Q", "query": query}).to_string();

    criterion.bench_function("policy/path", |bench| bench.iter(|| uri::normalize_path(black_box(PATH)).map(drop)));
    criterion.bench_function("policy/route", |bench| bench.iter(|| routes::of("POST", black_box(PATH))));
    criterion.bench_function("policy/graphql", |bench| bench.iter(|| graphql::routes(black_box(document.as_bytes()))));
    criterion.bench_function("policy/token of 1,000", |bench| {
        bench.iter(|| tokens.find(black_box(presented.expose_secret()), UNIX_EPOCH).is_ok());
    });
    criterion.bench_function("policy/three rules", |bench| {
        let route = routes::of("POST", PATH);
        bench.iter(|| policy.decide(black_box(Role::Write), route).is_ok());
    });
    criterion.final_summary();
}
