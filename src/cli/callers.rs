//! The options that say who is let in, and to what.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::options::{CallerOptions, ServeOptions};
use super::problems::Problems;
use super::settings::place;
use super::targets::ParsedTarget;
use super::values;
use crate::access::address::Networks;
use crate::access::caller::{self, Grant, NotARole, Role, Subject, Targets};
use crate::access::limits::Limits;
use crate::access::oidc::Expected;
use crate::access::policy::{Denial, Policy};
use crate::access::session::Sessions;
use crate::aws::secret::Secret;
use crate::http::client::Endpoint;
use crate::serve::{self, CallerSettings, OidcSettings, TokenSecret, TokenSettings, TokenSource};

const FIX_ROLE: &str = "write `read`, `write` or `admin`";
const FIX_NETWORKS: &str = "write networks like `10.0.0.0/8,192.0.2.1`";
/// As long as the hash that it is used with.
const SESSION_KEY_LENGTH: usize = 32;

/// Who is let in; nothing after noting a problem with it.
///
/// `region` is where AWS keeps what is named without one.
pub(super) fn resolve(
    options: &ServeOptions,
    listen: SocketAddr,
    region: &str,
    problems: &mut Problems,
) -> Option<CallerSettings> {
    let role = |text: &str| text.parse::<Role>().map_err(|error: NotARole| error.to_string());
    let tokens = tokens(options, region, problems);
    let oidc = oidc(options, problems);
    let grants = options.callers.iter().filter_map(|caller| grant(caller, problems)).collect::<Vec<_>>();
    let anonymous_role = problems.read(options.anonymous_role.as_ref(), FIX_ROLE, role).unwrap_or(Role::Admin);
    let knows_callers = options.tokens.is_some() || options.oidc_signer.is_some() || options.tls_client_ca.is_some();
    let is_open = listen.ip().is_loopback() && !knows_callers;
    let anonymous = problems.switch(options.allow_anonymous.as_ref(), is_open);
    if !anonymous && !knows_callers {
        // SECURITY: every caller acts with the appliance's rights; opening that to a network must be said.
        problems.add(
            &place(options.listen.as_ref()),
            format!("`{listen}` can be reached from other machines, and callers could not be told apart"),
            "name their tokens with `--tokens`, listen on `127.0.0.1`, or say `--allow-anonymous` if something else \
             guards the port",
        );
    }
    if let Some(given) = options.anonymous_role.as_ref().filter(|_| !anonymous) {
        problems.add(
            &given.place,
            "it has no effect, because nobody is let in without proof",
            "remove it, or say `--allow-anonymous`",
        );
    }
    let for_users = |grant: &Grant| matches!(grant.to, Subject::Claim { .. } | Subject::AnyUser);
    if let Some(given) = options.oidc_signer.as_ref().filter(|_| !grants.iter().any(for_users)) {
        let what = "users can sign in at the load balancer, but nothing is granted to them";
        problems.add(
            &given.place,
            what,
            "add a `[[caller]]` with `claim = \"*\"` and a `role` to the configuration file",
        );
    }
    let networks = problems.read(options.allowed_networks.as_ref(), FIX_NETWORKS, Networks::parse);
    let trusted_proxies = problems.read(options.trusted_proxies.as_ref(), FIX_NETWORKS, Networks::parse);
    let trusted_hops = problems.count(options.trusted_hops.as_ref(), 1);
    if let (Some(given), None) = (&options.trusted_hops, &options.trusted_proxies) {
        problems.add(&given.place, "it has no effect without `trusted-proxies`", "set `trusted-proxies`, or remove it");
    }
    let policy = problems
        .read(options.deny.as_ref(), "take `resource:action` from the table in docs/reference/routes.md", |text| {
            text.split(',').map(|rule| Denial::parse(rule.trim())).collect::<Result<_, _>>()
        })
        .map(Policy)
        .unwrap_or_default();
    let limits = limits(options, problems);
    let sessions = sessions(options, problems);
    Some(CallerSettings {
        tokens: tokens.ok()?,
        grants,
        oidc: oidc.ok()?,
        anonymous: anonymous.then_some(anonymous_role),
        sessions: sessions?,
        networks,
        trusted_proxies: trusted_proxies.unwrap_or_default(),
        trusted_hops,
        policy,
        limits,
    })
}

