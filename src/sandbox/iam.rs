//! The emulated IAM: the role with which MLflow acts, and its trust policy. It answers beside STS, at the same port.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use ring::digest;
use serde_json::json;

use super::identity::Issuer;
use super::verify::{self, AwsRejection, ReceivedRequest, SigningScope};
use crate::clock;

/// The role with which MLflow reads and writes artifacts.
pub(super) const SERVICE_ROLE_ARN: &str = "arn:aws:iam::123456789012:role/service-role/sandbox-mlflow-service";
const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

/// Returns true if the request is one to IAM.
pub(super) fn is_meant(query: &str) -> bool {
    query.split('&').any(|pair| pair == "Action=GetRole")
}

/// Returns the XML of the role.
///
/// # Errors
/// The first reason for which AWS would reject the request.
pub(super) fn role(request: &HttpRequest, body: &[u8], issuer: &Issuer) -> Result<String, AwsRejection> {
    let sha256 = digest::digest(&digest::SHA256, body);
    let received = ReceivedRequest::new(request, sha256.as_ref());
    let scope = SigningScope { name: "iam", region: "us-east-1", must_sign: &[] };
    verify::verify(&received, &scope, issuer, clock::now())?;
    let name = SERVICE_ROLE_ARN.rsplit('/').next().unwrap_or_default();
    if !request.query_string().split('&').any(|pair| pair.strip_prefix("RoleName=") == Some(name)) {
        let message = "The role cannot be found.".to_owned();
        return Err(AwsRejection { status: StatusCode::NOT_FOUND, code: "NoSuchEntity", message });
    }
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
    }]});
    let policy =
        percent_encoding::utf8_percent_encode(&policy.to_string(), percent_encoding::NON_ALPHANUMERIC).to_string();
    Ok(format!(
        "<GetRoleResponse xmlns=\"{NAMESPACE}\"><GetRoleResult><Role><Arn>{SERVICE_ROLE_ARN}</Arn>\
         <AssumeRolePolicyDocument>{policy}</AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>"
    ))
}
