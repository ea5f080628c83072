//! Tests what a presigned URL of AWS's page answers, and that it works once.

use actix_web::http::Method;
use actix_web::http::Uri;
use actix_web::http::header::{LOCATION, SET_COOKIE};
use secrecy::ExposeSecret as _;

use super::answer::ProofAnswer;
use super::proof::{NoProof, Proof};
use super::session::{ProofRequest, ProofSession, REQUEST_LIMIT};
use crate::api::presign::{self, Lifetimes, PresignError};
use crate::error_chain;
use crate::http::client::Endpoint;
use crate::http::fields::Fields;

/// Creates a URL, opens it as a browser would, and opens it again.
pub(super) async fn presigned(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.going_on()?;
    if !session.settings.may_open_page {
        return Ok(Proof::untested("it was not allowed with `--open-page`"));
    }
    let (target, sagemaker) = (&session.settings.target, &session.settings.sagemaker);
    let url = presign::url(target, sagemaker, &session.transport(), &session.current(), Lifetimes::default()).await;
    let url = match url {
        Ok(url) => url,
        Err(error @ (PresignError::Unanswered(_) | PresignError::Denied { .. })) => {
            return Ok(Proof::untested(error_chain::joined(&error)));
        }
        Err(error) => return Ok(Proof::fails(error_chain::joined(&error))),
    };
    let uri = url.expose_secret().parse::<Uri>().map_err(|_| NoProof::because("the presigned URL is not a URL"))?;
    let endpoint = Endpoint {
        tls: true,
        host: uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
        port: uri.port_u16().unwrap_or(443),
    };
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let first = open(session, &endpoint, target).await?;
    let second = open(session, &endpoint, target).await?;
    let evidence = format!("{}; the second time: {}", described(&first), second.status.as_u16());
    let admits = |answer: &ProofAnswer| answer.status.is_success() || answer.status.is_redirection();
    // AWS could lead a second browser to a page of errors.
    let leads_elsewhere = first.header(LOCATION.as_str()) != second.header(LOCATION.as_str());
    let is_once = !admits(&second) || (leads_elsewhere && cookies(&second).is_empty());
    Ok(Proof::of(admits(&first) && is_once, evidence))
}

async fn open(session: &ProofSession<'_>, endpoint: &Endpoint, target: &str) -> Result<ProofAnswer, NoProof> {
    let (method, headers, body, limit) = (Method::GET, Fields::new(), None, REQUEST_LIMIT);
    session.send(ProofRequest { endpoint, method, target, headers, body, limit }).await
}

/// The answer without anything that grants access: no value of a cookie, no query.
fn described(answer: &ProofAnswer) -> String {
    let mut text = answer.status.as_u16().to_string();
    if let Ok(location) = answer.header(LOCATION.as_str()).parse::<Uri>() {
        let host = location.host().unwrap_or_default();
        text = format!("{text} to `{host}{}`", location.path());
    }
    let cookies = cookies(answer);
    let cookies = if cookies.is_empty() { "no cookie".to_owned() } else { cookies.join("; ") };
    format!("{text} with {cookies}")
}

/// The names and attributes of the cookies that an answer sets.
fn cookies(answer: &ProofAnswer) -> Vec<String> {
    let shown = |cookie: &str| {
        let mut parts = cookie.split(';').map(str::trim);
        let name = parts.next().and_then(|pair| pair.split('=').next()).unwrap_or_default().to_owned();
        let attributes: Vec<_> = parts.collect();
        format!("cookie `{name}` ({})", attributes.join(", "))
    };
    let values = answer.headers.get_all(SET_COOKIE).filter_map(|value| value.to_str().ok());
    values.map(shown).collect()
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::http::header::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn the_evidence_has_no_secret_of_the_page() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static("https://x.aws/#/experiments?authToken=secret"));
        headers.append(SET_COOKIE, HeaderValue::from_static("session=secret; Path=/; HttpOnly; Secure"));
        let answer = ProofAnswer { status: StatusCode::FOUND, headers, body: "".into() };
        let said = described(&answer);
        assert!(!said.contains("secret") && said.contains("`session` (Path=/, HttpOnly, Secure)"), "{said}");
        assert!(said.starts_with("302 "), "{said}");
    }
}
