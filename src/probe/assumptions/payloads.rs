//! Tests which signatures of a body MLflow accepts. Every request is a search, so nothing is stored.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::http::header;
use bytes::Bytes;
use ring::digest::{SHA256, digest};

use super::answer::ProofAnswer;
use super::proof::{NoProof, Proof};
use super::session::{ProofRequest, ProofSession, REQUEST_LIMIT, SignedProofRequest};
use super::signing::{FreeSignature, in_chunks};
use crate::aws::sigv4::UNSIGNED_PAYLOAD;
use crate::aws::skew::Skew;
use crate::clock;

/// A request that only reads, has a body, and is in every MLflow.
const SEARCH: &str = "/api/2.0/mlflow/experiments/search";
const BODY: &[u8] = b"{\"max_results\": 1}";
/// A signature of this age is one that AWS rejects.
const AGE: Duration = Duration::from_mins(20);

/// Tests the signature of all requests. The other tests show nothing if this one fails.
pub(super) async fn signed(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    let answer = session.mlflow(Method::POST, SEARCH, Some(Bytes::from_static(BODY))).await?;
    if is_search_result(&answer) {
        session.mark_readable();
    }
    // A denial shows nothing about the signature. In the other tests it does, because the same request was allowed before.
    if answer.is_denied() {
        return Ok(Proof::untested(format!("the identity may not search for experiments: {}", answer.said())));
    }
    Ok(accepted(&answer))
}

pub(super) async fn unsigned(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    Ok(accepted(&search(session, UNSIGNED_PAYLOAD, Duration::ZERO).await?))
}

pub(super) async fn wrong_hash(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    let other = hex::encode(digest(&SHA256, b"{\"max_results\": 2}"));
    let answer = search(session, &other, Duration::ZERO).await?;
    if answer.status.is_server_error() {
        return Ok(Proof::untested(failed(&answer)));
    }
    Ok(Proof::of(answer.status.is_client_error(), answer.said()))
}

pub(super) async fn stale(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    let sha256 = hex::encode(digest(&SHA256, BODY));
    let signed = clock::now() - AGE;
    let answer = search(session, &sha256, AGE).await?;
    let there = httpdate::parse_http_date(answer.header("date")).ok();
    let is_detected = there.is_some_and(|there| Skew::default().detect(there, clock::now(), signed));
    let said = answer.said();
    Ok(match (answer.status, there) {
        (StatusCode::FORBIDDEN, Some(_)) => Proof::of(is_detected, said),
        (StatusCode::FORBIDDEN, None) => Proof::fails(format!("the answer has no `Date`: {said}")),
        (status, _) if status.is_server_error() => Proof::untested(failed(&answer)),
        _ => Proof::fails(said),
    })
}

pub(super) async fn in_signed_chunks(session: &ProofSession<'_>, has_trailer: bool) -> Result<Proof, NoProof> {
    session.readable()?;
    let (target, endpoint) = (&session.settings.target, session.settings.dialer.endpoint());
    let mut headers = vec![
        ("content-encoding", "aws-chunked".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("x-amz-decoded-content-length", BODY.len().to_string()),
        (target.arn_header(), target.arn().as_str().to_owned()),
    ];
    let payload = if has_trailer {
        headers.push(("x-amz-trailer", "x-amz-checksum-crc32".to_owned()));
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    } else {
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    };
    let (region, service) = (target.arn().region(), target.signing_name());
    let request = FreeSignature { method: "POST", endpoint, target: SEARCH, region, service, headers, payload };
    let mut signed = request.sign(&session.credentials(), clock::now())?;
    let body = Some(in_chunks(&mut signed.chunks, BODY, has_trailer));
    let (method, headers, limit) = (Method::POST, signed.headers, REQUEST_LIMIT);
    let answer = session.send(ProofRequest { endpoint, method, target: SEARCH, headers, body, limit }).await?;
    Ok(accepted(&answer))
}

/// The search with a payload hash and an age of its signature.
async fn search(session: &ProofSession<'_>, payload: &str, age: Duration) -> Result<ProofAnswer, NoProof> {
    session.readable()?;
    let request = SignedProofRequest {
        method: Method::POST,
        target: SEARCH,
        body: Some(Bytes::from_static(BODY)),
        payload: Some(payload),
        time: clock::now() - age,
        limit: REQUEST_LIMIT,
    };
    session.signed(request).await
}

/// Holds if MLflow has answered the search.
fn accepted(answer: &ProofAnswer) -> Proof {
    if is_search_result(answer) {
        return Proof::holds(answer.said());
    }
    if answer.status.is_server_error() {
        return Proof::untested(failed(answer));
    }
    if answer.status.is_success() {
        let kind = answer.header(header::CONTENT_TYPE.as_str());
        return Proof::fails(format!("{}, and the answer ({kind}) is not MLflow's", answer.said()));
    }
    Proof::fails(answer.said())
}

fn is_search_result(answer: &ProofAnswer) -> bool {
    answer.status == StatusCode::OK && answer.json().is_object()
}

/// The result if the answer shows nothing about the assumption: the identity may not ask, or MLflow itself has failed.
pub(super) fn inconclusive(answer: &ProofAnswer, said: &str) -> Option<Proof> {
    if answer.is_denied() {
        Some(Proof::untested(format!("the identity may not send such a request: {said}")))
    } else if answer.status.is_server_error() && answer.mlflow_code().is_none() {
        Some(Proof::untested(failed(answer)))
    } else {
        None
    }
}

fn failed(answer: &ProofAnswer) -> String {
    format!("MLflow failed: {}", answer.said())
}
