//! Clock skew: signatures use the time of AWS after a single rejection.
//!
//! The servers here check times as AWS does. Their clock is off instead of ours, which is equivalent.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::appliance::Builder;
use crate::support::upstream::{OK, Recorded, Upstream, Wire};
use crate::support::{Message as _, eventually, figure};

/// By how much AWS's clock is ahead of this machine's.
#[derive(Clone, Default)]
struct Ahead(Arc<AtomicI64>);

impl Ahead {
    fn by(minutes: i64) -> Self {
        let ahead = Self::default();
        ahead.set(minutes);
        ahead
    }

    fn set(&self, minutes: i64) {
        self.0.store(minutes * 60, Ordering::SeqCst);
    }

    fn now(&self) -> SystemTime {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
        UNIX_EPOCH + Duration::from_secs((seconds + self.0.load(Ordering::SeqCst)).unsigned_abs())
    }

    /// The header `Date` of an answer.
    fn date(&self) -> String {
        httpdate::fmt_http_date(self.now())
    }

    /// Returns true if the time of a signature, as in `20260101T000000Z`, is within five minutes.
    fn accepts(&self, signed: &str) -> bool {
        let (date, time) = signed.trim_end_matches('Z').split_once('T').unwrap();
        let text =
            format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..], &time[..2], &time[2..4], &time[4..]);
        let signed = humantime::parse_rfc3339(&text).unwrap();
        let now = self.now();
        now.duration_since(signed).or_else(|_| signed.duration_since(now)).unwrap() < Duration::from_secs(300)
    }
}

/// Answers a request as MLflow behind AWS's front door would, and S3 if the signature is in the query.
fn answer(ahead: &Ahead, request: &Recorded, wire: &mut Wire) -> std::io::Result<()> {
    let in_query = request.target.split_once("X-Amz-Date=").map(|(_, rest)| &rest[..16]);
    let signed = in_query.unwrap_or_else(|| request.header("x-amz-date"));
    if ahead.accepts(signed) {
        return wire.send(OK);
    }
    let body = format!("{{\"message\":\"Signature expired: {signed} is now earlier than it may be\"}}");
    wire.send(format!(
        "HTTP/1.1 403 Forbidden\r\nDate: {}\r\nx-amzn-ErrorType: InvalidSignatureException\r\nContent-Length: {}\r\n\r\n{body}",
        ahead.date(),
        body.len()
    ))
}

#[test]
fn clock_skew_of_twenty_minutes_costs_one_rejection_and_its_correction_another() {
    for minutes in [-20, 20] {
        let ahead = Ahead::by(minutes);
        let judge = ahead.clone();
        let upstream = Upstream::start(move |request, wire| answer(&judge, request, wire));
        let appliance = Builder::new(&upstream).start();
        let mut caller = appliance.connect();
        for number in 0..20 {
            assert_eq!(caller.request("POST", "/x", &[], Some(b"{}")).status, 200, "{minutes} minutes, {number}");
        }
        assert_eq!(upstream.requests().len(), 21, "one was rejected, and retried with another signature");
        let seen = upstream.requests();
        assert_eq!((&seen[0].target, &seen[0].body), (&seen[1].target, &seen[1].body));
        assert_ne!(seen[0].header("authorization"), seen[1].header("authorization"));
        assert!(appliance.log().contains("clock skew was detected"), "{}", appliance.log());
        let log = appliance.log();
        let ahead_by = log.split("\"aws_is_ahead_s\":").nth(1).unwrap().split(',').next().unwrap();
        assert!((ahead_by.parse::<i64>().unwrap() - minutes * 60).abs() <= 2, "{ahead_by}");

        ahead.set(0);
        for number in 0..20 {
            assert_eq!(caller.request("POST", "/x", &[], Some(b"{}")).status, 200, "put right, {number}");
        }
        assert_eq!(upstream.requests().len(), 42);
    }
    figure("clock: 20 minutes off either way, and back: 80 POSTs, 4 refusals, none seen by a caller");
}

