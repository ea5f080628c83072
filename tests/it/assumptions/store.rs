//! A simulated S3: one bucket in memory, which decodes chunks, checks their checksum and knows incomplete uploads.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::support::Message as _;
use crate::support::upstream::Recorded;

pub const BUCKET: &str = "artifact-bucket";
const NAMESPACE: &str = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

#[derive(Default)]
struct Object {
    data: Vec<u8>,
    /// Its key, if it is encrypted with one.
    kms: String,
}

/// The objects and the incomplete uploads by their keys.
#[derive(Default)]
pub struct Objects {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Object>,
}

type Answer = (&'static str, String, Vec<u8>);

fn error(status: &'static str, code: &str) -> Answer {
    (status, String::new(), format!("<Error><Code>{code}</Code></Error>").into_bytes())
}

fn fine(body: impl Into<Vec<u8>>) -> Answer {
    ("200 OK", String::new(), body.into())
}

impl Objects {
    /// The names of all objects, without the folders above them.
    pub fn names(&self) -> Vec<String> {
        self.objects.keys().map(|key| key.rsplit('/').next().unwrap().to_owned()).collect()
    }

    /// Answers a request; `is` says which assumptions are false.
    pub fn answer(&mut self, request: &Recorded, is: impl Fn(&str) -> bool) -> Answer {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let path = decoded(path);
        let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key).to_owned();
        let parameter =
            |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(&decoded));
        let kms = request.all("x-amz-server-side-encryption-aws-kms-key-id").first().map(ToString::to_string);
        match request.method.as_str() {
            "POST" if parameter("uploadId").is_some() => {
                if let Some(whole) = self.uploads.remove(&key) {
                    self.objects.insert(key, whole);
                }
                fine(format!(
                    "<CompleteMultipartUploadResult {NAMESPACE}><ETag>e</ETag></CompleteMultipartUploadResult>"
                ))
            }
            "POST" => {
                let kms = kms.unwrap_or_default();
                if is("s3-parts") {
                    self.objects.insert(key.clone(), Object::default());
                }
                self.uploads.insert(key, Object { data: Vec::new(), kms });
                fine(format!(
                    "<InitiateMultipartUploadResult {NAMESPACE}><UploadId>upload-1</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            "PUT" if parameter("uploadId").is_some() => {
                if is("s3-presigned-part") && key.contains("presigned") {
                    return error("403 Forbidden", "SignatureDoesNotMatch");
                }
                self.uploads.get_mut(&key).unwrap().data.clone_from(&request.body);
                ("200 OK", "ETag: \"part\"\r\n".to_owned(), Vec::new())
            }
            "PUT" => self.put(request, key, kms.unwrap_or_default(), is),
            "DELETE" if parameter("uploadId").is_some() => {
                self.uploads.remove(&key);
                ("204 No Content", String::new(), Vec::new())
            }
            "DELETE" => {
                self.objects.remove(&key);
                ("204 No Content", String::new(), Vec::new())
            }
            _ if key.is_empty() => {
                let prefix = parameter("prefix").unwrap_or_default();
                let found = self.objects.keys().filter(|key| key.starts_with(&prefix) && !is("s3-key-characters"));
                let entry = |key: &String| {
                    let key = utf8_percent_encode(key, NON_ALPHANUMERIC);
                    format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")
                };
                let found: String = found.map(entry).collect();
                fine(format!(
                    "<ListBucketResult {NAMESPACE}><EncodingType>url</EncodingType>{found}</ListBucketResult>"
                ))
            }
            _ => {
                let Some(object) = self.objects.get(&key) else { return error("404 Not Found", "NoSuchKey") };
                let mut headers = String::new();
                if !object.kms.is_empty() && !is("s3-kms-headers") {
                    headers += "x-amz-server-side-encryption: aws:kms\r\n";
                    let _ = write!(headers, "x-amz-server-side-encryption-aws-kms-key-id: {}\r\n", object.kms);
                }
                if let Some(disposition) = parameter("response-content-disposition")
                    && !is("s3-presigned-download")
                {
                    let _ = write!(headers, "Content-Disposition: {disposition}\r\n");
                }
                ("200 OK", headers, object.data.clone())
            }
        }
    }

    fn put(&mut self, request: &Recorded, key: String, kms: String, is: impl Fn(&str) -> bool) -> Answer {
        let payload = request.all("x-amz-content-sha256").first().copied().unwrap_or_default().to_owned();
        let data = match payload.as_str() {
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
                if is("s3-chunk-signed-upload") && key.ends_with("/chunks.bin") =>
            {
                return error("501 Not Implemented", "NotImplemented");
            }
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" if is("s3-unsigned-trailer") => {
                return error("400 Bad Request", "InvalidRequest");
            }
            payload if payload.starts_with("STREAMING-") => {
                let (data, checksum) = decoded(&request.body);
                let actual = BASE64_STANDARD.encode(crc32fast::hash(&data).to_be_bytes());
                if checksum != actual && !is("s3-corrupt-chunk") {
                    return error("400 Bad Request", "BadDigest");
                }
                data
            }
            _ => request.body.clone(),
        };
        self.objects.insert(key, Object { data, kms });
        fine("")
    }
}

/// The data of a body in chunks, and the checksum behind them.
fn decoded(body: &[u8]) -> (Vec<u8>, String) {
    let line_at = |at: usize| {
        let end = at + body[at..].windows(2).position(|two| two == b"\r\n").unwrap();
        (String::from_utf8(body[at..end].to_vec()).unwrap(), end + 2)
    };
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let (line, next) = line_at(at);
        let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        at = next;
        if size == 0 {
            let (trailer, _) = line_at(at);
            return (data, trailer.strip_prefix("x-amz-checksum-crc32:").unwrap().to_owned());
        }
        data.extend_from_slice(&body[at..at + size]);
        at += size + 2;
    }
}
