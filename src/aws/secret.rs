//! Secrets in AWS's stores: the name of one, the request for it, and the response. This module is pure.
//!
//! One call of the Parameter Store and one of Secrets Manager, both in AWS's JSON 1.1 protocol: not worth two SDKs.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::regional::regional_host;

/// A secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    keeper: Keeper,
    /// A name or an ARN, as the keeper understands it.
    name: String,
    /// The region in the ARN, if it is one.
    region: Option<String>,
}

/// The service that keeps a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The Parameter Store of Systems Manager.
    ParameterStore,
    /// Secrets Manager.
    SecretsManager,
}

/// The reason why a secret was not obtained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// AWS answered with an error; the text names the permission that is needed.
    #[error("AWS answered {code}; `{action}` on `{name}` is needed, and `kms:Decrypt` if its key is your own")]
    Refused {
        /// AWS's name for the error.
        code: String,
        /// The IAM action.
        action: &'static str,
        /// The secret.
        name: String,
    },
    /// The secret holds no text.
    #[error("`{0}` holds no text")]
    NoText(String),
}

impl Secret {
    /// Reads `ssm:<name or ARN>` or `secretsmanager:<name or ARN>`; nothing if it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (keeper, name) = if let Some(name) = text.strip_prefix("ssm:") {
            (Keeper::ParameterStore, name)
        } else {
            (Keeper::SecretsManager, text.strip_prefix("secretsmanager:")?)
        };
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+=.@:!-".contains(&byte));
        let region = match name.split(':').collect::<Vec<_>>()[..] {
            ["arn", _, "ssm" | "secretsmanager", region, _, ..] => Some(region.to_owned()),
            _ => None,
        };
        (!name.is_empty() && name.len() <= 2048 && is_plain).then(|| Self { keeper, name: name.to_owned(), region })
    }

    /// The service that keeps it.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        self.keeper
    }

    /// Its name or its ARN, as the configuration has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The region in its ARN, if it is named by one.
    #[must_use]
    pub fn own_region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The region in its ARN, or the one that is usual here.
    #[must_use]
    pub fn region<'a>(&'a self, usual: &'a str) -> &'a str {
        self.region.as_deref().unwrap_or(usual)
    }

    /// The service's name in signatures and host names.
    #[must_use]
    pub fn service(&self) -> &'static str {
        match self.keeper {
            Keeper::ParameterStore => "ssm",
            Keeper::SecretsManager => "secretsmanager",
        }
    }

    /// The service's host in a region.
    #[must_use]
    pub fn host(&self, region: &str) -> String {
        regional_host(self.service(), region)
    }

    /// The operation, as in `X-Amz-Target`, and its input.
    #[must_use]
    pub fn request(&self) -> (&'static str, Value) {
        match self.keeper {
            Keeper::ParameterStore => ("AmazonSSM.GetParameter", json!({"Name": self.name, "WithDecryption": true})),
            Keeper::SecretsManager => {
                ("secretsmanager.GetSecretValue", json!({"SecretId": self.name, "VersionStage": "AWSCURRENT"}))
            }
        }
    }

    /// Reads the secret from the response.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn text(&self, is_ok: bool, answer: &[u8]) -> Result<SecretString, SecretError> {
        #[derive(Deserialize)]
        struct SecretAnswer {
            #[serde(rename = "Parameter")]
            parameter: Option<ParameterAnswer>,
            #[serde(rename = "SecretString")]
            secret: Option<SecretText>,
            #[serde(rename = "__type")]
            kind: Option<String>,
        }
        #[derive(Deserialize)]
        struct ParameterAnswer {
            #[serde(rename = "Value")]
            value: Option<SecretText>,
        }
        let answer: Option<SecretAnswer> = serde_json::from_slice(answer).ok();
        if !is_ok {
            let action = match self.keeper {
                Keeper::ParameterStore => "ssm:GetParameter",
                Keeper::SecretsManager => "secretsmanager:GetSecretValue",
            };
            let code = answer.and_then(|answer| answer.kind).unwrap_or_else(|| "an error without a name".to_owned());
            // Some services write `com.amazonaws.…#Name`.
            let code = code.rsplit('#').next().unwrap_or_default().to_owned();
            return Err(SecretError::Refused { code, action, name: self.name.clone() });
        }
        let text = answer.and_then(|answer| match self.keeper {
            Keeper::ParameterStore => answer.parameter?.value,
            Keeper::SecretsManager => answer.secret,
        });
        text.map(|SecretText(text)| text).ok_or_else(|| SecretError::NoText(self.name.clone()))
    }
}

/// A text that goes from the document into memory that is wiped.
struct SecretText(SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::parse(text).expect(text)
    }

    #[test]
    fn names_and_arns_are_understood() {
        let parameter = secret("ssm:/mlflow/tokens");
        assert_eq!((parameter.service(), parameter.region("eu-west-1")), ("ssm", "eu-west-1"));
        assert_eq!(parameter.host("eu-west-1"), "ssm.eu-west-1.amazonaws.com");
        assert_eq!(parameter.request().1, json!({"Name": "/mlflow/tokens", "WithDecryption": true}));
        let arn = "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:mlflow-AbCdEf";
        let manager = secret(&format!("secretsmanager:{arn}"));
        assert_eq!(manager.region("eu-west-1"), "cn-north-1");
        assert_eq!(manager.host("cn-north-1"), "secretsmanager.cn-north-1.amazonaws.com.cn");
        assert_eq!(
            manager.request(),
            ("secretsmanager.GetSecretValue", json!({"SecretId": arn, "VersionStage": "AWSCURRENT"}))
        );
        for text in ["", "ssm:", "ssm:a b", "vault:x", "/etc/tokens", "secretsmanager:a\"b"] {
            assert_eq!(Secret::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_response_holds_the_text_or_names_the_missing_permission() {
        let (parameter, manager) = (secret("ssm:/t"), secret("secretsmanager:t"));
        let shown = |text: Result<SecretString, SecretError>| text.map(|text| text.expose_secret().to_owned());
        assert_eq!(shown(parameter.text(true, b"{\"Parameter\":{\"Value\":\"x\"}}")).as_deref(), Ok("x"));
        assert_eq!(shown(manager.text(true, b"{\"SecretString\":\"y\"}")).as_deref(), Ok("y"));
        for answer in [&b"{}"[..], b"", b"{\"SecretBinary\":\"eA==\"}", b"[]"] {
            assert_eq!(shown(manager.text(true, answer)), Err(SecretError::NoText("t".into())));
        }
        let refused = shown(parameter.text(false, b"{\"__type\":\"com.amazonaws.ssm#AccessDeniedException\"}"));
        let said = refused.expect_err("refused").to_string();
        assert!(said.contains("AccessDeniedException") && said.contains("`ssm:GetParameter` on `/t`"), "{said}");
    }
}
