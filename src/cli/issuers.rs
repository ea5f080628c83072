//! The settings of trusted issuers, and of the callers who bring their JWTs.

use super::options::{CallerTable, IssuerTable, RawValue, ServeOptions, similar};
use super::problems::{Problems, Reported};
use super::rights::rights;
use super::sign_on;
use crate::access::caller::is_target_name;
use crate::access::jwt::{ClaimGrant, ClaimPath, ClaimPattern, JwtAlgorithm, JwtIssuer, NameTemplate};
use crate::issuer::{KeySource, Location, TrustedIssuer, read_keys};
use crate::serve::IssuerSettings;

/// The longest tolerated difference between clocks. Seconds.
const LEEWAY_LIMIT_S: u64 = 300;
const HINT_URL: &str = "write the issuer exactly as in the claim `iss` of its tokens, as in `https://gitlab.com`";
const HINT_CLAIM: &str = "write `claim = \"repository=corp/ml-*\"`, or a list of several that all have to match";
/// The issuers from which anybody in the world can obtain a token for any audience or account.
const PUBLIC_ISSUERS: [&str; 3] =
    ["https://token.actions.githubusercontent.com", "https://gitlab.com", "https://accounts.google.com"];

/// The settings of all issuers. `region` is the region of secrets that are named without one.
pub(super) fn resolve(
    all: &ServeOptions,
    region: &str,
    problems: &mut Problems,
) -> Result<Vec<IssuerSettings>, Reported> {
    let tables = &all.issuer_tables;
    let known: Vec<_> = tables.iter().filter_map(|table| Some(table.value("name")?.text.as_str())).collect();
    let is_known = |given: &&RawValue| known.contains(&given.text.as_str());
    let named = |table: &CallerTable| table.values.get("issuer").cloned();
    for given in all.caller_tables.iter().filter_map(named).filter(|given| !is_known(&given)) {
        let hint = match similar(&given.text, known.iter().map(|name| (*name).to_owned())) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "write an `[[issuer]]` with this `name`".to_owned(),
        };
        problems.add(&given.origin, format!("`{}`: there is no such issuer", given.text.escape_debug()), hint);
    }
    let mut settings: Vec<IssuerSettings> = Vec::new();
    for table in tables {
        let trusted = trusted(table, problems);
        let name = table.value("name").map(|given| &given.text);
        let is_own = |caller: &&CallerTable| named(caller).is_some_and(|given| Some(&given.text) == name);
        let own: Vec<_> = all.caller_tables.iter().filter(is_own).collect();
        let url = trusted.as_ref().map(|trusted| trusted.issuer.url.clone()).unwrap_or_default();
        let grants: Vec<_> = own.iter().filter_map(|caller| grant(caller, &url, problems)).collect();
        let sign_on = sign_on::resolve(table, region, problems);
        let (Some(trusted), Ok(sign_on)) = (trusted, sign_on) else { continue };
        if own.is_empty() {
            let text = "the tokens of this issuer grant nothing";
            let hint =
                format!("add a `[[caller]]` with `issuer = \"{}\"`, a `claim` and a `role`", trusted.issuer.name);
            problems.add(&table.origin, text, hint);
        }
        let is_same = |other: &IssuerSettings| {
            let JwtIssuer { name, url, .. } = &other.trusted.issuer;
            *name == trusted.issuer.name || *url == trusted.issuer.url
        };
        if settings.iter().any(is_same) {
            problems.add(
                &table.origin,
                "another issuer has the same `name` or `url`",
                "merge the tables, or remove one",
            );
        }
        settings.push(IssuerSettings { trusted, grants, sign_on });
    }
    if settings.len() == tables.len() { Ok(settings) } else { Err(Reported) }
}

