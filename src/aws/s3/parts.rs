//! The parts of an upload: their presigned URLs, up to 10,000 of them, and the list that completes the upload.
//!
//! The URLs differ in the number of the part and in the signature only. `rusty-s3` signs the first one. For the others this
//! file reuses the signing key and the hash of the text before the number; deriving them anew for each of 10,000 parts took a
//! worker 0.8 s.

use std::fmt::Write as _;
use std::time::SystemTime;

use aws_sigv4::sign::v4::generate_signing_key;
use ring::{digest, hmac};
use url::{Position, Url};

/// S3 counts parts from here.
pub(super) const FIRST: u16 = 1;
const NUMBER: &str = "&partNumber=";
const SIGNATURE: &str = "&X-Amz-Signature=";

/// Makes the URLs of one upload; all expire at the same moment. They are secrets, so there is no `Debug`.
pub struct PartUrls {
    key: hmac::Key,
    /// The string to sign, up to the hash of the canonical request.
    to_sign: String,
    /// The canonical request up to the number, hashed.
    hashed: digest::Context,
    /// The canonical request behind the number.
    rest: String,
    /// The URL up to the number, and from there to the signature.
    url: (String, String),
}

impl PartUrls {
    /// Prepares URLs like the first one, which was signed with this secret at this time.
    pub(super) fn new(first: &Url, secret: &str, region: &str, time: SystemTime) -> Self {
        let text = first.as_str();
        // The signature is the last parameter, and an upload's id, which is encoded, cannot look like a number.
        let (unsigned, _) = text.rsplit_once(SIGNATURE).unwrap_or((text, ""));
        let (before, after) = unsigned.split_once(NUMBER).unwrap_or((unsigned, ""));
        let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
        let query = &before[first[..Position::BeforeQuery].len().min(before.len())..];
        let parameter = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
        };
        let date = parameter("X-Amz-Date");
        let day = date.get(..8).unwrap_or_default();
        let mut hashed = digest::Context::new(&digest::SHA256);
        for piece in ["PUT\n", first.path(), "\n", query, NUMBER] {
            hashed.update(piece.as_bytes());
        }
        // The header is sent without the port that the scheme implies, so it is signed without that port.
        let host = &first[Position::BeforeHost..Position::AfterPort];
        let key = generate_signing_key(secret, time, region, "s3");
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            to_sign: format!("AWS4-HMAC-SHA256\n{date}\n{day}/{region}/s3/aws4_request\n"),
            hashed,
            rest: format!("{after}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"),
            url: (format!("{before}{NUMBER}"), format!("{after}{SIGNATURE}")),
        }
    }

    /// The URL of a part.
    #[must_use]
    pub fn of(&self, part: u16) -> String {
        let number = part.to_string();
        let mut hashed = self.hashed.clone();
        hashed.update(number.as_bytes());
        hashed.update(self.rest.as_bytes());
        let signed = format!("{}{}", self.to_sign, hex::encode(hashed.finish().as_ref()));
        let signature = hmac::sign(&self.key, signed.as_bytes());
        let (before, after) = &self.url;
        [before, number.as_str(), after, &hex::encode(signature.as_ref())].concat()
    }
}

/// Returns the list of an upload's parts, whose entity tags are given in order from part 1.
#[must_use]
pub fn parts_document<'a>(tags: impl Iterator<Item = &'a str>) -> String {
    let mut text = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned();
    for (tag, number) in tags.zip(FIRST..) {
        // SECURITY: a tag comes from a caller, and must not become a part of the document's structure.
        let tag = tag.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(text, "<Part><ETag>{tag}</ETag><PartNumber>{number}</PartNumber></Part>");
    }
    text.push_str("</CompleteMultipartUpload>");
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_credential_types::Credentials;
    use rusty_s3::actions::UploadPart;

    use super::super::{Bucket, keys, sign};
    use super::*;

    #[test]
    fn every_url_is_the_one_that_rusty_s3_signs() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        for endpoint in [None, Some("https://127.0.0.1:9000"), Some("http://localhost:80"), Some("https://[::1]:443")] {
            for token in [None, Some("to+ken/=&partNumber=3".to_owned())] {
                let bucket = Bucket::new("bucket", "eu-west-1", endpoint, None).expect("valid");
                let credentials = Credentials::new("AKID", "sec/ret", token, None, "test");
                let keys = keys(&credentials);
                for (key, upload) in [("a b/\u{fc}#%41+=", "up+1/2=&partNumber=7"), ("k", "u~._-")] {
                    let peer = |part| {
                        let action = UploadPart::new(&bucket.inner, Some(&keys), key, part, upload);
                        String::from(sign(&action, Duration::from_hours(1), time))
                    };
                    let first = Url::parse(&peer(FIRST)).expect("a URL");
                    let urls = PartUrls::new(&first, credentials.secret_access_key(), "eu-west-1", time);
                    for part in [1, 2, 10, 999, 10_000] {
                        assert_eq!(urls.of(part), peer(part), "{endpoint:?} {key} {part}");
                    }
                }
            }
        }
    }

    #[test]
    fn parts_are_listed_as_s3_reads_them() {
        let text = parts_document(["\"a\"", "<b>&"].into_iter());
        assert!(text.contains("<Part><ETag>\"a\"</ETag><PartNumber>1</PartNumber></Part>"), "{text}");
        assert!(text.contains("<ETag>&lt;b&gt;&amp;</ETag><PartNumber>2<"), "{text}");
    }
}
