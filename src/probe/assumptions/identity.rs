//! Tests what STS confirms, and what the trust policy of MLflow's own role may require.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::HeaderName;
use serde_json::Value;

use super::answer::ProofAnswer;
use super::proof::{NoProof, Proof, ProofVerdict};
use super::session::{ProofRequest, ProofSession, REQUEST_LIMIT, text};
use crate::access::aws_token::{AUDIENCE_HEADER, OPERATION};
use crate::api::caller_identity::IdentityResponse;
use crate::api::{describe, query};
use crate::aws::presigned::{Presignable, presigned_query};
use crate::http::fields::Fields;
use crate::{clock, error_chain};

const AUDIENCE: &str = "appliance-assumptions";
/// A condition key that a trust policy may have, in lower case, because IAM ignores the case.
const CONDITION: &str = "aws:sourceaccount";

/// Sends STS a presigned request with the audience that was signed, and with another.
pub(super) async fn signed_audience(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.going_on()?;
    let sts = &session.settings.sts;
    let presignable = Presignable {
        host: &sts.authority(),
        region: session.settings.target.arn().region(),
        service: "sts",
        parameters: &OPERATION,
        header: (AUDIENCE_HEADER, AUDIENCE),
        lifetime: Duration::from_mins(1),
    };
    let query = presigned_query(&presignable, &session.credentials(), clock::now());
    let right = ask(session, &query, AUDIENCE).await?;
    let wrong = ask(session, &query, "another-audience").await?;
    let (right, wrong) =
        (IdentityResponse::read(right.status, &right.body), IdentityResponse::read(wrong.status, &wrong.body));
    let shown = |response: &IdentityResponse| match response {
        IdentityResponse::Identity { .. } => "confirmed".to_owned(),
        IdentityResponse::Rejected { code, .. } => format!("rejected ({code})"),
        IdentityResponse::Unavailable(why) => why.clone(),
    };
    let evidence = format!("with the signed audience: {}; with another: {}", shown(&right), shown(&wrong));
    Ok(match (&right, &wrong) {
        (IdentityResponse::Unavailable(_), _) | (_, IdentityResponse::Unavailable(_)) => Proof::untested(evidence),
        (IdentityResponse::Identity { .. }, IdentityResponse::Rejected { .. }) => Proof::holds(evidence),
        _ => Proof::fails(evidence),
    })
}

async fn ask(session: &ProofSession<'_>, query: &str, audience: &str) -> Result<ProofAnswer, NoProof> {
    let headers: Fields = [(HeaderName::from_static(AUDIENCE_HEADER), text(audience)?)].into_iter().collect();
    let (endpoint, target) = (&session.settings.sts, format!("/?{query}"));
    let (method, body, limit) = (Method::GET, None, REQUEST_LIMIT);
    session.send(ProofRequest { endpoint, method, target: &target, headers, body, limit }).await
}

/// Reads the trust policy of MLflow's role. That MLflow can use the role was shown by a listing of artifacts.
///
/// No caller sees the request by which SageMaker assumes the role, so nothing can be learnt of a condition that is not there.
pub(super) async fn source_account(
    session: &ProofSession<'_>,
    listing: Option<ProofVerdict>,
) -> Result<Proof, NoProof> {
    session.readable()?;
    let (target, settings) = (&session.settings.target, session.settings);
    let role = describe::service_role(target, &settings.sagemaker, &session.transport(), &session.current()).await;
    let role =
        role.map_err(|error| NoProof::because(format!("the role is not known: {}", error_chain::joined(&error))))?;
    let Some(role) = role else { return Ok(Proof::untested("the SageMaker API names no service role")) };
    let name = role.rsplit('/').next().unwrap_or_default();
    let policy = query::trust_policy(&session.transport(), &settings.iam, name, &session.current()).await;
    let policy = match policy {
        Ok(policy) => policy,
        Err(error) => {
            let why = error_chain::joined(&error);
            return Ok(Proof::untested(format!(
                "the trust policy of `{name}` cannot be read: {why}; `iam:GetRole` is needed"
            )));
        }
    };
    if !requires_account(&policy) {
        let why =
            "so no request shows whether SageMaker would satisfy it; add it, wait for an hour, and run this again";
        return Ok(Proof::untested(format!("the trust policy of `{name}` has no such condition, {why}")));
    }
    let evidence = |what: &str| format!("the trust policy of `{name}` has the condition, and {what}");
    Ok(match listing {
        Some(ProofVerdict::Holds) => Proof::holds(evidence("MLflow lists artifacts with that role")),
        Some(ProofVerdict::DoesNotHold) => Proof::fails(evidence("MLflow cannot list artifacts")),
        _ => Proof::untested(evidence("it was not tested whether MLflow lists artifacts")),
    })
}

/// True if a statement that allows something has the condition.
fn requires_account(policy: &Value) -> bool {
    let statements = match &policy["Statement"] {
        Value::Array(statements) => statements.iter().collect(),
        one => vec![one],
    };
    let has_key = |conditions: &Value| {
        let keys = conditions.as_object().into_iter().flat_map(|conditions| conditions.keys());
        keys.into_iter().any(|key| key.to_lowercase() == CONDITION)
    };
    let has_condition = |statement: &&Value| {
        let operators = statement["Condition"].as_object().into_iter().flat_map(|operators| operators.values());
        statement["Effect"] == "Allow" && operators.into_iter().any(has_key)
    };
    statements.iter().any(has_condition)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_condition_is_found_in_any_case_and_place() {
        let statement = |key: &str| json!({"Effect": "Allow", "Condition": {"StringEquals": {key: "123456789012"}}});
        assert!(requires_account(&json!({"Statement": statement("AWS:SourceAccount")})));
        assert!(requires_account(&json!({"Statement": [{"Effect": "Allow"}, statement("aws:sourceAccount")]})));
        assert!(!requires_account(&json!({"Statement": [statement("aws:SourceArn")]})));
        assert!(!requires_account(&json!({})));
    }
}
