//! An overview of the ways in which callers authenticate, as configured, for the status page.

use crate::access::caller::{AuthMethod, OwnerSignIn};
use crate::access::grant::Subject;
use crate::serve::auth::settings::CallerSettings;
use crate::token_source::TokenSource;

/// The ways in which callers authenticate, and the restrictions for all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessOverview {
    /// The methods of authentication, each with a description.
    pub methods: Vec<(&'static str, String)>,
    /// True if requests must come from certain networks.
    pub has_networks: bool,
}

impl AccessOverview {
    /// Describes these settings.
    pub(crate) fn of(settings: &CallerSettings) -> Self {
        let mut methods = Vec::new();
        let mut add = |method: AuthMethod, text: String| methods.push((method.as_str(), text));
        if let Some(tokens) = &settings.tokens {
            let place = match &tokens.source {
                TokenSource::File(_) => "a file",
                TokenSource::Secret(secret) => secret.place(),
            };
            add(AuthMethod::Token, format!("access tokens in {place}, and browsers that signed in with one"));
        }
        if settings.oidc.is_some() {
            add(AuthMethod::Oidc, "users who signed in at the load balancer".to_owned());
        }
        for issuer in &settings.issuers {
            add(AuthMethod::Jwt, format!("JWTs of {}", issuer.trusted.issuer.url));
        }
        if let Some(aws) = &settings.aws {
            add(AuthMethod::Aws, format!("AWS identities, with tokens for `{}`", aws.audience));
        }
        if settings.personal.is_some() {
            add(AuthMethod::Personal(OwnerSignIn::Issuer), "personal tokens of people who signed in".to_owned());
        }
        if settings.grants.iter().any(|grant| matches!(grant.to, Subject::Certificate(_))) {
            add(AuthMethod::Certificate, "holders of client certificates".to_owned());
        }
        if let Some(role) = settings.anonymous {
            add(AuthMethod::Anonymous, format!("anybody who can connect, as {role}"));
        }
        Self { methods, has_networks: settings.networks.is_some() }
    }
}
