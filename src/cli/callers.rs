//! The settings of callers: authentication, roles, policy and limits.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::options::{CallerOptions, CallerTable, RawValue, ServeOptions, ValueOrigin, similar};
use super::problems::{Problems, Reported};
use super::rights::{HINT_ROLE, rights, role};
use super::targets::ParsedTarget;
use super::{aws_identities, issuers, oidc, personal_tokens, secrets, sessions};
use crate::access::address::Networks;
use crate::access::caller::{Role, Targets};
use crate::access::caller_name;
use crate::access::grant::{Grant, Subject};
use crate::access::limits::Limits;
use crate::access::policy::{Denial, Policy};
use crate::access::routes;
use crate::access::tokens::Tokens;
use crate::serve::{CallerSettings, LONGEST_HELP, TokenSettings};
use crate::token_source::{self, TokenSource};

const HINT_TOKENS: &str = "name a file that `appliance token new` made, and that this user may read";
const HINT_NETWORKS: &str = "write networks like `10.0.0.0/8,192.0.2.1`";

/// The settings of callers; none after adding a problem.
///
/// `region` is the region of secrets that are named without one.
pub(super) fn resolve(
    all: &ServeOptions,
    listen: SocketAddr,
    region: &str,
    problems: &mut Problems,
) -> Option<CallerSettings> {
    let options = &all.callers;
    let tokens = tokens(options, region, problems);
    let personal = personal_tokens::resolve(all, region, problems);
    let oidc = oidc::resolve(options, problems);
    let issuers = issuers::resolve(all, region, problems);
    let of_others = all.caller_tables.iter().filter(|caller| !caller.values.contains_key("issuer"));
    let grants = of_others.filter_map(|caller| grant(caller, problems)).collect::<Vec<_>>();
    let anonymous = anonymous(all, listen, problems);
    let for_users = |grant: &Grant| matches!(grant.to, Subject::Claim { .. } | Subject::AnyUser);
    if let Some(given) = options.oidc_signer.as_ref().filter(|_| !grants.iter().any(for_users)) {
        problems.add(
            &given.origin,
            "users can sign in at the load balancer, but no role is granted to them",
            "add a `[[caller]]` with `claim = \"*\"` and a `role` to the configuration file",
        );
    }
    let networks = problems.read(options.allowed_networks.as_ref(), HINT_NETWORKS, Networks::parse);
    let trusted_proxies = problems.read(options.trusted_proxies.as_ref(), HINT_NETWORKS, Networks::parse);
    let trusted_hops = problems.count(options.trusted_hops.as_ref(), 1);
    if let (Some(given), None) = (&options.trusted_hops, &options.trusted_proxies) {
        problems.add(
            &given.origin,
            "this has no effect without `trusted-proxies`",
            "set `trusted-proxies`, or remove this option",
        );
    }
    let policy = policy(options.deny.as_ref(), problems);
    let limits = limits(options, problems);
    let sessions = sessions::resolve(options, region, problems);
    let sign_in_help = sign_in_help(all, problems);
    Some(CallerSettings {
        tokens: tokens.ok()?,
        personal: personal.ok()?,
        grants,
        oidc: oidc.ok()?,
        issuers: issuers.ok()?,
        // The regions of the targets are the default, so `aws_identities` adds this.
        aws: None,
        anonymous,
        sessions: sessions.ok()?,
        sign_in_help,
        networks,
        trusted_proxies: trusted_proxies.unwrap_or_default(),
        trusted_hops,
        policy,
        limits,
    })
}

/// The deny rules.
pub(super) fn policy(deny: Option<&RawValue>, problems: &mut Problems) -> Policy {
    let known = || routes::lines().map(|line| line.route.action.to_owned());
    let rule = |rule: &str| {
        Denial::parse(rule).map_err(|what| {
            let action = rule.split('@').next().unwrap_or_default();
            let meant = similar(action, known()).filter(|known| known != action);
            let meant = meant.map(|known| format!("; did you mean `{known}`?"));
            format!("the rule `{}`: {what}{}", rule.escape_debug(), meant.unwrap_or_default())
        })
    };
    let hint = "take `resource:action` from the table that `appliance policy` prints";
    let read = problems.read(deny, hint, |text| text.split(',').map(|text| rule(text.trim())).collect());
    Policy(read.unwrap_or_default())
}

