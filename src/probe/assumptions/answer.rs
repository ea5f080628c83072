//! An answer of AWS, and the way in which it rejects a request.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use bytes::Bytes;
use serde_json::Value;

use crate::aws::s3;

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct ProofAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl ProofAnswer {
    /// The body as JSON; null if it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header as text; empty if there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// MLflow's name for an error; nothing if MLflow did not answer.
    pub(super) fn mlflow_code(&self) -> Option<String> {
        self.json()["error_code"].as_str().map(ToOwned::to_owned)
    }

    /// AWS's or MLflow's name for the error; empty if there is none.
    fn code(&self) -> String {
        let in_header = self.header("x-amzn-errortype").split(':').next().unwrap_or_default();
        if !in_header.is_empty() {
            return in_header.to_owned();
        }
        let json = self.json();
        let in_json = json["__type"].as_str().and_then(|code| code.rsplit('#').next()).map(ToOwned::to_owned);
        let in_xml = || s3::error_code(&String::from_utf8_lossy(&self.body));
        in_json.or_else(|| self.mlflow_code()).or_else(in_xml).unwrap_or_default()
    }

    /// True if AWS rejects the signature, and not the identity.
    pub(super) fn rejects_signature(&self) -> bool {
        let json = self.json();
        let message = ["message", "Message"].into_iter().find_map(|key| json[key].as_str()).unwrap_or_default();
        let text = format!("{} {message}", self.code()).to_lowercase();
        self.status.is_client_error() && (text.contains("signature") || text.contains("sha256"))
    }

    /// True if AWS does not let this identity do it.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) && !self.rejects_signature()
    }

    /// Status, name and message, for the report.
    pub(super) fn said(&self) -> String {
        let json = self.json();
        let message = ["message", "Message"].into_iter().find_map(|key| json[key].as_str());
        let mut text = self.status.as_u16().to_string();
        let code = self.code();
        if !code.is_empty() {
            text = format!("{text} {code}");
        }
        if let Some(message) = message.filter(|_| !self.status.is_success()) {
            // AWS repeats the whole request below the first lines.
            let short: String = message.chars().take(160).collect();
            text = format!("{text}: {short}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn answer(status: u16, kind: &str, body: &'static str) -> ProofAnswer {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(HeaderName::from_static("x-amzn-errortype"), HeaderValue::try_from(kind).expect(kind));
        }
        ProofAnswer { status: StatusCode::from_u16(status).expect("a status"), headers, body: body.into() }
    }

    #[test]
    fn a_rejected_signature_is_told_from_a_denied_identity() {
        for (status, kind, body, is_signature, is_denied) in [
            (403, "InvalidSignatureException:http://x", "{}", true, false),
            (403, "", "{\"message\": \"The request signature we calculated does not match\"}", true, false),
            (400, "XAmzContentSHA256Mismatch", "{}", true, false),
            (403, "", "<Error><Code>SignatureDoesNotMatch</Code></Error>", true, false),
            (403, "AccessDeniedException", "{\"message\": \"not authorized\"}", false, true),
            (403, "", "{\"message\": \"Request is not authorized\"}", false, true),
            (404, "", "{\"error_code\": \"RESOURCE_DOES_NOT_EXIST\"}", false, false),
            (200, "", "{\"message\": \"signature\"}", false, false),
        ] {
            let answer = answer(status, kind, body);
            assert_eq!((answer.rejects_signature(), answer.is_denied()), (is_signature, is_denied), "{body}");
        }
        let said = answer(404, "", "{\"error_code\": \"NOT_THERE\", \"message\": \"no\"}").said();
        assert_eq!(said, "404 NOT_THERE: no");
    }
}
