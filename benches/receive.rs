//! Taking a body in: counted and hashed, in memory or, beyond the limit, in an unlinked file.

use std::convert::identity;
use std::hint::black_box;
use std::time::Duration;

use actix_web::error::PayloadError;
use appliance::http::body::{Budget, Intake, Received, receive};
use bytes::Bytes;
use criterion::{Criterion, Throughput};
use futures_util::stream;
use tokio::runtime::{Builder, Runtime};

/// As the server hands bodies over.
const PIECE: usize = 32 * 1024;

fn take_in(runtime: &Runtime, body: &Bytes, intake: &Intake) -> Received {
    let pieces: Vec<_> =
        (0..body.len()).step_by(PIECE).map(|at| body.slice(at..body.len().min(at + PIECE))).map(Ok).collect();
    let payload = stream::iter(pieces.into_iter().map(identity::<Result<Bytes, PayloadError>>));
    runtime.block_on(receive(payload, Some(body.len() as u64), intake)).expect("there is room")
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let intake = Intake {
        size_limit: 1 << 30,
        memory_limit: 1 << 20,
        arriving: Budget::new(u64::MAX),
        gathering: Budget::new(u64::MAX),
        memory: Budget::new(64 << 20),
        disk: Budget::new(1 << 30),
        directory: directory.path().into(),
        idle_timeout: Duration::from_secs(60),
        passes_large: false,
    };
    let mut group = criterion.benchmark_group("receive");
    for (name, size) in [("memory 1 KiB", 1 << 10), ("memory 100 KiB", 100 << 10), ("file 16 MiB", 16 << 20)] {
        let body = Bytes::from(vec![b'x'; size]);
        group.throughput(Throughput::Bytes(size as u64));
        if size > 1 << 20 {
            group.sample_size(20);
        }
        group.bench_function(name, |bench| bench.iter(|| take_in(&runtime, black_box(&body), &intake)));
    }
    group.finish();
    criterion.final_summary();
}
