//! Tests which families of routes MLflow answers, by requests that only read.

use std::collections::BTreeMap;

use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use serde_json::json;

use super::answer::ProofAnswer;
use super::payloads::inconclusive;
use super::proof::{NoProof, Proof};
use super::session::ProofSession;
use super::settings::RouteFamily;
use crate::access::caller::Role;
use crate::access::routes::{RouteLine, lines};

/// Families that clients have always used.
const BASIC: [&str; 6] = ["experiments", "runs", "metrics", "artifacts", "registered-models", "model-versions"];
/// Families that MLflow 3 has added, and that the documents mention.
const NEWER: [&str; 6] = ["traces", "logged-models", "datasets", "scorers", "webhooks", "server-info"];
/// Families of which no request is sent here: the appliance itself answers `users`, one is about secrets, and the others have
/// assumptions of their own.
const LEFT_OUT: [&str; 4] = ["users", "gateway-secrets", "graphql", "ui"];
/// The beginnings that `*` stands for, the most usual one first.
const PREFIXES: [&str; 4] = ["/api/2.0", "/api/3.0", "/ajax-api/2.0", "/ajax-api/3.0"];
/// The requests of one family that are tried before it counts as missing.
const TRIES: usize = 3;
/// The text in the place of an id. Nothing has such a name.
const NO_ID: &str = "appliance-assumptions-none";

pub(super) async fn page(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.readable()?;
    let answer = session.mlflow(Method::GET, "/", None).await?;
    let kind = answer.header("content-type");
    let is_page = answer.status == StatusCode::OK && kind.starts_with("text/html");
    Ok(judged(&answer, is_page, &format!("{} {kind}", answer.said())))
}

pub(super) async fn ajax(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.readable()?;
    let body = Some(Bytes::from_static(b"{\"max_results\": 1}"));
    let answer = session.mlflow(Method::POST, "/ajax-api/2.0/mlflow/experiments/search", body).await?;
    let is_answer = answer.status == StatusCode::OK && answer.json().is_object();
    Ok(judged(&answer, is_answer, &answer.said()))
}

pub(super) async fn graphql(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.readable()?;
    let body = Some(Bytes::from_static(b"{\"query\": \"query Probe { __typename }\", \"operationName\": \"Probe\"}"));
    let answer = session.mlflow(Method::POST, "/graphql", body).await?;
    let is_answer = answer.status == StatusCode::OK && answer.json()["data"].is_object();
    Ok(judged(&answer, is_answer, &answer.said()))
}

fn judged(answer: &ProofAnswer, holds: bool, said: &str) -> Proof {
    if holds { Proof::holds(said) } else { inconclusive(answer, said).unwrap_or_else(|| Proof::fails(said)) }
}

/// Tries every family of the table, and judges those that clients have always used.
pub(super) async fn basic(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.readable()?;
    for (family, candidates) in families() {
        let found = ask(session, family, &candidates).await?;
        session.routes.borrow_mut().push(found);
    }
    summary(session, &BASIC)
}

/// Judges the newer families, which [`basic`] has tried.
pub(super) fn newer(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.readable()?;
    summary(session, &NEWER)
}

fn summary(session: &ProofSession<'_>, wanted: &[&str]) -> Result<Proof, NoProof> {
    let routes = session.routes.borrow();
    let found: Vec<_> = routes.iter().filter(|one| wanted.contains(&one.family)).collect();
    if found.is_empty() {
        return Err(NoProof::because("the families of routes were not tried"));
    }
    let with = |answer: &str| {
        let names: Vec<_> = found.iter().filter(|one| one.answer == answer).map(|one| one.family).collect();
        (!names.is_empty()).then(|| format!("{answer}: {}", names.join(", ")))
    };
    let evidence: Vec<_> = ["answers", "not found", "denied", "failed"].into_iter().filter_map(with).collect();
    let evidence = evidence.join("; ");
    let any = |answer: &str| found.iter().any(|one| one.answer == answer);
    Ok(if any("not found") {
        Proof::fails(evidence)
    } else if any("denied") || any("failed") {
        Proof::untested(evidence)
    } else {
        Proof::holds(evidence)
    })
}

/// The families of the table with the requests to try.
fn families() -> BTreeMap<&'static str, Vec<RouteLine>> {
    let mut families: BTreeMap<&str, Vec<RouteLine>> = BTreeMap::new();
    for line in lines() {
        let family = line.route.action.split(':').next().unwrap_or_default();
        let is_field = matches!(line.method, "QUERY" | "MUTATION");
        if is_field || LEFT_OUT.contains(&family) || line.path.contains("{*") {
            continue;
        }
        let known = families.entry(family).or_default();
        if is_harmless(&line) {
            known.push(line);
        }
    }
    for candidates in families.values_mut() {
        // A list says more than one object that is not there.
        let is_list = |line: &RouteLine| line.path.ends_with("/search") || line.path.ends_with("/list");
        candidates.sort_by_key(|line| (line.path.contains('{'), !is_list(line), line.method != "GET"));
        candidates.truncate(TRIES);
    }
    families
}

