use secrecy::ExposeSecret as _;

use super::*;

const AUDIENCE: &str = "https://mlflow.corp.example";
const URL: &str = "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15\
    &X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKIDEXAMPLEAKIDEXAMP%2F20260101%2Feu-west-1%2Fsts%2Faws4_request&X-Amz-Date=20260101T000000Z\
    &X-Amz-Expires=900&X-Amz-SignedHeaders=host%3Bx-mlflow-appliance-audience\
    &X-Amz-Security-Token=TO%2FKEN%2B1%3D%3D\
    &X-Amz-Signature=e753328381437bf0112b7b0e5d84608dfe856a1aea70a8483d85a2cf62c8f945";

fn expected() -> ExpectedRequest {
    let hosts = ["us-east-1", "eu-west-1"].map(|region| (region.to_owned(), format!("sts.{region}.amazonaws.com")));
    ExpectedRequest { audience: AUDIENCE.to_owned(), hosts: hosts.into() }
}

/// A time as many seconds after the signature.
fn after(seconds: u64) -> SystemTime {
    date_of("20260101T000000Z").expect("a date") + Duration::from_secs(seconds)
}

fn parsed(text: &str, now: SystemTime) -> Result<UnconfirmedToken, AwsTokenError> {
    UnconfirmedToken::parse(text, &expected(), now)
}

fn of(url: &str) -> String {
    token(AUDIENCE, url).expose_secret().to_owned()
}

fn of_json(json: &str) -> String {
    format!("{PREFIX}{}", BASE64.encode(json))
}

#[test]
fn a_token_is_read_and_its_request_is_written_anew() {
    let unconfirmed = parsed(&of(URL), after(60)).expect("a valid form");
    assert_eq!(unconfirmed.region, 1);
    assert_eq!(unconfirmed.expires, after(900));
    let target = unconfirmed.target();
    let (before, _) = target.split_once("&X-Amz-Security-Token=TO%2FKEN%2B1%3D%3D&X-Amz-Signature=e75").expect(target);
    assert!(before.starts_with("/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm="), "{target}");
}

#[test]
fn two_spellings_of_a_token_have_one_fingerprint() {
    let (path, query) = URL.split_once('?').expect("a query");
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.reverse();
    let reversed = format!("{path}?{}", pairs.join("&"));
    let escaped = URL.replace("%2Feu-west-1", "%2fe%75-west-1");
    let padded = format!(
        "{PREFIX}{}",
        base64::prelude::BASE64_URL_SAFE.encode(format!("{{\"url\": \"{URL}\", \"audience\": \"{AUDIENCE}\"}} "))
    );
    let first = parsed(&of(URL), after(0)).expect("a valid form").fingerprint;
    for text in [of(&reversed), of(&escaped), padded] {
        assert_eq!(parsed(&text, after(0)).expect(&text).fingerprint, first, "{text}");
    }
}

#[test]
fn a_token_is_valid_for_as_long_as_it_says_and_a_fast_clock_adds_nothing() {
    assert_eq!(parsed(&of(URL), after(899)).map(|token| token.expires), Ok(after(900)));
    assert_eq!(parsed(&of(URL), after(900)).err(), Some(AwsTokenError::Expired));
    let early = after(0) - Duration::from_secs(300);
    assert_eq!(parsed(&of(URL), early).map(|token| token.expires), Ok(after(600)));
    assert_eq!(parsed(&of(URL), early - Duration::from_secs(1)).err(), Some(AwsTokenError::NotYetValid));
}