#[test]
fn requests_to_s3_use_the_same_corrected_time() {
    for minutes in [-20, 20] {
        let (mlflow, ahead) = (Upstream::ok(), Ahead::by(minutes));
        let judge = ahead.clone();
        let s3 = Upstream::plain(move |request, wire| answer(&judge, request, wire));
        let appliance =
            Builder::new(&mlflow).with(&["--artifact-store", "s3://bucket/mlflow", "--s3-endpoint", &s3.url()]).start();
        for number in 0..5 {
            let put =
                appliance.connect().request("PUT", "/api/2.0/mlflow-artifacts/artifacts/a.txt", &[], Some(b"hello"));
            assert_eq!(put.status, 200, "{minutes} minutes, {number}: {}", put.text());
        }
        assert_eq!(s3.requests().len(), 6, "{minutes} minutes: one was rejected");
        let presigned = appliance.get("/api/2.0/mlflow-artifacts/presigned/a.txt");
        let url = presigned.json()["url"].as_str().unwrap().to_owned();
        let (_, rest) = url.split_once("X-Amz-Date=").unwrap();
        assert!(ahead.accepts(&rest[..16]), "presigned URLs, too: {url}");
    }
}

#[test]
fn a_role_is_assumed_in_spite_of_clock_skew() {
    for minutes in [-20, 20] {
        let ahead = Ahead::by(minutes);
        let [of_mlflow, of_s3, judge] = [ahead.clone(), ahead.clone(), ahead.clone()];
        let upstream = Upstream::start(move |request, wire| answer(&of_mlflow, request, wire));
        let s3 = Upstream::plain(move |request, wire| answer(&of_s3, request, wire));
        let sts = Upstream::plain(move |request, wire| {
            if !judge.accepts(request.header("x-amz-date")) {
                let body = "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code>\
                            <Message>Signature expired</Message></Error></ErrorResponse>";
                return wire.send(format!(
                    "HTTP/1.1 403 Forbidden\r\nDate: {}\r\nContent-Length: {}\r\n\r\n{body}",
                    judge.date(),
                    body.len()
                ));
            }
            let expiration = humantime::format_rfc3339_seconds(judge.now() + Duration::from_secs(900));
            wire.answer(
                "200 OK",
                format!(
                    "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
                     <AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token\
                     </SessionToken><Expiration>{expiration}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
                ),
            )
        });
        let appliance = Builder::new(&upstream)
            .with(&["--role-arn", "arn:aws:iam::123456789012:role/mlflow"])
            .with(&["--artifact-store", "s3://bucket/mlflow", "--s3-endpoint", &s3.url()])
            .env("AWS_ENDPOINT_URL_STS", &sts.url())
            .start();
        // They expire by AWS's clock, by which they are signed for as well.
        for target in ["/x", "/x", "/api/2.0/mlflow-artifacts/artifacts/a.txt"] {
            let got = appliance.get(target);
            assert_eq!(got.status, 200, "{minutes} minutes, {target}: {}", got.text());
        }
        assert_eq!(upstream.requests().len(), 2, "{minutes} minutes: MLflow's clock is the one that STS has shown");
        assert_eq!(sts.requests().len(), 2, "{minutes} minutes: one was rejected");
        // Expiry, too, is by AWS's clock: fifteen minutes are left, not minus five, and not thirty-five.
        let log = appliance.log();
        let lifetime =
            log.split("\"valid_for_s\":").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
        assert!((800..=900).contains(&lifetime.parse::<u64>().unwrap()), "{minutes} minutes: {lifetime}");
    }
}

#[test]
fn a_403_for_another_reason_is_forwarded_at_once() {
    for date in [httpdate::fmt_http_date(SystemTime::now()), "yesterday".to_owned(), String::new()] {
        let upstream = Upstream::start(move |_, wire| {
            wire.send(format!("HTTP/1.1 403 Forbidden\r\nDate: {date}\r\nContent-Length: 2\r\n\r\n{{}}"))
        });
        let appliance = Builder::new(&upstream).start();
        assert_eq!(appliance.connect().request("POST", "/x", &[], Some(b"{}")).status, 403);
        assert_eq!(upstream.requests().len(), 1);
    }
}

#[test]
fn an_upstream_with_a_false_date_gets_two_attempts_and_no_signature_for_next_week() {
    for minutes in [60 * 24 * 7, -60 * 24 * 7, 60] {
        let ahead = Ahead::by(minutes);
        let upstream = Upstream::start(move |_, wire| {
            wire.send(format!("HTTP/1.1 403 Forbidden\r\nDate: {}\r\nContent-Length: 2\r\n\r\n{{}}", ahead.date()))
        });
        let appliance = Builder::new(&upstream).start();
        for _ in 0..5 {
            assert_eq!(appliance.connect().request("POST", "/x", &[], Some(b"{}")).status, 403);
        }
        let is_believed = minutes == 60;
        eventually("the requests are there", || upstream.requests().len() == if is_believed { 6 } else { 5 });
        let today = Ahead::by(if is_believed { 60 } else { 0 });
        assert!(today.accepts(upstream.requests().last().unwrap().header("x-amz-date")), "{minutes}");
    }
}
