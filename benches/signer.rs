//! One signature, as every request needs it: of a request without a body, and with a long query.

use std::hint::black_box;
use std::time::{Duration, UNIX_EPOCH};

use appliance::aws::sigv4::{EMPTY_SHA256, Signable, Signer};
use appliance::mlflow::target::TRACKING_SERVER_ARN_HEADER;
use aws_credential_types::Credentials;
use criterion::Criterion;

const ARN: &str = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/bench";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let token = "t".repeat(900);
    let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", Some(token), None, "benchmark");
    let signer = Signer::new("us-east-1", "sagemaker-mlflow");
    let long = format!("/api/2.0/mlflow/metrics/get-history?{}", "metric_key=loss%2Ftrain&".repeat(20));
    for (name, target) in [("get", "/api/2.0/mlflow/runs/get?run_id=0123456789abcdef"), ("long query", &long)] {
        let request = Signable {
            method: "GET",
            target,
            host: "us-east-1.experiments.sagemaker.aws",
            content_type: None,
            routing: Some((TRACKING_SERVER_ARN_HEADER, ARN)),
            payload_sha256: EMPTY_SHA256,
        };
        let time = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        criterion.bench_function(&format!("signer/{name}"), |bench| {
            bench.iter(|| signer.sign(black_box(&request), &credentials, time));
        });
    }
    // What the first request of a day or of new credentials pays on top.
    criterion.bench_function("signer/new key", |bench| {
        let request = Signable {
            method: "GET",
            target: "/",
            host: "us-east-1.experiments.sagemaker.aws",
            content_type: None,
            routing: None,
            payload_sha256: EMPTY_SHA256,
        };
        bench.iter(|| Signer::new("us-east-1", "sagemaker-mlflow").sign(black_box(&request), &credentials, UNIX_EPOCH));
    });
    criterion.final_summary();
}