#[test]
fn a_token_is_rejected_with_a_reason_before_aws_is_asked() {
    use AwsTokenError::{Audience, Host, Malformed, Parameter, Region, TooLong, UnknownParameter};
    let changed = |from: &str, to: &str| {
        assert!(URL.contains(from), "{from}");
        of(&URL.replace(from, to))
    };
    let long = format!("&X-Amz-Security-Token={}", "A".repeat(LENGTH_LIMIT));
    let (credential, date) = (Parameter("X-Amz-Credential"), Parameter("X-Amz-Date"));
    let (headers, signature) = (Parameter("X-Amz-SignedHeaders"), Parameter("X-Amz-Signature"));
    for (text, expected) in [
        (PREFIX.to_owned(), Malformed),
        (format!("{PREFIX}?"), Malformed),
        (of(URL).replace(PREFIX, "mlfaws"), Malformed),
        (of_json("[]"), Malformed),
        (of_json(&format!("[\"{AUDIENCE}\", \"{URL}\"]")), Malformed),
        (of_json(&format!("{{\"audience\": \"{AUDIENCE}\"}}")), Malformed),
        (of_json(&format!("{{\"audience\": \"{AUDIENCE}\", \"url\": \"{URL}\", \"host\": \"evil\"}}")), Malformed),
        (of_json(&format!("{{\"audience\": \"{AUDIENCE}\", \"url\": \"{URL}\", \"url\": \"{URL}\"}}")), Malformed),
        (token("https://other.example", URL).expose_secret().to_owned(), Audience("https://other.example".to_owned())),
        (token("a\nb", URL).expose_secret().to_owned(), Malformed),
        (token("", URL).expose_secret().to_owned(), Malformed),
        (changed("https://", "ftp://"), Malformed),
        (changed("https://", ""), Malformed),
        (changed("/?", "?"), Malformed),
        (changed("/?", "/x?"), Malformed),
        (changed("sts.eu-west-1.amazonaws.com", "sts.us-east-1.amazonaws.com"), Host),
        (changed("sts.eu-west-1.amazonaws.com", "sts.amazonaws.com"), Host),
        (changed("sts.eu-west-1.amazonaws.com", "evil.example"), Host),
        (changed("sts.eu-west-1.amazonaws.com", "sts.eu-west-1.amazonaws.com:8443"), Host),
        (changed("sts.eu-west-1.amazonaws.com", "user@sts.eu-west-1.amazonaws.com"), Host),
        (changed("sts.eu-west-1.amazonaws.com", "STS.eu-west-1.amazonaws.com"), Host),
        (changed("%2Feu-west-1%2F", "%2Fap-south-1%2F"), Region),
        (changed("%2Feu-west-1%2F", "%2Feu-west-1.evil.example%2F"), Region),
        (changed("Action=GetCallerIdentity", "Action=AssumeRole"), Parameter("Action")),
        (changed("Action=GetCallerIdentity&", ""), Parameter("Action")),
        (changed("Action=", "Action=GetCallerIdentity&Action="), Parameter("Action")),
        (changed("Version=2011-06-15", "Version=2010-05-15"), Parameter("Version")),
        (changed("Action=", "RoleArn=x&Action="), UnknownParameter),
        (changed("Action=", "action=x&Action="), UnknownParameter),
        (changed("Action=", "&Action="), UnknownParameter),
        (changed("Action=", "X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&Action="), UnknownParameter),
        (changed("?Action=", "?Action%3D=x&Action="), UnknownParameter),
        (changed("&Version=", "#&Version="), Parameter("Action")),
        (changed("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), Parameter("X-Amz-Algorithm")),
        (changed("%2Fsts%2F", "%2Fs3%2F"), credential.clone()),
        (changed("%2Faws4_request", ""), credential.clone()),
        (changed("AKIDEXAMPLEAKIDEXAMP", "AKID"), credential.clone()),
        (changed("AKIDEXAMPLEAKIDEXAMP", "AKIDEXAMPLEAKIDEXAM%0A"), credential.clone()),
        (changed("X-Amz-Credential=", "X-Amz-Credential=%FF"), credential),
        (changed("%2F20260101%2F", "%2F20260102%2F"), date.clone()),
        (changed("X-Amz-Date=20260101T000000Z", "X-Amz-Date=20260101"), date.clone()),
        (changed("X-Amz-Date=20260101T000000Z", "X-Amz-Date=20260101T0000%2B0Z"), date.clone()),
        (changed("X-Amz-Date=20260101T000000Z", "X-Amz-Date=20260101T250000Z"), date),
        (changed("X-Amz-Expires=900", "X-Amz-Expires=901"), Parameter("X-Amz-Expires")),
        (changed("X-Amz-Expires=900", "X-Amz-Expires=604800"), Parameter("X-Amz-Expires")),
        (changed("X-Amz-Expires=900", "X-Amz-Expires=0"), Parameter("X-Amz-Expires")),
        (changed("X-Amz-Expires=900", "X-Amz-Expires=-1"), Parameter("X-Amz-Expires")),
        (changed("X-Amz-Expires=900", "X-Amz-Expires=99999999999999999999"), Parameter("X-Amz-Expires")),
        (changed("&X-Amz-Expires=900", ""), Parameter("X-Amz-Expires")),
        (changed("host%3Bx-mlflow-appliance-audience", "host"), headers.clone()),
        (changed("host%3Bx-mlflow-appliance-audience", "x-mlflow-appliance-audience"), headers.clone()),
        (changed("host%3Bx-mlflow-appliance-audience", "host%3Bx-k8s-aws-id"), headers.clone()),
        (changed("host%3Bx-mlflow", "host%3Bx-amz-target%3Bx-mlflow"), headers),
        (changed("X-Amz-Signature=e753", "X-Amz-Signature=E753"), signature.clone()),
        (changed("X-Amz-Signature=e753", "X-Amz-Signature=753"), signature),
        (changed("TO%2FKEN%2B1%3D%3D", ""), Parameter("X-Amz-Security-Token")),
        (changed("TO%2FKEN%2B1%3D%3D", "a%0D%0Ab"), Parameter("X-Amz-Security-Token")),
        (changed("&X-Amz-Security-Token=TO%2FKEN%2B1%3D%3D", &long), TooLong),
    ] {
        assert_eq!(parsed(&text, after(0)).err(), Some(expected), "{text}");
    }
}

#[test]
fn reasons_do_not_repeat_the_request() {
    let text = of(&URL.replace("TO%2FKEN%2B1%3D%3D", "SECRET%0A"));
    let reason = parsed(&text, after(0)).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(reason.contains("X-Amz-Security-Token") && !reason.contains("SECRET"), "{reason}");
}

#[test]
fn audiences_fit_into_a_header() {
    for text in ["mlflow", "https://mlflow.corp.example/"] {
        assert_eq!(check_audience(text), Ok(()), "{text}");
    }
    for text in ["", "a b", "ü", "a\n", &"a".repeat(256)] {
        assert!(check_audience(text).is_err(), "{text}");
    }
}