/// The role of callers without credentials; none if they are rejected.
fn anonymous(all: &ServeOptions, listen: SocketAddr, problems: &mut Problems) -> Option<Role> {
    let options = &all.callers;
    let authenticates = options.tokens.is_some()
        || options.oidc_signer.is_some()
        || options.aws_audience.is_some()
        || all.listener.tls_client_ca.is_some()
        || !all.issuer_tables.is_empty();
    let is_local = listen.ip().is_loopback();
    let is_allowed = problems.switch(options.allow_anonymous.as_ref(), is_local && !authenticates);
    // SECURITY: beyond this machine, only the operator's word makes an unauthenticated caller an administrator.
    let default = if is_local { Role::Admin } else { Role::Write };
    let granted = problems.read(options.anonymous_role.as_ref(), HINT_ROLE, role).unwrap_or(default);
    if !is_allowed && !authenticates {
        // SECURITY: every caller acts with the appliance's rights, so the operator has to allow that explicitly.
        problems.add(
            ValueOrigin::of(all.listener.listen.as_ref()),
            format!("other machines can connect to `{listen}`, and no authentication is configured"),
            "create tokens and set `--tokens`, listen on `127.0.0.1`, or set `--allow-anonymous` if something else \
             protects the port",
        );
    }
    if let Some(given) = options.anonymous_role.as_ref().filter(|_| !is_allowed) {
        problems.add(
            &given.origin,
            "this has no effect, because callers without credentials are rejected",
            "remove this option, or set `--allow-anonymous`",
        );
    }
    is_allowed.then_some(granted)
}

/// Adds a problem for each granted target that does not exist.
pub(super) fn check_targets(callers: &CallerSettings, targets: &[ParsedTarget], problems: &mut Problems) {
    let exists = |name: &String| targets.iter().any(|target| target.name.as_deref().unwrap_or("default") == name);
    let of_issuers = callers.issuers.iter().flat_map(|issuer| &issuer.grants).map(|grant| &grant.targets);
    let of_grants = callers.grants.iter().map(|grant| &grant.targets).chain(of_issuers);
    for names in of_grants.filter_map(|targets| if let Targets::Named(names) = targets { Some(names) } else { None }) {
        for name in names.iter().filter(|name| !exists(name)) {
            let text = format!("a `[[caller]]` is granted the target `{name}`, which does not exist");
            problems.add(
                &ValueOrigin::Default,
                text,
                "correct the name; a single target without a name is called `default`",
            );
        }
    }
    // Tokens change while the appliance runs, so a wrong one is no reason to stop.
    let entries = callers.tokens.iter().filter_map(|tokens| tokens.initial.as_ref()).flat_map(Tokens::entries);
    for entry in entries {
        let Targets::Named(names) = &entry.targets else { continue };
        for name in names.iter().filter(|name| !exists(name)) {
            problems.warn(
                &"tokens",
                format!(
                    "the token `{}` of `{}` is for the target `{name}`, which does not exist",
                    entry.id, entry.name
                ),
                "create a new token with the right `--targets`, and revoke this one",
            );
        }
    }
}

fn tokens(options: &CallerOptions, region: &str, problems: &mut Problems) -> Result<Option<TokenSettings>, Reported> {
    let Some(given) = &options.tokens else { return Ok(None) };
    if let Some(secret) = secrets::stored(given, region, problems)? {
        return Ok(Some(TokenSettings { source: TokenSource::Secret(secret), initial: None }));
    }
    let path = problems.file(given, "name a file, or add the credential to the systemd unit").ok_or(Reported)?;
    match token_source::read_file(&path) {
        Ok(tokens) => Ok(Some(TokenSettings { source: TokenSource::File(path), initial: Some(tokens) })),
        Err(what) => {
            problems.add_local(&given.origin, what.to_string(), HINT_TOKENS);
            Err(Reported)
        }
    }
}

