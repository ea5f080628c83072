//! Tests how large a body may be that reaches MLflow.
//!
//! The request is a `log-batch` for the scratch run, without metrics, parameters and tags, and with a field that MLflow ignores.
//! MLflow rejects it if it is larger than 1 MB, and otherwise stores nothing.

use std::time::Duration;

use actix_web::http::Method;
use bytes::Bytes;

use super::proof::{NoProof, Proof};
use super::session::{ProofSession, SignedProofRequest};
use crate::clock;

const TARGET: &str = "/api/2.0/mlflow/runs/log-batch";
const MIB: u64 = 1 << 20;
/// Limits that services are known to have, and sizes between them. Bytes.
const SIZES: [u64; 7] = [MIB, 5 * MIB, 6 * MIB, 10 * MIB, 16 * MIB, 32 * MIB, 64 * MIB];
/// The limit of one request. A large body over a slow link takes long.
const LIMIT: Duration = Duration::from_mins(1);

pub(super) async fn body_size(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.readable()?;
    let run = session.scratch.borrow().known_run()?;
    let mut passed: Vec<String> = Vec::new();
    for size in sizes(session.settings.largest_body) {
        let request = SignedProofRequest {
            method: Method::POST,
            target: TARGET,
            body: Some(padded(&run, size)),
            payload: None,
            time: clock::now(),
            limit: LIMIT,
        };
        let so_far = || match passed.as_slice() {
            [] => String::new(),
            passed => format!("; smaller ones reach MLflow: {}", passed.join(", ")),
        };
        let answer = match session.signed(request).await {
            Ok(answer) => answer,
            Err(NoProof::NoAnswer(why)) => return Ok(Proof::fails(format!("{}: {why}{}", shown(size), so_far()))),
            Err(other) => return Err(other),
        };
        if answer.is_denied() {
            return Ok(Proof::untested(format!("the identity may not send such a request: {}", answer.said())));
        }
        if !answer.status.is_success() && answer.mlflow_code().is_none() {
            return Ok(Proof::fails(format!("{}: {}{}", shown(size), answer.said(), so_far())));
        }
        passed.push(format!("{} ({})", shown(size), answer.status.as_u16()));
    }
    Ok(Proof::holds(format!("these reach MLflow: {}", passed.join(", "))))
}

/// The sizes to try, the largest of which is `largest`.
fn sizes(largest: u64) -> Vec<u64> {
    SIZES.into_iter().filter(|size| *size < largest).chain([largest]).collect()
}

fn shown(size: u64) -> String {
    bytesize::ByteSize(size).display().iec().to_string()
}

/// A body of exactly this size, or a little more if the size is too small for it.
fn padded(run: &str, size: u64) -> Bytes {
    let (head, tail) = (format!("{{\"run_id\": \"{run}\", \"padding\": \""), "\"}");
    let padding = usize::try_from(size).unwrap_or(usize::MAX).saturating_sub(head.len() + tail.len());
    let mut body = Vec::with_capacity(head.len() + padding + tail.len());
    body.extend_from_slice(head.as_bytes());
    body.resize(head.len() + padding, b'x');
    body.extend_from_slice(tail.as_bytes());
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_grow_to_the_largest_and_have_the_size() {
        assert_eq!(sizes(6 * MIB), [MIB, 5 * MIB, 6 * MIB]);
        assert_eq!(sizes(7 * MIB), [MIB, 5 * MIB, 6 * MIB, 7 * MIB]);
        assert_eq!(sizes(1024), [1024]);
        let body = padded("0123", 1024);
        assert_eq!(body.len(), 1024);
        assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok_and(|body| body["run_id"] == "0123"));
    }
}