/// Notes targets that are granted but do not exist.
pub(super) fn check_targets(callers: &CallerSettings, targets: &[ParsedTarget], problems: &mut Problems) {
    let exists = |name: &String| targets.iter().any(|target| target.name.as_deref().unwrap_or("default") == name);
    let of_grants = callers.grants.iter().map(|grant| &grant.targets);
    for names in of_grants.filter_map(|targets| if let Targets::Named(names) = targets { Some(names) } else { None }) {
        for name in names.iter().filter(|name| !exists(name)) {
            let what = format!("a `[[caller]]` is granted the target `{name}`, which there is not");
            problems.add(
                &super::settings::NO_PLACE,
                what,
                "correct the name; the only target without one is `default`",
            );
        }
    }
}

/// Noted as a problem.
struct Noted;

fn tokens(options: &ServeOptions, region: &str, problems: &mut Problems) -> Result<Option<TokenSettings>, Noted> {
    let Some(given) = &options.tokens else { return Ok(None) };
    if let Some(secret) = Secret::parse(&given.text) {
        // The SDK's own variables for other endpoints; they are read here because no SDK is used for this.
        let variable =
            format!("AWS_ENDPOINT_URL_{}", if secret.service() == "ssm" { "SSM" } else { "SECRETS_MANAGER" });
        let region = secret.region(region).to_owned();
        let endpoint = match std::env::var(&variable) {
            Ok(url) => values::endpoint(&url).map_err(|what| format!("{variable}: {what}")),
            Err(_) => Ok(Endpoint::https(secret.host(&region))),
        };
        return match endpoint {
            Ok(endpoint) => {
                let source = TokenSource::Secret(TokenSecret { secret, region, endpoint });
                Ok(Some(TokenSettings { source, initial: None }))
            }
            Err(what) => {
                problems.add(&given.place, what, "write `https://host` or `https://host:port`");
                Err(Noted)
            }
        };
    }
    let path = problems.file(given, "name a file, or add the credential to the unit").ok_or(Noted)?;
    match serve::read_tokens(&path) {
        Ok(tokens) => Ok(Some(TokenSettings { source: TokenSource::File(path), initial: Some(tokens) })),
        Err(what) => {
            let fix = "make the file with `appliance token new`, and let this user read it";
            problems.add_local(&given.place, what, fix);
            Err(Noted)
        }
    }
}

fn oidc(options: &ServeOptions, problems: &mut Problems) -> Result<Option<OidcSettings>, Noted> {
    let Some(signer) = &options.oidc_signer else {
        let idle = [&options.oidc_issuer, &options.oidc_client_id, &options.oidc_name_claim, &options.oidc_keys_url];
        for given in idle.into_iter().flatten() {
            let what = "it has no effect, because no load balancer is believed";
            problems.add(&given.place, what, "set `oidc-signer` to the ARN of the load balancer, or remove it");
        }
        return Ok(None);
    };
    let region = problems.read(Some(signer), "copy the ARN of the load balancer from the EC2 console", |text| {
        let fields: Vec<&str> = text.split(':').collect();
        match fields[..] {
            ["arn", _, "elasticloadbalancing", region, account, resource]
                if !account.is_empty()
                    && resource.starts_with("loadbalancer/app/")
                    && !region.is_empty()
                    && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') =>
            {
                Ok(region.to_owned())
            }
            _ => Err("this is no ARN of an Application Load Balancer".to_owned()),
        }
    });
    let Some(issuer) = &options.oidc_issuer else {
        problems.add(&signer.place, "the identity provider is not named", "set `oidc-issuer` to its issuer URL");
        return Err(Noted);
    };
    let keys = match &options.oidc_keys_url {
        None => region.as_deref().map(published_keys),
        Some(given) => problems
            .read(Some(given), "write `https://host`, `https://host:port`", values::endpoint)
            .map(|endpoint| (endpoint, "/".to_owned())),
    };
    region.ok_or(Noted)?;
    let text = |given: &Option<super::options::Given>| given.as_ref().map(|given| given.text.clone());
    Ok(Some(OidcSettings {
        expected: Expected {
            signer: signer.text.clone(),
            issuer: issuer.text.clone(),
            client: text(&options.oidc_client_id),
        },
        name_claim: text(&options.oidc_name_claim).unwrap_or_else(|| "sub".to_owned()),
        keys: keys.ok_or(Noted)?,
    }))
}

