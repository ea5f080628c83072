//! The emulated STS: `AssumeRole` with credentials that expire soon, and `GetCallerIdentity`, with signatures checked.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use ring::digest;

use super::iam;
use super::identity::{IssuedCredentials, Issuer, Principal};
use super::imds::INSTANCE_ROLE;
use super::verify::{self, AwsRejection, ReceivedRequest, SigningScope};
use crate::aws::role;
use crate::clock;

/// The emulated STS.
pub(super) struct Sts {
    pub(super) issuer: Issuer,
    pub(super) region: String,
    pub(super) role_arn: String,
    /// The lifetime of all credentials, whatever a request asks for, so that renewal happens within minutes.
    pub(super) lifetime: Duration,
}

/// Responds to any request.
pub(super) async fn handle(sts: web::Data<Sts>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let response = if iam::is_meant(request.query_string()) {
        iam::role(&request, &body, &sts.issuer).map(|text| xml(StatusCode::OK, text))
    } else if verify::is_presigned(request.query_string()) {
        presigned(&sts, &request, &body)
    } else {
        signed(&sts, &request, &body)
    };
    match response {
        Ok(response) => response,
        Err(rejection) => xml(
            rejection.status,
            format!(
                "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{}</Code>\
                 <Message>{}</Message></Error><RequestId>sandbox</RequestId></ErrorResponse>",
                code(rejection.code),
                rejection.message.replace('&', "&amp;").replace('<', "&lt;")
            ),
        ),
    }
}

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The parameters of a request.
type FormParameters = BTreeMap<String, String>;

/// The names of errors that STS has for those of other services.
fn code(code: &str) -> &str {
    match code {
        "InvalidSignatureException" => "SignatureDoesNotMatch",
        "UnrecognizedClientException" => "InvalidClientTokenId",
        "IncompleteSignatureException" => "IncompleteSignature",
        "MissingAuthenticationTokenException" => "MissingAuthenticationToken",
        "ExpiredTokenException" => "ExpiredToken",
        other => other,
    }
}

/// Responds to a request with its signature in the query: such requests serve only to prove an identity to another party.
fn presigned(sts: &Sts, request: &HttpRequest, body: &[u8]) -> Result<HttpResponse, AwsRejection> {
    let sha256 = digest::digest(&digest::SHA256, body);
    let received = ReceivedRequest::new(request, sha256.as_ref());
    let principal = verify::verify_presigned(&received, &sts.scope(), &sts.issuer, clock::now())?;
    let parameters = parameters(request.query_string());
    match parameters.get("Action").map(String::as_str) {
        Some("GetCallerIdentity") => Ok(xml(StatusCode::OK, identity(sts, principal))),
        _ => Err(rejection(StatusCode::BAD_REQUEST, "InvalidAction", "Only GetCallerIdentity can be presigned.")),
    }
}

/// Responds to a request with its signature in a header.
fn signed(sts: &Sts, request: &HttpRequest, body: &[u8]) -> Result<HttpResponse, AwsRejection> {
    let sha256 = digest::digest(&digest::SHA256, body);
    let received = ReceivedRequest::new(request, sha256.as_ref());
    let now = clock::now();
    let principal = verify::verify(&received, &sts.scope(), &sts.issuer, now)?;
    let parameters = parameters(std::str::from_utf8(body).unwrap_or_default());
    match parameters.get("Action").map(String::as_str) {
        Some("AssumeRole") => assume_role(sts, principal, &parameters, now),
        Some("GetCallerIdentity") => Ok(xml(StatusCode::OK, identity(sts, principal))),
        _ => {
            let text = "The sandbox's STS knows AssumeRole and GetCallerIdentity only.";
            Err(rejection(StatusCode::BAD_REQUEST, "InvalidAction", text))
        }
    }
}

fn parameters(text: &str) -> FormParameters {
    web::Query::<FormParameters>::from_query(text).map(web::Query::into_inner).unwrap_or_default()
}

fn assume_role(
    sts: &Sts,
    principal: Principal,
    parameters: &FormParameters,
    now: SystemTime,
) -> Result<HttpResponse, AwsRejection> {
    let parameter = |name: &str| parameters.get(name).map_or("", String::as_str);
    let arn = parameter("RoleArn");
    if principal != Principal::Instance || arn != sts.role_arn {
        return Err(rejection(
            StatusCode::FORBIDDEN,
            "AccessDenied",
            "The caller is not authorized to perform: sts:AssumeRole on this resource",
        ));
    }
    let session = parameter("RoleSessionName");
    if let Err(error) = role::check_session_name(session) {
        return Err(rejection(StatusCode::BAD_REQUEST, "ValidationError", &error.to_string()));
    }
    let issued = sts.issuer.issue(Principal::Role, now, sts.lifetime);
    Ok(xml(StatusCode::OK, answer(&issued, arn, session)))
}

impl Sts {
    fn scope(&self) -> SigningScope<'_> {
        SigningScope { name: "sts", region: &self.region, must_sign: &[] }
    }
}

/// The ARN of a session of a role.
fn session_arn(role: &str, session: &str) -> String {
    format!("{}/{session}", role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/"))
}

fn identity(sts: &Sts, principal: Principal) -> String {
    let account = sts.role_arn.split(':').nth(4).unwrap_or_default();
    let arn = match principal {
        Principal::Instance => {
            session_arn(&format!("arn:aws:iam::{account}:role/{INSTANCE_ROLE}"), "i-00000000000000000")
        }
        Principal::Role => session_arn(&sts.role_arn, "sandbox"),
    };
    format!(
        "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult><Arn>{arn}</Arn>\
         <UserId>AROASANDBOX:sandbox</UserId><Account>{account}</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>sandbox</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
}

fn answer(issued: &IssuedCredentials, role: &str, session: &str) -> String {
    let IssuedCredentials { access_key_id, secret_access_key, session_token, expiry, principal: _ } = issued;
    let expiration = humantime::format_rfc3339_seconds(*expiry);
    let user = session_arn(role, session);
    format!(
        "<AssumeRoleResponse xmlns=\"{NAMESPACE}\"><AssumeRoleResult><AssumedRoleUser>\
         <AssumedRoleId>AROASANDBOX:{session}</AssumedRoleId><Arn>{user}</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>{access_key_id}</AccessKeyId><SecretAccessKey>{secret_access_key}</SecretAccessKey>\
         <SessionToken>{session_token}</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
         </AssumeRoleResult><ResponseMetadata><RequestId>sandbox</RequestId></ResponseMetadata></AssumeRoleResponse>"
    )
}

fn rejection(status: StatusCode, code: &'static str, message: &str) -> AwsRejection {
    AwsRejection { status, code, message: message.to_owned() }
}

fn xml(status: StatusCode, text: String) -> HttpResponse {
    HttpResponse::build(status).content_type("text/xml").body(text)
}
