//! Reads STS's response to `GetCallerIdentity`.
//!
//! SECURITY: the message of an error of STS repeats the request with its session token, so only the code leaves this file.

use actix_web::http::StatusCode;

use super::query::xml;

/// The response of STS to a presigned request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityResponse {
    /// The identity that signed the request.
    Identity {
        /// Its ARN.
        arn: String,
        /// Its account.
        account: String,
    },
    /// The request is not valid, and the same request will never be.
    Rejected {
        /// AWS's code for the error.
        code: String,
        /// An explanation.
        reason: &'static str,
    },
    /// STS cannot answer at the moment, or the response is not one of STS.
    Unavailable(String),
}

impl IdentityResponse {
    /// Reads a response.
    #[must_use]
    pub fn read(status: StatusCode, body: &[u8]) -> Self {
        let document = xml(body);
        if status == StatusCode::OK {
            return match (document.text_of("Arn"), document.text_of("Account")) {
                (Some(arn), Some(account)) => Self::Identity { arn, account },
                _ => Self::Unavailable("the response is not one of STS".to_owned()),
            };
        }
        let is_word =
            |code: &String| (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let Some(code) = document.text_of("Code").filter(is_word) else {
            return Self::Unavailable(format!("the response has the status {status} and no error code of STS"));
        };
        let is_temporary = !status.is_client_error() || status == StatusCode::TOO_MANY_REQUESTS;
        if is_temporary || code.starts_with("Throttling") || code == "RequestLimitExceeded" {
            return Self::Unavailable(format!("STS answered {status} ({code})"));
        }
        let reason = match code.as_str() {
            "SignatureDoesNotMatch" => {
                "the signature is wrong, was made for another audience, or is older than AWS accepts"
            }
            "InvalidClientTokenId" => "AWS does not know the access key, or the session token is wrong",
            "ExpiredToken" | "ExpiredTokenException" => "the AWS credentials that signed it have expired",
            "RequestExpired" => "the signature is older than AWS accepts",
            "RegionDisabledException" => "STS is not active in this region for the account",
            _ => "AWS gives no other reason",
        };
        Self::Rejected { code, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, code: &str) -> IdentityResponse {
        let body = format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>The Canonical String should have been 'X-Amz-Security-Token=SECRET'</Message></Error></ErrorResponse>"
        );
        IdentityResponse::read(StatusCode::from_u16(status).expect("a status"), body.as_bytes())
    }

    #[test]
    fn an_identity_is_read_from_xml() {
        let body = b"<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
            <Arn>arn:aws:sts::123456789012:assumed-role/ml/x</Arn><UserId>AROA:x</UserId><Account>123456789012</Account>\
            </GetCallerIdentityResult></GetCallerIdentityResponse>";
        let expected = IdentityResponse::Identity {
            arn: "arn:aws:sts::123456789012:assumed-role/ml/x".to_owned(),
            account: "123456789012".to_owned(),
        };
        assert_eq!(IdentityResponse::read(StatusCode::OK, body), expected);
        for body in ["", "<html>", "<Arn>arn</Arn>", "{}"] {
            let read = IdentityResponse::read(StatusCode::OK, body.as_bytes());
            assert!(matches!(read, IdentityResponse::Unavailable(_)), "{body}");
        }
    }

    #[test]
    fn rejections_differ_from_outages_and_repeat_nothing() {
        for (status, code, is_rejected) in [
            (403, "SignatureDoesNotMatch", true),
            (403, "InvalidClientTokenId", true),
            (403, "ExpiredToken", true),
            (403, "RegionDisabledException", true),
            (400, "IncompleteSignature", true),
            (400, "Throttling", false),
            (429, "RequestLimitExceeded", false),
            (500, "InternalFailure", false),
            (503, "ServiceUnavailable", false),
            (302, "Found", false),
            (403, "no word <script>", false),
        ] {
            let read = error(status, code);
            assert_eq!(matches!(read, IdentityResponse::Rejected { .. }), is_rejected, "{status} {code}");
            assert!(!format!("{read:?}").contains("SECRET"), "{read:?}");
        }
        let proxy = IdentityResponse::read(StatusCode::FORBIDDEN, b"<html>blocked by the proxy</html>");
        assert!(matches!(proxy, IdentityResponse::Unavailable(_)));
    }
}
