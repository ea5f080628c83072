//! The sources of credentials, their renewal, and the behaviour without them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::eventually;
use crate::support::upstream::{Recorded, Upstream};

pub(super) const ROLE: &str = "arn:aws:iam::123456789012:role/mlflow";

fn in_seconds(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(seconds)).to_string()
}

/// A metadata service whose credentials live for `lifetime` seconds; each set is numbered.
fn imds(lifetime: u64) -> Upstream {
    let issued = AtomicUsize::new(0);
    Upstream::plain(move |request, wire| {
        let has_token = request.all("x-aws-ec2-metadata-token") == ["imds-token"];
        match (request.method.as_str(), request.target.as_str()) {
            ("PUT", "/latest/api/token") => wire.send(
                "HTTP/1.1 200 OK\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\nContent-Length: 10\r\n\r\nimds-token",
            ),
            _ if !has_token => wire.answer("401 Unauthorized", ""),
            ("GET", "/latest/meta-data/iam/security-credentials/") => wire.answer("200 OK", "instance"),
            ("GET", "/latest/meta-data/iam/security-credentials/instance") => {
                let number = issued.fetch_add(1, Ordering::SeqCst);
                let expiration = in_seconds(lifetime);
                let body = format!(
                    "{{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"ASIAINSTANCE{number}\",\
                     \"SecretAccessKey\":\"instance-secret\",\"Token\":\"instance-token\",\
                     \"Expiration\":\"{expiration}\",\"LastUpdated\":\"2026-01-01T00:00:00Z\"}}"
                );
                wire.answer("200 OK", &body)
            }
            _ => wire.answer("404 Not Found", ""),
        }
    })
}

/// An STS that can be switched off; its credentials live for `lifetime` seconds and are numbered.
pub(super) fn sts(lifetime: u64) -> (Upstream, Arc<AtomicBool>) {
    let up = Arc::new(AtomicBool::new(true));
    let issued = AtomicUsize::new(0);
    let is_up = Arc::clone(&up);
    let server = Upstream::plain(move |_, wire| {
        if !is_up.load(Ordering::SeqCst) {
            return wire.answer("503 Service Unavailable", "");
        }
        let number = issued.fetch_add(1, Ordering::SeqCst);
        let expiration = in_seconds(lifetime);
        let body = format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
             <AccessKeyId>ASIAROLE{number}</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>\
             <SessionToken>role-token</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
             </AssumeRoleResult></AssumeRoleResponse>"
        );
        wire.answer("200 OK", &body)
    });
    (server, up)
}

pub(super) fn key_of(request: &Recorded) -> String {
    let authorization = request.header("authorization");
    let start = authorization.find("Credential=").unwrap() + "Credential=".len();
    authorization[start..].split('/').next().unwrap().to_owned()
}

fn with_imds(builder: Builder, imds: &Upstream) -> Builder {
    builder
        .without_credentials()
        .env("AWS_EC2_METADATA_DISABLED", "false")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds.url())
}

#[track_caller]
fn wait_until_ready(appliance: &Appliance) {
    eventually("the appliance is ready", || appliance.get("/_appliance/readyz").status == 200);
}

#[test]
fn without_credentials_the_appliance_is_alive_but_not_ready_and_explains_why() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).without_credentials().start();
    assert_eq!(appliance.get("/_appliance/healthz").status, 200);
    eventually("the chain has been tried", || appliance.log().contains("no AWS credentials were found"));
    let ready = appliance.get("/_appliance/readyz");
    assert_eq!((ready.status, ready.json()["reason"].as_str()), (503, Some("no AWS credentials were found")));
    let answer = appliance.get("/api/2.0/mlflow/experiments/search");
    assert_eq!((answer.status, answer.header("x-appliance-error")), (503, "no-credentials"));
    assert_eq!(answer.json()["error_code"], "TEMPORARILY_UNAVAILABLE");
    answer.header("retry-after").parse::<u32>().expect("seconds");
    assert!(appliance.log().contains("set AWS_PROFILE"), "the log says what to do: {}", appliance.log());
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn a_503_and_readyz_name_the_same_obstacle() {
    let upstream = Upstream::ok();
    let secrets = Upstream::start(|_, wire| wire.answer("400 Bad Request", "{}"));
    let none = "no AWS credentials were found";
    for (arguments, path, kind) in [
        (&["--artifact-store", "auto"][..], "/api/2.0/mlflow/experiments/search", "no-credentials"),
        (&["--artifact-store", "auto"], "/", "no-credentials"),
        (&["--artifact-store", "s3://bucket/x"], "/api/2.0/mlflow-artifacts/artifacts/x", "no-credentials"),
        (&["--tokens", "secretsmanager:mlflow"], "/api/2.0/mlflow/experiments/search", "tokens-unknown"),
    ] {
        let appliance = Builder::new(&upstream)
            .without_credentials()
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secrets.url())
            .with(arguments)
            .start();
        let reason = || appliance.get("/_appliance/readyz").json()["reason"].as_str().unwrap().to_owned();
        eventually("readyz knows", || reason().contains(none));
        let answer = appliance.connect().request("GET", path, &[("Authorization", "Bearer x")], None);
        assert_eq!((answer.status, answer.header("x-appliance-error")), (503, kind), "{arguments:?} {path}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(none) && !message.contains("shortly"), "{message}");
    }
    assert_eq!(upstream.requests().len() + secrets.requests().len(), 0);
}