/// One issuer; none after adding a problem.
fn trusted(table: &IssuerTable, problems: &mut Problems) -> Option<TrustedIssuer> {
    check_required(table, problems);
    let name = problems.read(table.value("name"), "choose a name like `github`", |text| {
        if is_target_name(text) {
            Ok(text.to_owned())
        } else {
            Err("a name has up to 63 of `a-z`, `0-9` and `-`".to_owned())
        }
    });
    let is_fetched = table.value("keys-url").is_none() && table.value("keys-file").is_none();
    let url = problems.read(table.value("url"), HINT_URL, |text| match Location::parse(text) {
        Ok(location) => Ok((text.to_owned(), Some(location))),
        // Without discovery, the URL is only compared with `iss`.
        Err(_) if !is_fetched && !text.is_empty() => Ok((text.to_owned(), None)),
        Err(why) => Err(why.to_owned()),
    });
    let audiences = each(table, "audience", "write the `aud` of tokens for this appliance", problems, |text| {
        if text.is_empty() { Err("the audience is empty".to_owned()) } else { Ok(text.to_owned()) }
    });
    let hint = "leave it out for RS256, PS256, ES256 and EdDSA";
    let parse = |text: &str| text.parse::<JwtAlgorithm>().map_err(|error| error.to_string());
    let algorithms = each(table, "algorithms", hint, problems, parse);
    let leeway = problems.duration(table.value("leeway"), 60);
    if leeway.as_secs() > LEEWAY_LIMIT_S {
        let given = table.value("leeway")?;
        let hint = "synchronise the clocks, and write up to `5m`";
        problems.add(&given.origin, "the leeway is longer than 5 minutes", hint);
    }
    let claim = |text: &str| ClaimPath::parse(text).map_err(ToOwned::to_owned);
    let name_claim = problems.read(table.value("name-claim"), "write the name of a claim, as in `email`", claim);
    let name_claim = name_claim.or_else(|| ClaimPath::parse("sub").ok());
    let (url, location) = url?;
    let issuer = JwtIssuer {
        name: name?.into(),
        url,
        audiences,
        audience_claim: table.value("audience-claim").map_or("aud", |given| &given.text).to_owned(),
        algorithms: if algorithms.is_empty() { JwtAlgorithm::DEFAULT.to_vec() } else { algorithms },
        leeway,
        name_claim: name_claim?,
    };
    let trusted = TrustedIssuer { issuer, keys: keys(table, location, problems)? };
    if let (KeySource::File(path), Some(given)) = (&trusted.keys, table.value("keys-file"))
        && let Err(error) = read_keys(path, &trusted)
    {
        let hint = "save the issuer's key set there, as with `kubectl get --raw /openid/v1/jwks`";
        problems.add_local(&given.origin, error.to_string(), hint);
    }
    Some(trusted)
}

/// Adds a problem for each required key that is missing.
fn check_required(table: &IssuerTable, problems: &mut Problems) {
    let mut required = |key: &str, hint: &str| {
        if table.value(key).is_none() && table.list(key).is_empty() {
            problems.add(&table.origin, format!("an `[[issuer]]` needs `{key}`"), hint);
        }
    };
    required("name", "choose a short name for logs and for `[[caller]]`, as in `github`");
    required("url", HINT_URL);
    // SECURITY: without it, a token that was made for any other service would be accepted here.
    // People who sign in send no bearer token, and without an audience the issuer's bearer tokens are rejected.
    if table.value("client-id").is_none() {
        let hint = "choose a text that means this appliance, such as its URL, and let tokens be issued for it";
        required("audience", hint);
    }
}

/// The values of a list, without those that are not valid.
fn each<T>(
    table: &IssuerTable,
    key: &str,
    hint: &str,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    table.list(key).iter().filter_map(|given| problems.read(Some(given), hint, &parse)).collect()
}

/// The source of the keys; `discovery` is the location by the issuer's URL.
fn keys(table: &IssuerTable, discovery: Option<Location>, problems: &mut Problems) -> Option<KeySource> {
    match (table.value("keys-url"), table.value("keys-file")) {
        (None, None) => discovery.map(KeySource::Discovery),
        (Some(given), None) => {
            let parse = |text: &str| Location::parse(text).map_err(ToOwned::to_owned);
            problems.read(Some(given), "write `https://host/path`", parse).map(KeySource::Address)
        }
        (None, Some(given)) => problems.file(given, "name a file with a JSON Web Key Set").map(KeySource::File),
        (Some(_), Some(given)) => {
            problems.add(&given.origin, "the keys have two sources", "remove `keys-url` or `keys-file`");
            None
        }
    }
}

/// The grant of one `[[caller]]` with an `issuer`; none after adding a problem.
fn grant(table: &CallerTable, url: &str, problems: &mut Problems) -> Option<ClaimGrant> {
    for (key, other) in [("certificate", "a certificate"), ("principal", "an AWS principal")] {
        if let Some(given) = table.values.get(key) {
            let text = format!("a `[[caller]]` is for {other} or for an issuer's tokens");
            problems.add(&given.origin, text, "write two tables");
        }
    }
    let given = table.claims();
    let mut claims = Vec::new();
    for one in given.iter().filter(|given| given.text != "*") {
        claims.push(problems.read(Some(one), HINT_CLAIM, |text| ClaimPattern::parse(text).map_err(ToOwned::to_owned)));
    }
    if given.is_empty() {
        problems.add(&table.origin, "a `[[caller]]` with an `issuer` needs a `claim`", HINT_CLAIM);
    }
    // SECURITY: every workflow on GitHub can obtain a token with any audience.
    if PUBLIC_ISSUERS.contains(&url) && !given.is_empty() && claims.iter().flatten().all(ClaimPattern::is_for_any) {
        let text = format!("anybody can obtain a token of `{url}`, and this grant is for all of them");
        problems.add(
            &table.origin,
            text,
            "add a `claim` that only your own tokens have, such as the owner of a repository",
        );
    }
    let hint = "write a plain name, or one with claims as in `gha-{repository}`";
    let name = table.values.get("name");
    let template = problems.read(name, hint, |text| NameTemplate::parse(text).map_err(ToOwned::to_owned));
    let (role, targets) = rights(table, problems)?;
    let is_complete = template.is_some() == name.is_some() && !given.is_empty();
    let claims = claims.into_iter().collect::<Option<Vec<_>>>().filter(|_| is_complete)?;
    Some(ClaimGrant { claims, name: template, role, targets })
}
