//! The emulated STS: `AssumeRole`, the one call of the appliance, with signatures checked and credentials that expire soon.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use ring::digest;

use super::identity::{IssuedCredentials, Issuer, Principal};
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
    match assume_role(&sts, &request, &body) {
        Ok(response) => response,
        Err(rejection) => xml(
            rejection.status,
            format!(
                "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{}</Code>\
                 <Message>{}</Message></Error><RequestId>sandbox</RequestId></ErrorResponse>",
                rejection.code,
                rejection.message.replace('&', "&amp;").replace('<', "&lt;")
            ),
        ),
    }
}

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

fn assume_role(sts: &Sts, request: &HttpRequest, body: &[u8]) -> Result<HttpResponse, AwsRejection> {
    let sha256 = digest::digest(&digest::SHA256, body);
    let received = ReceivedRequest::new(request, sha256.as_ref());
    let now = clock::now();
    let service = SigningScope { name: "sts", region: &sts.region, must_sign: &[] };
    let principal = verify::verify(&received, &service, &sts.issuer, now)?;
    let text = std::str::from_utf8(body).unwrap_or_default();
    let parameters =
        web::Query::<BTreeMap<String, String>>::from_query(text).map(web::Query::into_inner).unwrap_or_default();
    let parameter = |name: &str| parameters.get(name).map_or("", String::as_str);
    if parameter("Action") != "AssumeRole" {
        return Err(rejection(StatusCode::BAD_REQUEST, "InvalidAction", "The sandbox's STS knows AssumeRole only."));
    }
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

fn answer(issued: &IssuedCredentials, role: &str, session: &str) -> String {
    let IssuedCredentials { access_key_id, secret_access_key, session_token, expiry, principal: _ } = issued;
    let expiration = humantime::format_rfc3339_seconds(*expiry);
    let user = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/");
    format!(
        "<AssumeRoleResponse xmlns=\"{NAMESPACE}\"><AssumeRoleResult><AssumedRoleUser>\
         <AssumedRoleId>AROASANDBOX:{session}</AssumedRoleId><Arn>{user}/{session}</Arn></AssumedRoleUser>\
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
