//! Tests how AWS reads paths and queries, as far as a signature depends on it.

use actix_web::http::Method;
use actix_web::http::header::LOCATION;

use super::answer::ProofAnswer;
use super::payloads::inconclusive;
use super::proof::{NoProof, Proof};
use super::scratch::{ODD_TEXT, TAG};
use super::session::{ProofRequest, ProofSession, REQUEST_LIMIT};
use super::signing::FreeSignature;
use crate::aws::sigv4::EMPTY_SHA256;
use crate::clock;
use crate::http::uri::encoded;

const DOUBLED: &str = "/api/2.0//mlflow/experiments/search?max_results=1";

/// Finds the scratch experiment by its odd tag; without one, looks for an experiment with an odd name.
pub(super) async fn query_characters(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.readable()?;
    let marker = session.settings.experiment();
    let experiment = session.scratch.borrow().experiment.clone();
    let Some(experiment) = experiment else {
        let target = format!("/api/2.0/mlflow/experiments/get-by-name?experiment_name={}", encoded(ODD_TEXT));
        return Ok(checked(&session.mlflow(Method::GET, &target, None).await?));
    };
    let filter = format!("tags.`{TAG}` = '{marker} {ODD_TEXT}'");
    let target = format!("/api/2.0/mlflow/experiments/search?max_results=2&filter={}", encoded(&filter));
    let answer = session.mlflow(Method::GET, &target, None).await?;
    if !answer.status.is_success() {
        return Ok(checked(&answer));
    }
    let found = answer.json();
    let found = found["experiments"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_found = found.len() == 1 && found[0]["experiment_id"] == *experiment;
    let evidence = format!("{}, {} of 1 experiment found by a tag with such characters", answer.said(), found.len());
    Ok(Proof::of(is_found, evidence))
}

pub(super) async fn path_characters(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.readable()?;
    let target = format!("/api/2.0/mlflow/logged-models/{}", encoded("a b+c@d=\u{fc}"));
    Ok(checked(&session.mlflow(Method::GET, &target, None).await?))
}

pub(super) async fn encoded_slash(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.readable()?;
    Ok(checked(&session.mlflow(Method::GET, "/api/2.0/mlflow/logged-models/a%2Fb", None).await?))
}

pub(super) async fn double_slash(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.readable()?;
    let answer = session.mlflow(Method::GET, DOUBLED, None).await?;
    let proof = checked(&answer);
    if !answer.rejects_signature() {
        return Ok(proof);
    }
    let as_sent = signed_as_sent(session).await?;
    let how = if as_sent.rejects_signature() { "not either" } else { "accepted" };
    Ok(Proof::fails(format!("{}; signed as it was sent, it is {how} ({})", proof.evidence, as_sent.said())))
}

/// Sends the path with the doubled slash, which the signature has, too.
async fn signed_as_sent(session: &ProofSession<'_>) -> Result<ProofAnswer, NoProof> {
    let (target, endpoint) = (&session.settings.target, session.settings.dialer.endpoint());
    let headers = vec![(target.arn_header(), target.arn().as_str().to_owned())];
    let (region, service, payload) = (target.arn().region(), target.signing_name(), EMPTY_SHA256);
    let request = FreeSignature { method: "GET", endpoint, target: DOUBLED, region, service, headers, payload };
    let headers = request.sign(&session.credentials(), clock::now())?.headers;
    let (method, body, limit) = (Method::GET, None, REQUEST_LIMIT);
    session.send(ProofRequest { endpoint, method, target: DOUBLED, headers, body, limit }).await
}

/// Holds if AWS has accepted the signature, whatever MLflow makes of the request.
fn checked(answer: &ProofAnswer) -> Proof {
    let said = match answer.header(LOCATION.as_str()) {
        "" => answer.said(),
        _ => format!("{}, a redirect", answer.said()),
    };
    if answer.rejects_signature() {
        Proof::fails(said)
    } else {
        inconclusive(answer, &said).unwrap_or_else(|| Proof::holds(said))
    }
}
