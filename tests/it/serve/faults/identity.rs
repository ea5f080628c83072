//! A source of credentials that is down, slow, throttled or out of date: valid credentials serve, and no request waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::super::credentials::ROLE;
use crate::support::appliance::{Appliance, Builder};
use crate::support::upstream::{Recorded, Upstream, Wire};
use crate::support::{Message as _, PATIENCE, eventually, figure};

/// The current behaviour of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Down,
    /// The service does not answer for a minute.
    Silent,
    /// Refuses three times, and then no more.
    Throttling,
    /// Hands out credentials of the past.
    Stale,
}

#[derive(Clone)]
struct Service(Arc<std::sync::Mutex<Mood>>, Arc<AtomicUsize>);

impl Service {
    fn new(mood: Mood) -> Self {
        Self(Arc::new(std::sync::Mutex::new(mood)), Arc::default())
    }

    fn becomes(&self, mood: Mood) {
        *self.0.lock().unwrap() = mood;
        self.1.store(0, Ordering::SeqCst);
    }

    fn mood(&self) -> Mood {
        *self.0.lock().unwrap()
    }

    /// Deals with a request as the mood is; else says for how long the credentials hold.
    fn or_misbehaves(&self, wire: &mut Wire, refusal: &str, lifetime: i64) -> std::io::Result<Option<String>> {
        let number = self.1.fetch_add(1, Ordering::SeqCst);
        let seconds = match self.mood() {
            Mood::Well => lifetime,
            Mood::Stale => -60,
            Mood::Down => return wire.answer("503 Service Unavailable", "").map(|()| None),
            Mood::Throttling if number < 3 => return wire.send(refusal).map(|()| None),
            Mood::Throttling => lifetime,
            Mood::Silent => {
                thread::sleep(Duration::from_mins(1));
                return Err(std::io::Error::other("too late"));
            }
        };
        let time = SystemTime::now();
        let away = Duration::from_secs(seconds.unsigned_abs());
        let expiry = if seconds < 0 { time - away } else { time + away };
        Ok(Some(humantime::format_rfc3339_seconds(expiry).to_string()))
    }
}

fn imds(service: &Service, lifetime: i64) -> Upstream {
    let service = service.clone();
    Upstream::plain(move |request: &Recorded, wire: &mut Wire| {
        let refusal = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n";
        let Some(expiry) = service.or_misbehaves(wire, refusal, lifetime)? else { return Ok(()) };
        match request.target.as_str() {
            "/latest/api/token" => wire.send(
                "HTTP/1.1 200 OK\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\nContent-Length: 5\r\n\r\ntoken",
            ),
            "/latest/meta-data/iam/security-credentials/" => wire.answer("200 OK", "instance"),
            _ => wire.answer(
                "200 OK",
                format!(
                    "{{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"ASIAINSTANCE\",\"SecretAccessKey\":\
                     \"secret\",\"Token\":\"token\",\"Expiration\":\"{expiry}\",\"LastUpdated\":\"2026-01-01T00:00:00Z\"}}"
                ),
            ),
        }
    })
}

fn sts(service: &Service, lifetime: i64) -> Upstream {
    let service = service.clone();
    Upstream::plain(move |_, wire| {
        let throttled = "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message>\
                         </Error></ErrorResponse>";
        let refusal = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{throttled}", throttled.len());
        let Some(expiry) = service.or_misbehaves(wire, &refusal, lifetime)? else { return Ok(()) };
        wire.answer(
            "200 OK",
            format!(
                "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
                 <AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>\
                 <Expiration>{expiry}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
            ),
        )
    })
}

fn with_imds(upstream: &Upstream, imds: &Upstream) -> Builder {
    Builder::new(upstream)
        .without_credentials()
        .env("AWS_EC2_METADATA_DISABLED", "false")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds.url())
}

fn with_sts(upstream: &Upstream, sts: &Upstream) -> Builder {
    Builder::new(upstream).without_waiting().with(&["--role-arn", ROLE]).env("AWS_ENDPOINT_URL_STS", &sts.url())
}