#[test]
fn the_role_of_the_instance_is_used_only_through_imdsv2() {
    let (upstream, imds) = (Upstream::ok(), imds(3600));
    let appliance = with_imds(Builder::new(&upstream), &imds).start();
    wait_until_ready(&appliance);
    appliance.get("/x");
    let seen = upstream.only_request();
    assert_eq!((key_of(&seen).as_str(), seen.header("x-amz-security-token")), ("ASIAINSTANCE0", "instance-token"));
    assert_eq!(imds.requests()[0].target, "/latest/api/token", "no metadata is asked for without a token");
}

#[test]
fn a_profile_is_read_again_after_its_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("credentials");
    std::fs::write(&file, "[research]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = profile-secret\n")
        .unwrap();
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream)
        .without_credentials()
        .env("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())
        .env("AWS_PROFILE", "research")
        .start();
    wait_until_ready(&appliance);
    appliance.get("/x");
    let seen = upstream.only_request();
    assert_eq!(key_of(&seen), "AKIDPROFILE");
    assert!(seen.all("x-amz-security-token").is_empty(), "long-lived credentials have no token");
}

#[test]
fn a_role_is_assumed_as_configured() {
    let (upstream, imds) = (Upstream::ok(), imds(3600));
    let (sts, _) = sts(3600);
    let appliance = with_imds(Builder::new(&upstream), &imds)
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .env("SM_MLFLOW_ROLE_ARN", ROLE)
        .with(&["--role-external-id", "team:1", "--role-session-name", "me", "--role-session-duration", "30m"])
        .start();
    wait_until_ready(&appliance);
    appliance.get("/x");
    assert_eq!(key_of(&upstream.only_request()), "ASIAROLE0");
    let asked = sts.only_request();
    let form = String::from_utf8(asked.body.clone()).unwrap();
    for part in [
        "Action=AssumeRole",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fmlflow",
        "RoleSessionName=me",
        "ExternalId=team%3A1",
        "DurationSeconds=1800",
    ] {
        assert!(form.contains(part), "{part} in {form}");
    }
    assert_eq!(key_of(&asked), "ASIAINSTANCE0", "the instance's role asks");
    assert!(asked.header("authorization").contains("/us-east-1/sts/"), "in the target's region");
}

#[test]
fn credentials_are_renewed_before_they_expire_without_delaying_requests() {
    let upstream = Upstream::ok();
    let imds = imds(3600);
    // Renewed after three quarters of six seconds.
    let (sts, _) = sts(6);
    let appliance = with_imds(Builder::new(&upstream), &imds)
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .env("SM_MLFLOW_ROLE_ARN", ROLE)
        .start();
    wait_until_ready(&appliance);
    let mut caller = appliance.connect();
    eventually("the third set of credentials is in use", || {
        assert_eq!(caller.get("/x").status, 200, "no request fails during renewal");
        key_of(upstream.requests().last().unwrap()) == "ASIAROLE2"
    });
    let asked = sts.requests().len();
    assert!((3..=4).contains(&asked), "one renewal at a time: {asked}");
}

#[test]
fn an_outage_of_sts_causes_a_503_only_after_expiry_and_until_it_ends() {
    let upstream = Upstream::ok();
    let imds = imds(3600);
    let (sts, up) = sts(8);
    let appliance = with_imds(Builder::new(&upstream), &imds)
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .env("SM_MLFLOW_ROLE_ARN", ROLE)
        .start();
    wait_until_ready(&appliance);
    up.store(false, Ordering::SeqCst);
    eventually("renewal fails while the old credentials hold", || {
        let failed = appliance.log().contains("\"still_valid\":true");
        assert!(failed || appliance.get("/x").status == 200, "{}", appliance.log());
        failed
    });
    assert_eq!(appliance.get("/x").status, 200, "the old ones serve");
    eventually("they expire", || appliance.get("/_appliance/readyz").status == 503);
    let answer = appliance.get("/x");
    assert_eq!((answer.status, answer.header("x-appliance-error")), (503, "no-credentials"));
    assert_eq!(appliance.get("/_appliance/healthz").status, 200);
    up.store(true, Ordering::SeqCst);
    eventually("it heals by itself", || appliance.get("/x").status == 200);
}

#[test]
fn a_role_that_sts_denies_is_explained() {
    let upstream = Upstream::ok();
    let imds = imds(3600);
    let sts = Upstream::plain(|_, wire| {
        wire.answer(
            "403 Forbidden",
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>AccessDenied</Code><Message>User is not authorized to perform: sts:AssumeRole</Message></Error>\
             </ErrorResponse>",
        )
    });
    let appliance = with_imds(Builder::new(&upstream), &imds)
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .env("SM_MLFLOW_ROLE_ARN", ROLE)
        .start();
    eventually("it is in the log", || appliance.log().contains("AccessDenied: User is not authorized"));
    assert!(appliance.log().contains("trust policy"), "{}", appliance.log());
    assert_eq!(appliance.get("/_appliance/readyz").json()["reason"], "the role could not be assumed");
}

#[test]
fn expired_credentials_are_not_used() {
    let upstream = Upstream::ok();
    let imds = imds(3600);
    let (sts, _) = sts(0);
    let appliance = with_imds(Builder::new(&upstream), &imds)
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .env("SM_MLFLOW_ROLE_ARN", ROLE)
        .start();
    eventually("it is in the log", || appliance.log().contains("have already expired"));
    assert_eq!(appliance.get("/x").header("x-appliance-error"), "no-credentials");
    assert_eq!(upstream.requests().len(), 0);
}
