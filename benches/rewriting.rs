//! Rewriting the places of artifacts in JSON as it streams by: a page of a search, with and without anything to replace.

use std::hint::black_box;

use appliance::mlflow::locations;
use appliance::mlflow::rewrite::Rewriter;
use appliance::mlflow::store::ArtifactStore;
use bytes::Bytes;
use criterion::{Criterion, Throughput};
use serde_json::json;

/// As the upstream's answers come.
const PIECE: usize = 16 * 1024;

fn page(artifacts: &str) -> Bytes {
    let runs: Vec<_> = (0..100)
        .map(|number| {
            let metrics: Vec<_> = (0..20)
                .map(|at| json!({"key": format!("metric_{at}"), "value": 0.125, "timestamp": 1_800_000_000_000_u64, "step": at}))
                .collect();
            let info = json!({"run_id": format!("{number:032x}"), "status": "FINISHED", "artifact_uri": format!("{artifacts}/{number}")});
            json!({"info": info, "data": {"metrics": metrics, "params": [{"key": "note", "value": "a \"quoted\" text"}]}})
        })
        .collect();
    json!({"runs": runs}).to_string().into()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let store = ArtifactStore::parse("s3://bucket/team").expect("a store");
    let places = locations::of("/api/2.0/mlflow/runs/search").response;
    let mut group = criterion.benchmark_group("rewriting");
    for (name, artifacts) in [("page of 100 runs", "s3://bucket/team/0"), ("nothing to replace", "s3://elsewhere/0")] {
        let page = page(artifacts);
        group.throughput(Throughput::Bytes(page.len() as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let mut rewriter = Rewriter::new(places, |uri: &str| store.publish(uri));
                for from in (0..page.len()).step_by(PIECE) {
                    black_box(rewriter.push(page.slice(from..page.len().min(from + PIECE))));
                }
                rewriter.finish()
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
