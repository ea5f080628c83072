//! The header filter, which every request passes: what MLflow's client sends, and what a browser behind a balancer does.

use std::hint::black_box;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use appliance::http::headers;
use criterion::Criterion;

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

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, of) in [("client", CLIENT), ("browser", BROWSER)] {
        let inbound = fields(of);
        criterion.bench_function(&format!("headers/{name}"), |bench| {
            bench.iter(|| headers::for_upstream(black_box(&inbound)));
        });
    }
    criterion.final_summary();
}
