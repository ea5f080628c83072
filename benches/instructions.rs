//! Instruction counts of the steps that requests pass. Valgrind counts them, so a change of one percent shows on any machine,
//! however busy it is. `benches/instructions/run` runs this and compares the counts with a baseline.
#![allow(
    missing_docs,
    clippy::exit,
    clippy::disallowed_methods,
    reason = "the macros make public items and end the process"
)]

use std::hint::black_box;
use std::time::{Duration, UNIX_EPOCH};

use actix_web::error::PayloadError;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use appliance::access::caller::{Role, Targets};
use appliance::access::policy::{Denial, Policy};
use appliance::access::tokens::{TokenEntry, Tokens};
use appliance::access::{graphql, routes, token};
use appliance::aws::sigv4::{EMPTY_SHA256, Signable, Signer};
use appliance::http::body::{BodyLimits, BodyOwner, Budget, BudgetKind, Timing, buffer};
use appliance::http::{headers, uri};
use appliance::mlflow::locations;
use appliance::mlflow::rewrite::Rewriter;
use appliance::mlflow::store::ArtifactStore;
use appliance::mlflow::target::TRACKING_SERVER_ARN_HEADER;
use aws_credential_types::Credentials;
use bytes::Bytes;
use futures_util::stream;
use gungraun::prelude::*;
use ring::rand::SystemRandom;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

const PATH: &str = "/api/2.0/mlflow/runs/log-metric";

fn signer_and_credentials() -> (Signer, Credentials) {
    let token = "t".repeat(900);
    let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", Some(token), None, "benchmark");
    (Signer::new("us-east-1", "sagemaker-mlflow"), credentials)
}

fn sign(target: &str, (signer, credentials): &(Signer, Credentials)) {
    let request = Signable {
        method: "GET",
        target,
        host: "us-east-1.experiments.sagemaker.aws",
        content_type: None,
        routing: Some((
            TRACKING_SERVER_ARN_HEADER,
            "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/bench",
        )),
        payload_sha256: EMPTY_SHA256,
    };
    drop(black_box(signer.sign(black_box(&request), credentials, UNIX_EPOCH + Duration::from_secs(1_800_000_000))));
}

/// A signer that has derived the key of the day.
fn signer_with_key(target: &str) -> (String, (Signer, Credentials)) {
    let both = signer_and_credentials();
    sign(target, &both);
    (target.to_owned(), both)
}

fn long_query() -> String {
    format!("/api/2.0/mlflow/metrics/get-history?{}", "metric_key=loss%2Ftrain&".repeat(20))
}

#[library_benchmark]
#[bench::get(signer_with_key("/api/2.0/mlflow/runs/get?run_id=0123456789abcdef"))]
#[bench::long_query(signer_with_key(&long_query()))]
#[bench::new_key(("/".to_owned(), signer_and_credentials()))]
fn signing((target, both): (String, (Signer, Credentials))) {
    sign(&target, &both);
}