/// True for requests that only read. A role above `read` stands for effects, except where a plain list is confidential.
fn is_harmless(line: &RouteLine) -> bool {
    let is_list = line.method == "GET" && !line.path.contains('{');
    matches!(line.method, "GET" | "POST") && (line.route.role == Role::Read || is_list)
}

/// Sends the requests of a family until one shows that MLflow has it.
async fn ask(
    session: &ProofSession<'_>,
    family: &'static str,
    candidates: &[RouteLine],
) -> Result<RouteFamily, NoProof> {
    let mut last = RouteFamily { family, answer: "not tested", request: String::new(), status: None };
    for line in candidates {
        let prefixes: &[&str] = if line.path.starts_with('*') { &PREFIXES } else { &[""] };
        for prefix in prefixes {
            let path = without_places(&format!("{prefix}{}", line.path.trim_start_matches('*')));
            let request = format!("{} {path}", line.method);
            let is_post = line.method == "POST";
            let body = is_post.then(|| {
                let experiment = session.scratch.borrow().experiment.clone().unwrap_or_else(|| "0".to_owned());
                Bytes::from(json!({"experiment_ids": [experiment], "max_results": 1}).to_string())
            });
            let method = if is_post { Method::POST } else { Method::GET };
            let (answer, status) = match session.mlflow(method, &path, body).await {
                Ok(answer) => (reading(&answer, &path), Some(answer.status.as_u16())),
                Err(NoProof::NoAnswer(_)) => ("failed", None),
                Err(other) => return Err(other),
            };
            let found = RouteFamily { family, answer, request, status };
            match answer {
                "answers" => return Ok(found),
                // A denial or a failure says more than a missing route does.
                "not found" if matches!(last.answer, "denied" | "failed") => {}
                _ => last = found,
            }
        }
    }
    Ok(last)
}

/// The path with a text for each place that a caller fills.
fn without_places(path: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { NO_ID.to_owned() } else { segment.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// The meaning of an answer for its route.
fn reading(answer: &ProofAnswer, path: &str) -> &'static str {
    let (json, code) = (answer.json(), answer.mlflow_code());
    let is_known = code.as_deref().is_some_and(|code| !matches!(code, "ENDPOINT_NOT_FOUND" | "NOT_IMPLEMENTED"));
    let is_api = path.starts_with("/api") || path.starts_with("/ajax-api");
    match answer.status {
        status if status.is_success() && (!is_api || !json.is_null()) => "answers",
        _ if answer.is_denied() => "denied",
        _ if is_known => "answers",
        // A parameter is missing, so there is something that misses it.
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY if !answer.rejects_signature() => "answers",
        status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => "failed",
        status if status == StatusCode::FORBIDDEN => "failed",
        _ => "not found",
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderMap;

    use super::*;

    #[test]
    fn only_requests_that_read_are_sent() {
        let families = families();
        for family in BASIC.iter().chain(&NEWER) {
            assert!(families[family].iter().all(is_harmless) && !families[family].is_empty(), "{family}");
        }
        for forbidden in LEFT_OUT {
            assert!(!families.contains_key(forbidden), "{forbidden}");
        }
        let sent: Vec<_> = families.values().flatten().map(|line| line.route.action).collect();
        for word in ["create", "delete", "update", "set-tag", "invoke", "log-"] {
            assert!(!sent.iter().any(|action| action.contains(word)), "{word}: {sent:?}");
        }
        assert!(families["demo"].is_empty(), "all its routes write");
        assert_eq!(without_places("/api/2.0/mlflow/datasets/{id}"), format!("/api/2.0/mlflow/datasets/{NO_ID}"));
    }

    #[test]
    fn a_missing_route_is_told_from_a_missing_object() {
        for (status, body, expected) in [
            (200, "{}", "answers"),
            (200, "<html>", "not found"),
            (404, "{\"error_code\": \"RESOURCE_DOES_NOT_EXIST\"}", "answers"),
            (404, "{\"error_code\": \"ENDPOINT_NOT_FOUND\"}", "not found"),
            (404, "<html>", "not found"),
            (405, "", "not found"),
            (400, "{}", "answers"),
            (403, "{\"message\": \"not authorized\"}", "denied"),
            (500, "{\"error_code\": \"INTERNAL_ERROR\"}", "answers"),
            (502, "", "failed"),
            (501, "{\"error_code\": \"NOT_IMPLEMENTED\"}", "not found"),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let answer = ProofAnswer { status, headers: HeaderMap::new(), body: body.into() };
            assert_eq!(reading(&answer, "/api/2.0/x"), expected, "{status} {body}");
        }
    }
}
