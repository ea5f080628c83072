//! Signs a request in its query with AWS Signature Version 4, so that anybody who has the URL can send it for a while.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::generate_signing_key;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};

use super::sigv4::{ALGORITHM, EMPTY_SHA256};

/// All characters that a query has to escape (RFC 3986).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A GET of `/` that is to be signed in its query.
#[derive(Clone, Copy, Debug)]
pub struct Presignable<'a> {
    /// The value of `Host`.
    pub host: &'a str,
    /// The region of the signature.
    pub region: &'a str,
    /// The service's name in signatures.
    pub service: &'a str,
    /// The parameters of the service's own.
    pub parameters: &'a [(&'a str, &'a str)],
    /// A header that the sender has to add. Its name sorts after `host`.
    pub header: (&'a str, &'a str),
    /// The time for which the signature is valid.
    pub lifetime: Duration,
}

/// Returns the query with the signature. It is a secret for as long as it is valid.
#[must_use]
pub fn presigned_query(request: &Presignable<'_>, credentials: &Credentials, time: SystemTime) -> String {
    let Presignable { host, region, service, parameters, header: (name, value), lifetime } = *request;
    let mut date = humantime::format_rfc3339_seconds(time).to_string();
    date.retain(|character| !matches!(character, '-' | ':'));
    let scope = format!("{}/{region}/{service}/aws4_request", &date[..8]);
    let credential = format!("{}/{scope}", credentials.access_key_id());
    let (signed_headers, lifetime) = (format!("host;{name}"), lifetime.as_secs().to_string());
    let mut pairs = vec![
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", &credential),
        ("X-Amz-Date", &date),
        ("X-Amz-Expires", &lifetime),
        ("X-Amz-SignedHeaders", &signed_headers),
    ];
    pairs.extend(credentials.session_token().map(|token| ("X-Amz-Security-Token", token)));
    pairs.extend(parameters);
    pairs.sort_unstable();
    let pairs = pairs.into_iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ESCAPED)));
    let query = pairs.collect::<Vec<_>>().join("&");
    let canonical = format!("GET\n/\n{query}\nhost:{host}\n{name}:{value}\n\n{signed_headers}\n{EMPTY_SHA256}");
    let hashed = hex::encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{hashed}");
    let key = generate_signing_key(credentials.secret_access_key(), time, region, service);
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), to_sign.as_bytes());
    format!("{query}&X-Amz-Signature={}", hex::encode(signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_botocore() {
        let request = Presignable {
            host: "sts.eu-west-1.amazonaws.com",
            region: "eu-west-1",
            service: "sts",
            parameters: &[("Action", "GetCallerIdentity"), ("Version", "2011-06-15")],
            header: ("x-mlflow-appliance-audience", "https://mlflow.corp.example"),
            lifetime: Duration::from_secs(900),
        };
        let time = humantime::parse_rfc3339("2026-01-01T00:00:00Z").expect("a time");
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        for (token, expected) in [
            (None, "cea6ca146eb63bc664e1f08178d415624073c253e14da8f7bf76ba15d876f9c5"),
            (Some("TO/KEN+1=="), "e753328381437bf0112b7b0e5d84608dfe856a1aea70a8483d85a2cf62c8f945"),
        ] {
            let credentials = Credentials::new("AKIDEXAMPLE", secret, token.map(ToOwned::to_owned), None, "test");
            let query = presigned_query(&request, &credentials, time);
            let (_, signature) = query.split_once("&X-Amz-Signature=").expect("it is signed");
            assert_eq!(signature, expected, "{query}");
        }
    }
}