fn grant(table: &CallerTable, problems: &mut Problems) -> Option<Grant> {
    let value = |key: &str| table.values.get(key);
    let certificate = problems.read(value("certificate"), "write a name like `uri:spiffe://corp/ci`", |text| {
        let kinds = ["uri:", "dns:", "email:", "subject:"];
        let is_name = kinds.iter().any(|kind| text.strip_prefix(kind).is_some_and(|name| !name.is_empty()));
        if is_name {
            Ok(Subject::Certificate(text.to_owned()))
        } else {
            Err("not the name of a certificate".to_owned())
        }
    });
    let given_claims = table.claims();
    let claim = problems.read(
        given_claims.first().copied(),
        "write `claim = \"groups=mlflow\"`, or `\"*\"` for any user",
        |text| match text.split_once('=') {
            _ if text == "*" => Ok(Subject::AnyUser),
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Subject::Claim { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("not a claim".to_owned()),
        },
    );
    let name = problems.read(value("name"), "choose a plainer name", |text| {
        caller_name::check_name(text).map(|()| text.to_owned()).map_err(ToOwned::to_owned)
    });
    let rights = rights(table, problems);
    let principal = aws_identities::principal(table, problems);
    let to = match (value("certificate"), &given_claims[..], value("principal")) {
        (Some(_), [], None) => certificate,
        (None, [_], None) => claim,
        (None, [], Some(_)) => principal,
        (None, [_, second, ..], None) => {
            let hint = "add `issuer`, or write one `[[caller]]` for each claim of the load balancer's users";
            problems.add(&second.origin, "several claims need an `issuer`", hint);
            None
        }
        _ => {
            let what = "a `[[caller]]` needs exactly one of `certificate`, `claim` and `principal`";
            problems.add(
                &table.origin,
                what,
                "write one of them: a name in a client certificate, a claim of a user, or the ARN of an AWS principal",
            );
            None
        }
    };
    let (role, targets) = rights?;
    Some(Grant { to: to?, name, role, targets })
}

fn limits(options: &CallerOptions, problems: &mut Problems) -> Limits {
    let number = |text: &str| text.parse::<NonZeroU32>().map_err(|_| "not a whole number from 1".to_owned());
    let hint = "write a whole number from 1";
    let rate = problems.read(options.caller_rate_limit.as_ref(), hint, number);
    let burst = problems.read(options.caller_burst_limit.as_ref(), hint, number);
    let concurrency = problems.read(options.caller_concurrency_limit.as_ref(), hint, number);
    if let (Some(given), None) = (&options.caller_burst_limit, &options.caller_rate_limit) {
        problems.add(
            &given.origin,
            "this has no effect without a rate",
            "set `caller-rate-limit`, or remove this option",
        );
    }
    Limits {
        rate: rate.map(|rate| (rate, burst.unwrap_or(rate.saturating_add(rate.get())))),
        concurrency: concurrency.unwrap_or(Limits::default().concurrency),
    }
}

/// The operator's text on the sign-in page.
fn sign_in_help(all: &ServeOptions, problems: &mut Problems) -> Option<String> {
    let given = all.callers.sign_in_help.as_ref()?;
    let signs_people_in = all.issuer_tables.iter().any(|issuer| issuer.value("client-id").is_some());
    if all.callers.tokens.is_none() && !signs_people_in {
        let what = "this has no effect without `tokens` or an `[[issuer]]` with `client-id`";
        problems.add(&given.origin, what, "set one of them, or remove this option");
    }
    let length = given.text.chars().count();
    if length > LONGEST_HELP {
        let what = format!("the text has {length} characters, and at most {LONGEST_HELP} are shown");
        problems.add(&given.origin, what, "shorten it, and add a link to a page with the rest");
    }
    Some(given.text.clone())
}