/// The header fields of MLflow's Python client.
const CLIENT: &[(&str, &str)] = &[
    ("host", "127.0.0.1:5000"),
    ("user-agent", "mlflow-python-client/3.17.2"),
    ("accept-encoding", "gzip, deflate"),
    ("accept", "*/*"),
    ("connection", "keep-alive"),
    ("content-type", "application/json"),
    ("content-length", "1024"),
    ("authorization", "Bearer of-somebody"),
];
/// The header fields of a browser behind a load balancer.
const BROWSER: &[(&str, &str)] = &[
    ("host", "mlflow.example.com"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("cookie", "appliance=abc; other=def"),
    ("referer", "https://mlflow.example.com/"),
    ("origin", "https://mlflow.example.com"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("x-amzn-trace-id", "Root=1-67891233-abcdef012345678912345678"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-proto", "https"),
    ("if-none-match", "\"0123456789\""),
    ("connection", "keep-alive"),
];

fn fields(of: &[(&'static str, &'static str)]) -> HeaderMap {
    of.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

#[library_benchmark]
#[bench::client(fields(CLIENT))]
#[bench::browser(fields(BROWSER))]
fn header_filter(inbound: HeaderMap) {
    drop(black_box(headers::for_upstream(black_box(&inbound))));
}

/// A body of a size in bytes, and what receives it.
fn body(size: usize) -> (Runtime, Bytes, BodyLimits) {
    let body_limits = BodyLimits {
        size_limit: 1 << 30,
        memory_limit: 2 << 20,
        arriving: Budget::new(BudgetKind::Arriving, u64::MAX),
        gathering: Budget::new(BudgetKind::Gathering, u64::MAX),
        memory: Budget::new(BudgetKind::Memory, 64 << 20),
        disk: Budget::new(BudgetKind::Disk, 1 << 30),
        directory: std::env::temp_dir().into(),
        timing: Timing { idle_timeout: Duration::from_secs(60), total: Duration::from_secs(60) },
        streams_large: false,
    };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    (runtime, Bytes::from(vec![b'x'; size]), body_limits)
}

#[library_benchmark]
#[bench::kib(body(1 << 10))]
#[bench::mib(body(1 << 20))]
fn buffering((runtime, body, body_limits): (Runtime, Bytes, BodyLimits)) {
    // The server hands bodies over in pieces of this size.
    const PIECE: usize = 32 * 1024;
    let pieces = (0..body.len()).step_by(PIECE).map(|at| body.slice(at..body.len().min(at + PIECE)));
    let payload = stream::iter(pieces.map(Ok::<_, PayloadError>));
    drop(black_box(
        runtime
            .block_on(buffer(payload, Some(body.len() as u64), &body_limits, &BodyOwner::default()))
            .expect("there is room"),
    ));
}

/// A page of 100 runs, whose artifacts are below a location.
fn page(artifacts: &str) -> (ArtifactStore, Bytes) {
    let runs: Vec<_> = (0..100)
        .map(|number| {
            let metrics: Vec<_> = (0..20)
                .map(|at| json!({"key": format!("metric_{at}"), "value": 0.125, "timestamp": 1_800_000_000_000_u64, "step": at}))
                .collect();
            let info = json!({"run_id": format!("{number:032x}"), "status": "FINISHED", "artifact_uri": format!("{artifacts}/{number}")});
            json!({"info": info, "data": {"metrics": metrics, "params": [{"key": "note", "value": "a \"quoted\" text"}]}})
        })
        .collect();
    (ArtifactStore::parse("s3://bucket/team").expect("a store"), json!({"runs": runs}).to_string().into())
}

#[library_benchmark]
#[bench::page_of_100_runs(page("s3://bucket/team/0"))]
#[bench::nothing_to_replace(page("s3://elsewhere/0"))]
fn json_rewriting((store, page): (ArtifactStore, Bytes)) {
    // The upstream's responses come in pieces of this size.
    const PIECE: usize = 16 * 1024;
    let places = locations::of("/api/2.0/mlflow/runs/search").response;
    let mut rewriter = Rewriter::new(places, |_, uri: &str| store.publish(uri));
    for from in (0..page.len()).step_by(PIECE) {
        black_box(rewriter.push(page.slice(from..page.len().min(from + PIECE))));
    }
    black_box(rewriter.finish());
}

fn three_rules() -> Policy {
    // The first look at a route builds the table of routes, which takes 9 million instructions.
    black_box(routes::of("POST", PATH));
    let rules = ["runs:delete@write", "registered-models:*", "webhooks:*@write"];
    Policy(rules.map(|rule| Denial::parse(rule).expect("a rule")).into())
}

#[library_benchmark]
#[bench::three_rules(three_rules())]
fn policy(policy: Policy) {
    let path = uri::normalize_path(black_box(PATH)).expect("a path");
    let _ = black_box(policy.decide(black_box(Role::Write), routes::of("POST", &path)));
}

fn document() -> String {
    black_box(routes::of("POST", PATH));
    let query = "query Q { mlflowGetRun(input: {runId: \"1\"}) { run { info { runId status } } } }";
    json!({"operationName": "Q", "query": query}).to_string()
}

#[library_benchmark]
#[bench::one_field(document())]
fn graphql_document(document: String) {
    black_box(graphql::routes(black_box(document.as_bytes())));
}

/// A file of 1,000 tokens, and the text of the last one.
fn thousand_tokens() -> (Tokens, String) {
    let (random, mut tokens, mut last) = (SystemRandom::new(), Tokens::default(), String::new());
    for number in 0..1_000 {
        let new = token::generate(&random).expect("randomness");
        let entry = TokenEntry {
            id: new.id,
            name: format!("caller-{number}"),
            role: Role::Write,
            targets: Targets::All,
            created: UNIX_EPOCH,
            expires: None,
            hash: new.hash,
            personal: None,
        };
        tokens.add(entry).expect("ids differ");
        new.text.expose_secret().clone_into(&mut last);
    }
    (tokens, last)
}

#[library_benchmark]
#[bench::one_of_1000(thousand_tokens())]
fn token_lookup((tokens, presented): (Tokens, String)) -> Tokens {
    let _ = black_box(tokens.find(black_box(&presented), UNIX_EPOCH));
    // The caller drops them, so that this is not counted.
    tokens
}

library_benchmark_group!(
    name = steps,
    benchmarks = [signing, header_filter, buffering, json_rewriting, policy, graphql_document, token_lookup]
);
main!(library_benchmark_groups = steps);
