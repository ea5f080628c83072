//! The emulated instance metadata service, version 2 only, with the instance and the credentials of its role.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::identity::{Issuer, Principal, random_text};
use crate::clock;

const TOKEN_PATH: &str = "/latest/api/token";
const TOKEN_TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const CREDENTIALS_PATH: &str = "/latest/meta-data/iam/security-credentials/";
/// The name of the instance's role.
pub(super) const INSTANCE_ROLE: &str = "sandbox-instance";

/// The emulated metadata service.
pub(super) struct MetadataService {
    pub(super) issuer: Issuer,
    pub(super) region: String,
    pub(super) lifetime: Duration,
    pub(super) tokens: Mutex<HashSet<String>>,
}

/// Responds to any request.
pub(super) async fn handle(imds: web::Data<MetadataService>, request: HttpRequest) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let mut tokens = imds.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    if request.method() == Method::PUT && request.path() == TOKEN_PATH {
        let Some(ttl) = header(TOKEN_TTL_HEADER).filter(|ttl| ttl.parse::<u32>().is_ok()) else {
            return HttpResponse::BadRequest().finish();
        };
        let token = random_text(56, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
        tokens.insert(token.clone());
        return HttpResponse::Ok().insert_header((TOKEN_TTL_HEADER, ttl)).body(token);
    }
    if !header(TOKEN_HEADER).is_some_and(|token| tokens.contains(token)) {
        return HttpResponse::Unauthorized().finish();
    }
    drop(tokens);
    match request.path().strip_prefix(CREDENTIALS_PATH) {
        Some("") => return HttpResponse::Ok().body(INSTANCE_ROLE),
        Some(INSTANCE_ROLE) => return credentials(&imds),
        _ => {}
    }
    match request.path() {
        "/latest/meta-data/placement/region" => HttpResponse::Ok().body(imds.region.clone()),
        "/latest/meta-data/instance-id" => HttpResponse::Ok().body("i-00000000000000000"),
        _ => HttpResponse::NotFound().finish(),
    }
}

fn credentials(imds: &MetadataService) -> HttpResponse {
    let now = clock::now();
    let issued = imds.issuer.issue(Principal::Instance, now, imds.lifetime);
    HttpResponse::Ok().json(json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": humantime::format_rfc3339_seconds(now).to_string(),
        "AccessKeyId": issued.access_key_id,
        "SecretAccessKey": issued.secret_access_key,
        "Token": issued.session_token,
        "Expiration": humantime::format_rfc3339_seconds(issued.expiry).to_string(),
    }))
}
