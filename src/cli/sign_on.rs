//! The settings of people who sign in at an identity provider with their browser.

use url::{Host, Url};

use super::options::{IssuerTable, RawValue};
use super::problems::{Problems, Reported};
use super::secrets;
use crate::access::openid::OpenIdClient;
use crate::probe::Finding;
use crate::serve::{self, AllowedHosts, ClientSecretSource, ServeSettings, SignOnSettings};

/// The keys that have no effect without `client-id`.
const OTHERS: [&str; 4] = ["client-secret", "label", "redirect-url", "scopes"];
const DEFAULT_SCOPES: &str = "openid profile email";
/// The longest label of a button. Characters.
const LABEL_LIMIT: usize = 60;

/// The client that the appliance is at this issuer; none if people do not sign in there.
pub(super) fn resolve(
    table: &IssuerTable,
    region: &str,
    problems: &mut Problems,
) -> Result<Option<SignOnSettings>, Reported> {
    let Some(id) = table.value("client-id") else {
        for given in OTHERS.iter().filter_map(|key| table.value(key)) {
            let hint = "set `client-id` to the client of the appliance at the identity provider, or remove this";
            problems.add(&given.origin, "this has no effect without `client-id`", hint);
        }
        return Ok(None);
    };
    for given in ["keys-url", "keys-file"].iter().filter_map(|key| table.value(key)) {
        let what = "people cannot sign in without the issuer's discovery document, which this replaces";
        problems.add(&given.origin, what, "remove it, or remove `client-id`");
    }
    let id = problems.read(Some(id), "copy the client id from the identity provider", |text| {
        let is_valid = !text.is_empty() && text.len() <= 512 && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_valid { Ok(text.to_owned()) } else { Err("not a client id".to_owned()) }
    });
    let secret = table.value("client-secret").map(|given| secret(given, region, problems)).transpose();
    let redirect_url = problems.read(table.value("redirect-url"), &hint_redirect(), redirect_url);
    let label = problems.read(table.value("label"), "write a short name, as in `Okta`", |text| {
        let is_valid = (1..=LABEL_LIMIT).contains(&text.chars().count()) && !text.contains(char::is_control);
        if is_valid { Ok(text.to_owned()) } else { Err(format!("a label has 1 to {LABEL_LIMIT} characters")) }
    });
    let name = table.value("name").map(|given| given.text.clone()).unwrap_or_default();
    let scopes = problems.read(table.value("scopes"), "write words with spaces between, as in `openid groups`", scopes);
    let client = OpenIdClient {
        id: id.ok_or(Reported)?,
        scopes: scopes.unwrap_or_else(|| DEFAULT_SCOPES.to_owned()),
        label: label.unwrap_or(name),
        redirect_url,
    };
    Ok(Some(SignOnSettings { client, secret: secret? }))
}

/// The findings about sign-ins: the addresses to register at each identity provider.
pub(super) fn findings(settings: &ServeSettings) -> Vec<Finding> {
    let roots = match &settings.allowed_hosts {
        AllowedHosts::Listed(names) if !names.is_empty() => {
            names.iter().map(|name| format!("https://{name}")).collect()
        }
        _ if settings.listen.ip().is_loopback() => vec![format!("http://localhost:{}", settings.listen.port())],
        _ => vec!["https://<the name of this appliance>".to_owned()],
    };
    let offered = settings.callers.issuers.iter().filter_map(|issuer| {
        let client = &issuer.sign_on.as_ref()?.client;
        let configured = client.redirect_url.as_deref().and_then(|url| url.strip_suffix(serve::CALLBACK));
        let roots = configured.map_or_else(|| roots.clone(), |root| vec![root.to_owned()]);
        let all = |path: &str| roots.iter().map(|root| format!("{root}{path}")).collect::<Vec<_>>().join(" or ");
        let text = format!(
            "people sign in with {}; register the redirect URI {}, and for the sign-out {}",
            client.label,
            all(serve::CALLBACK),
            all(serve::SIGNED_OUT)
        );
        Some(Finding::ok("sign-in", &issuer.trusted.issuer.name, text))
    });
    offered.collect()
}

/// The source of the client's secret.
///
/// SECURITY: a value that is not a path may be the secret itself, so no message repeats it.
fn secret(given: &RawValue, region: &str, problems: &mut Problems) -> Result<ClientSecretSource, Reported> {
    if let Some(stored) = secrets::stored(given, region, problems)? {
        return Ok(ClientSecretSource::Stored(stored));
    }
    let hint = "write the secret to a file that only the appliance can read, or store it in AWS, and name the file or \
                `secretsmanager:` with the secret's name here";
    if !given.text.starts_with('/') && !given.text.starts_with("credential:") {
        let what = "this is no absolute path, and does not begin with `credential:`, `ssm:` or `secretsmanager:`; the secret itself does not belong into this file";
        problems.add(&given.origin, what, hint);
        return Err(Reported);
    }
    let path = problems.file(given, hint).ok_or(Reported)?;
    match serve::read_client_secret(&path) {
        Ok(_) => Ok(ClientSecretSource::File(path)),
        Err(what) => {
            problems.add_local(&given.origin, what, hint);
            Err(Reported)
        }
    }
}

fn hint_redirect() -> String {
    format!("write `https://`, the name of this appliance, and `{}`", serve::CALLBACK)
}

/// An address of the page to which the provider returns the browser.
fn redirect_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL ({error})"))?;
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    // SECURITY: the code would travel in clear text.
    if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
        return Err("plain http is allowed to this machine only".into());
    }
    let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !url.path().ends_with(serve::CALLBACK) || !is_plain || url.password().is_some() {
        return Err(format!("the URL must end with `{}`", serve::CALLBACK));
    }
    Ok(url.into())
}

/// The scopes to ask for, `openid` among them.
fn scopes(text: &str) -> Result<String, String> {
    // RFC 6749, 3.3.
    let is_scope = |word: &&str| word.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
    let mut words: Vec<&str> = text.split_whitespace().collect();
    if !words.iter().all(is_scope) || text.len() > 1024 {
        return Err("not a list of scopes".into());
    }
    if !words.contains(&"openid") {
        words.insert(0, "openid");
    }
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_url_is_the_callback_of_an_appliance() {
        for text in [
            "https://mlflow.corp/_appliance/oidc/callback",
            "https://corp:8443/mlflow/_appliance/oidc/callback",
            "http://localhost:5000/_appliance/oidc/callback",
            "http://127.0.0.1:5000/_appliance/oidc/callback",
        ] {
            assert_eq!(redirect_url(text), Ok(text.to_owned()));
        }
        for text in [
            "",
            "mlflow.corp",
            "http://mlflow.corp/_appliance/oidc/callback",
            "https://mlflow.corp/",
            "https://mlflow.corp/_appliance/oidc/callback?x",
            "https://mlflow.corp/_appliance/oidc/callback#x",
            "https://user@mlflow.corp/_appliance/oidc/callback",
            "javascript:/_appliance/oidc/callback",
        ] {
            assert!(redirect_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn scopes_include_openid() {
        assert_eq!(scopes("groups  email").as_deref(), Ok("openid groups email"));
        assert_eq!(scopes("email openid").as_deref(), Ok("email openid"));
        assert_eq!(scopes("").as_deref(), Ok("openid"));
        for text in ["a\"b", "ü", "a\\b"] {
            assert!(scopes(text).is_err(), "{text}");
        }
    }
}