/// Where AWS publishes the keys of a region's load balancers
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html>).
fn published_keys(region: &str) -> (Endpoint, String) {
    if region.starts_with("us-gov-") {
        let path = format!("/aws-elb-public-keys-prod-{region}/");
        return (Endpoint::https(format!("s3-{region}.amazonaws.com")), path);
    }
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    (Endpoint::https(format!("public-keys.auth.elb.{region}.{suffix}")), "/".to_owned())
}

fn grant(options: &CallerOptions, problems: &mut Problems) -> Option<Grant> {
    let value = |key: &str| options.values.get(key);
    let certificate = problems.read(value("certificate"), "write a name like `uri:spiffe://corp/ci`", |text| {
        let kinds = ["uri:", "dns:", "email:", "subject:"];
        let is_name = kinds.iter().any(|kind| text.strip_prefix(kind).is_some_and(|name| !name.is_empty()));
        if is_name { Ok(Subject::Certificate(text.to_owned())) } else { Err("this names no certificate".to_owned()) }
    });
    let claim =
        problems.read(value("claim"), "write `claim = \"groups=mlflow\"`, or `\"*\"` for any user", |text| match text
            .split_once('=')
        {
            _ if text == "*" => Ok(Subject::AnyUser),
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Subject::Claim { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("this is no claim".to_owned()),
        });
    let name = problems.read(value("name"), "choose a plainer name", |text| {
        caller::check_name(text).map(|()| text.to_owned()).map_err(ToOwned::to_owned)
    });
    let role = problems.read(value("role"), FIX_ROLE, |text| text.parse().map_err(|error: NotARole| error.to_string()));
    let targets = problems.read(value("targets"), "write names of targets, separated by commas", values::target_names);
    let to = match (value("certificate"), value("claim")) {
        (Some(_), None) => certificate,
        (None, Some(_)) => claim,
        _ => {
            let what = "a `[[caller]]` needs either `certificate` or `claim`";
            problems.add(&options.place, what, "say whom it is for");
            None
        }
    };
    if value("role").is_none() {
        problems.add(&options.place, "a `[[caller]]` needs a `role`", FIX_ROLE);
    }
    Some(Grant { to: to?, name, role: role?, targets: targets.map_or(Targets::All, Targets::Named) })
}

fn limits(options: &ServeOptions, problems: &mut Problems) -> Limits {
    let number = |text: &str| text.parse::<NonZeroU32>().map_err(|_| "not a whole number from 1".to_owned());
    let fix = "write a whole number from 1";
    let rate = problems.read(options.caller_rate_limit.as_ref(), fix, number);
    let burst = problems.read(options.caller_burst_limit.as_ref(), fix, number);
    let concurrency = problems.read(options.caller_concurrency_limit.as_ref(), fix, number);
    if let (Some(given), None) = (&options.caller_burst_limit, &options.caller_rate_limit) {
        problems.add(&given.place, "it has no effect without a rate", "set `caller-rate-limit`, or remove it");
    }
    Limits {
        rate: rate.map(|rate| (rate, burst.unwrap_or(rate.saturating_add(rate.get())))),
        concurrency: concurrency.unwrap_or(Limits::default().concurrency),
    }
}

fn sessions(options: &ServeOptions, problems: &mut Problems) -> Option<Sessions> {
    let lifetime = problems.duration(options.session_lifetime.as_ref(), 12 * 3600);
    let key = match &options.session_key {
        None => {
            let key = super::random::<SESSION_KEY_LENGTH>();
            if key.is_none() {
                problems.add(
                    &super::settings::NO_PLACE,
                    "the operating system gave no random numbers",
                    "start it later",
                );
            }
            key?.to_vec()
        }
        Some(given) => {
            let path = problems.file(given, "name a file, or add the credential to the unit")?;
            let key = std::fs::read(path).map_err(|error| error.to_string());
            let key = key.and_then(|key| {
                if key.len() < SESSION_KEY_LENGTH { Err(format!("it has only {} bytes", key.len())) } else { Ok(key) }
            });
            match key {
                Ok(key) => key,
                Err(error) => {
                    let what = format!("`{}`: {error}", given.text.escape_debug());
                    problems.add_local(&given.place, what, "make it with `head -c 32 /dev/urandom > FILE`");
                    return None;
                }
            }
        }
    };
    Some(Sessions::new(&key, lifetime))
}