/// Without credentials each request is refused at once; with them again, it succeeds.
#[track_caller]
fn heals(what: &str, appliance: &Appliance, service: &Service) -> Duration {
    eventually("there have been attempts", || appliance.log().contains("the AWS credentials could not be obtained"));
    let began = Instant::now();
    for _ in 0..20 {
        let answer = appliance.get("/x");
        assert_eq!((answer.status, answer.header("x-appliance-error")), (503, "no-credentials"), "{what}");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{what}: no request waits: {:?}", began.elapsed());
    service.becomes(Mood::Well);
    let began = Instant::now();
    eventually(&format!("it heals: {what}"), || appliance.get("/x").status == 200);
    began.elapsed()
}

#[test]
fn a_credential_source_that_fails_at_the_start_is_retried_until_it_responds() {
    thread::scope(|scope| {
        for mood in [Mood::Down, Mood::Silent] {
            scope.spawn(move || {
                let (upstream, service) = (Upstream::ok(), Service::new(mood));
                let imds = imds(&service, 3600);
                let appliance = with_imds(&upstream, &imds).start();
                let healed = heals(&format!("metadata service, {mood:?}"), &appliance, &service);
                figure(&format!(
                    "metadata service, {mood:?} at the start: requests refused at once, healed after {healed:.1?}"
                ));
            });
        }
        for mood in [Mood::Down, Mood::Silent, Mood::Stale] {
            scope.spawn(move || {
                let (upstream, service) = (Upstream::ok(), Service::new(mood));
                let sts = sts(&service, 3600);
                let appliance = with_sts(&upstream, &sts).start();
                let healed = heals(&format!("STS, {mood:?}"), &appliance, &service);
                figure(&format!("STS, {mood:?} at the start: requests refused at once, healed after {healed:.1?}"));
            });
        }
    });
}

#[test]
fn a_credential_source_that_throttles_is_retried_with_backoff() {
    thread::scope(|scope| {
        scope.spawn(|| {
            let (upstream, service) = (Upstream::ok(), Service::new(Mood::Throttling));
            let imds = imds(&service, 3600);
            let appliance = with_imds(&upstream, &imds).start();
            eventually("the metadata service is heard", || appliance.get("/x").status == 200);
            assert!(imds.requests().len() <= 12, "{} questions", imds.requests().len());
        });
        scope.spawn(|| {
            let (upstream, service) = (Upstream::ok(), Service::new(Mood::Throttling));
            let sts = sts(&service, 3600);
            let appliance = with_sts(&upstream, &sts).start();
            eventually("STS is heard", || appliance.get("/x").status == 200);
            assert_eq!(sts.requests().len(), 4, "three refusals");
            assert!(appliance.log().contains("Throttling: Rate exceeded"), "{}", appliance.log());
        });
    });
}

#[test]
fn a_failing_credential_source_affects_no_request_while_the_credentials_are_valid() {
    thread::scope(|scope| {
        for mood in [Mood::Down, Mood::Silent, Mood::Throttling, Mood::Stale] {
            scope.spawn(move || {
                let (upstream, service) = (Upstream::ok(), Service::new(Mood::Well));
                // Renewed after three quarters of this. STS names the expiry in whole seconds, so it is up to one second less,
                // and two seconds are left for the requests after the first attempt.
                let sts = sts(&service, 10);
                let appliance = with_sts(&upstream, &sts).start();
                eventually("it is ready", || appliance.get("/x").status == 200);
                service.becomes(mood);
                let began = Instant::now();
                let (mut caller, mut slowest, mut count) = (appliance.connect(), Duration::ZERO, 0);
                let mut asked_again = None;
                while asked_again.is_none_or(|at: Instant| at.elapsed() < Duration::from_millis(500)) {
                    assert!(began.elapsed() < PATIENCE, "{mood:?}: it was asked again");
                    if sts.requests().len() > 1 {
                        asked_again.get_or_insert_with(Instant::now);
                    }
                    let asked = Instant::now();
                    assert_eq!(caller.request("POST", "/x", &[], Some(b"{}")).status, 200, "{mood:?}");
                    slowest = slowest.max(asked.elapsed());
                    count += 1;
                    thread::sleep(Duration::from_millis(10));
                }
                assert!(slowest < Duration::from_secs(1), "{mood:?}: no request waits for it: {slowest:?}");
                service.becomes(Mood::Well);
                eventually("it heals", || {
                    appliance.get("/_appliance/readyz").status == 200 && appliance.get("/x").status == 200
                });
                figure(&format!(
                    "STS, {mood:?} while credentials hold: {count} requests, none failed, slowest {slowest:.1?}"
                ));
            });
        }
    });
}
