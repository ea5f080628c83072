//! The signatures of the chunks in which a large object goes to S3.
//!
//! S3 takes an object as chunks, each signed over its own SHA-256 and the signature before it, so that nothing has to be known
//! of the last byte when the first is sent. The object becomes visible only after the last signature and the checksum of the
//! whole are right (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>).
//!
//! `aws-sigv4` can sign chunks, too, but needs each of them in one piece and derives the key for each anew.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc32fast::Hasher;
use ring::{digest, hmac};

use crate::aws::sigv4::EMPTY_SHA256;

/// The size of all chunks but the last, as in AWS's SDKs. Bytes.
pub const CHUNK_SIZE: usize = 64 * 1024;
/// The header in which the checksum of the whole object follows the last chunk.
pub(super) const TRAILER: &str = "x-amz-checksum-crc32";
/// `;chunk-signature=` with a signature.
const SIGNATURE_LENGTH: u64 = 17 + 64;
/// CRC-32 in base64.
const CHECKSUM_LENGTH: u64 = 8;
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// Signs the chunks of one object, in their order. It holds a key, so there is no `Debug`.
#[derive(Clone)]
pub struct ChunkSigner {
    key: hmac::Key,
    /// Date and scope, a line each.
    scope: String,
    /// The signature that the next one continues, in hex.
    previous: String,
    hash: digest::Context,
    checksum: Hasher,
}

impl ChunkSigner {
    /// Continues the signature of a request's head, `seed`. `date` is its `x-amz-date`, and `scope` the credential's.
    #[must_use]
    pub fn new(key: &[u8], date: &str, scope: &str, seed: String) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            scope: format!("{date}\n{scope}"),
            previous: seed,
            hash: digest::Context::new(&digest::SHA256),
            checksum: Hasher::new(),
        }
    }

    /// Adds a piece to the current chunk.
    pub fn update(&mut self, piece: &[u8]) {
        self.hash.update(piece);
        self.checksum.update(piece);
    }

    /// Signs the current chunk of `size` bytes, and returns the line that precedes it.
    pub fn chunk(&mut self, size: usize) -> String {
        let hash = std::mem::replace(&mut self.hash, digest::Context::new(&digest::SHA256)).finish();
        let hash = format!("{EMPTY_SHA256}\n{}", hex::encode(hash));
        format!("{size:x};chunk-signature={}\r\n", self.sign("PAYLOAD", &hash))
    }

    /// Signs the end of the object, and returns the text that follows the last chunk.
    pub fn end(&mut self) -> String {
        let checksum = BASE64_STANDARD.encode(std::mem::take(&mut self.checksum).finalize().to_be_bytes());
        let mut text = self.chunk(0);
        let signature = self.trailer(TRAILER, &checksum).to_owned();
        let _ = write!(text, "{TRAILER}:{checksum}\r\n{TRAILER_SIGNATURE}:{signature}\r\n\r\n");
        text
    }

    fn trailer(&mut self, name: &str, value: &str) -> &str {
        let hash = digest::digest(&digest::SHA256, format!("{name}:{value}\n").as_bytes());
        self.sign("TRAILER", &hex::encode(hash))
    }

    fn sign(&mut self, kind: &str, hash: &str) -> &str {
        let text = format!("AWS4-HMAC-SHA256-{kind}\n{}\n{}\n{hash}", self.scope, self.previous);
        self.previous = hex::encode(hmac::sign(&self.key, text.as_bytes()));
        &self.previous
    }
}

/// Returns the number of bytes that an object of `length` bytes takes in chunks.
#[must_use]
pub fn encoded_length(length: u64) -> u64 {
    const LINE_END: u64 = 2;
    let digits = |size: u64| u64::from(size.checked_ilog(16).unwrap_or(0)) + 1;
    let chunk = |size: u64| digits(size) + SIGNATURE_LENGTH + LINE_END + size + LINE_END;
    let size = CHUNK_SIZE as u64;
    let (whole, rest) = (length / size, length % size);
    let chunks = whole * chunk(size) + if rest > 0 { chunk(rest) } else { 0 };
    let end = digits(0) + SIGNATURE_LENGTH + LINE_END;
    let line = |name: &str, value: u64| name.len() as u64 + 1 + value + LINE_END;
    chunks + end + line(TRAILER, CHECKSUM_LENGTH) + line(TRAILER_SIGNATURE, 64) + LINE_END
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use aws_credential_types::Credentials;
    use aws_sigv4::sign::v4::{self, generate_signing_key};
    use bytes::Bytes;

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    /// 2013-05-24, the day of AWS's examples.
    const DAY: Duration = Duration::from_secs(1_369_353_600);
    const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";

    fn signer(seed: &str) -> ChunkSigner {
        let key = generate_signing_key(SECRET, UNIX_EPOCH + DAY, "us-east-1", "s3");
        ChunkSigner::new(key.as_ref(), "20130524T000000Z", SCOPE, seed.to_owned())
    }

    #[test]
    fn chunks_and_trailer_have_the_signatures_of_the_example_of_aws() {
        let mut signer = signer("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
        for piece in [10_000, 55_536] {
            signer.update(&vec![b'a'; piece]);
        }
        let line = "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n";
        assert_eq!(signer.chunk(0x10000), line);
        signer.update(&[b'a'; 1024]);
        let line = "400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n";
        assert_eq!(signer.chunk(1024), line);
        let line = "0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n";
        assert_eq!(signer.chunk(0), line);
        let signature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
        assert_eq!(signer.trailer("x-amz-checksum-crc32c", "sOO8/Q=="), signature);
    }

    #[test]
    fn chunks_have_the_signatures_of_the_sdk_of_aws() {
        let (seed, data) = ("0".repeat(64), Bytes::from_static(b"a chunk"));
        let identity = Credentials::new("AKIDEXAMPLE", SECRET, None, None, "test").into();
        let parameters = v4::SigningParams::builder().identity(&identity).region("us-east-1").name("s3");
        let parameters = parameters.time(UNIX_EPOCH + DAY).settings(()).build().unwrap();
        let expected = v4::sign_chunk(&data, &seed, &parameters).unwrap();
        let mut signer = signer(&seed);
        signer.update(&data);
        assert_eq!(signer.chunk(data.len()), format!("7;chunk-signature={}\r\n", expected.signature()));
    }

    #[test]
    fn the_length_is_that_of_the_encoded_object() {
        for length in [1, 15, 16, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE + 4095] {
            let mut signer = signer("seed");
            let mut encoded = 0;
            for chunk in vec![7; length].chunks(CHUNK_SIZE) {
                signer.update(chunk);
                encoded += signer.chunk(chunk.len()).len() + chunk.len() + 2;
            }
            encoded += signer.end().len();
            assert_eq!(encoded_length(length as u64), encoded as u64, "{length}");
        }
    }
}
