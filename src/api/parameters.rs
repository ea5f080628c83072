//! The Parameter Store: everything below a path, in as many pages as it takes; or one value.

use actix_web::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::ApiError;
use super::json::{self, JsonCall};
use super::transport::Transport;
use crate::aws::credentials::CurrentCredentials;
use crate::http::client::Endpoint;

/// A path with more pages, of ten parameters each, holds no configuration.
const PAGE_LIMIT: usize = 50;

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SsmParameter {
    /// Its whole name.
    pub name: String,
    /// Its value, decrypted.
    pub value: String,
    /// Its type: `String`, `StringList` or `SecureString`.
    #[serde(default, rename = "Type")]
    pub kind: String,
}

impl SsmParameter {
    /// Returns true if the value is several texts with commas between them.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.kind == "StringList"
    }
}

/// The reason why the parameters are not known.
#[derive(Debug, thiserror::Error)]
pub enum ParametersError {
    /// The service did not answer.
    #[error("the Parameter Store did not answer")]
    Unanswered(#[from] ApiError),
    /// AWS answered with an error.
    #[error(
        "the Parameter Store answered {status} ({code}); `ssm:{operation}` on `parameter{path}` is needed, and `kms:Decrypt` if a key of your own encrypts one"
    )]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// AWS's name for the error.
        code: String,
        /// The operation.
        operation: &'static str,
        /// The path of the parameters.
        path: String,
    },
    /// The response is invalid.
    #[error("the Parameter Store's response is invalid")]
    Unreadable,
    /// There are too many parameters.
    #[error("there are more than 500 parameters below `{0}`")]
    TooMany(String),
}

/// Reads all parameters below `path`.
///
/// # Errors
/// [`ParametersError`].
pub async fn below(
    path: &str,
    transport: &Transport,
    (endpoint, region): (&Endpoint, &str),
    credentials: &CurrentCredentials,
) -> Result<Vec<SsmParameter>, ParametersError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct ParametersPage {
        parameters: Vec<SsmParameter>,
        next_token: Option<String>,
    }
    let mut all = Vec::new();
    let mut next: Option<String> = None;
    for _ in 0..PAGE_LIMIT {
        let mut input = json!({"Path": path, "Recursive": true, "WithDecryption": true});
        if let Some(next) = next {
            input["NextToken"] = next.into();
        }
        let call = (path, "GetParametersByPath", &input);
        let page: ParametersPage = ask(call, transport, (endpoint, region), credentials).await?;
        all.extend(page.parameters);
        match page.next_token {
            Some(token) if !token.is_empty() => next = Some(token),
            _ => return Ok(all),
        }
    }
    Err(ParametersError::TooMany(path.to_owned()))
}

/// The Parameter Store of a region, for `deploy`.
#[cfg(feature = "deploy")]
pub struct ParameterStore<'a> {
    /// The transport to it.
    pub transport: &'a Transport,
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// The region in signatures.
    pub region: &'a str,
    /// The credentials with which calls are signed.
    pub credentials: &'a CurrentCredentials,
}

#[cfg(feature = "deploy")]
impl ParameterStore<'_> {
    /// The value of a parameter; nothing if there is none. It is asked with the action that CloudFormation uses in the
    /// name of the identity that deploys, so that no other permission is needed.
    ///
    /// # Errors
    /// [`ParametersError`].
    pub async fn value(&self, name: &str) -> Result<Option<String>, ParametersError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Found {
            parameters: Vec<SsmParameter>,
        }
        let call = (name, "GetParameters", &json!({ "Names": [name] }));
        let found: Found = ask(call, self.transport, (&self.endpoint, self.region), self.credentials).await?;
        Ok(found.parameters.into_iter().next().map(|parameter| parameter.value))
    }
}

async fn ask<T: DeserializeOwned>(
    (path, operation, input): (&str, &'static str, &Value),
    transport: &Transport,
    (endpoint, region): (&Endpoint, &str),
    credentials: &CurrentCredentials,
) -> Result<T, ParametersError> {
    let action = format!("AmazonSSM.{operation}");
    let call = JsonCall { endpoint, region, service: "ssm", operation: &action, input };
    let (status, answer) = json::send(call, transport, credentials).await?;
    if status != StatusCode::OK {
        let code = json::error_code(&answer);
        return Err(ParametersError::Refused { status, code, operation, path: path.to_owned() });
    }
    serde_json::from_slice(&answer).map_err(|_| ParametersError::Unreadable)
}
