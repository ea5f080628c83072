//! Descriptions of the settings of `serve` for people: the callers, and one line about the whole.

use std::time::SystemTime;

use crate::access::tokens::Tokens;
use crate::clock;
use crate::probe::Finding;
use crate::serve::{CallerSettings, IssuerSettings, ServeSettings};

/// One line: the address, the targets behind it, the callers and the status page.
pub(super) fn line(settings: &ServeSettings) -> String {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let targets: Vec<_> = settings.served_targets.iter().map(|target| target.target.arn().as_str()).collect();
    let status = match &settings.admin {
        Some(admin) => format!("http://{}/status", admin.listen),
        None => "off".to_owned(),
    };
    format!(
        "serving {} at {scheme}://{} for {}; status page: {status}",
        targets.join(", "),
        settings.listen,
        callers(settings, clock::now()).text,
    )
}

/// A finding about the callers that would be accepted.
pub(super) fn callers(settings: &ServeSettings, now: SystemTime) -> Finding {
    const CHECK: &str = "callers";
    let callers = &settings.callers;
    let has_others =
        callers.oidc.is_some() || callers.aws.is_some() || !callers.grants.is_empty() || !callers.issuers.is_empty();
    let of_issuers = of_issuers(callers);
    let and_issuers = of_issuers.as_ref().map(|text| format!(", {text}")).unwrap_or_default();
    match (&callers.tokens, callers.anonymous) {
        (_, Some(role)) if settings.listen.ip().is_loopback() => {
            Finding::ok(CHECK, "", format!("every client on this machine, as {role}"))
        }
        (_, Some(role)) => Finding::warning(
            CHECK,
            "",
            format!("every client that can connect, as {role}, because of `allow-anonymous`"),
            "create tokens (`appliance token new`) and remove `allow-anonymous`, unless the network keeps others away",
        ),
        (Some(tokens), None) => match &tokens.initial {
            Some(tokens) => {
                let (valid, expired) = count(tokens, now);
                if valid == 0 && !has_others {
                    let text = format!("nobody, because there is no valid token ({expired} expired)");
                    return Finding::warning(CHECK, "", text, "create one with `appliance token new`");
                }
                let plural = if valid == 1 { "" } else { "s" };
                Finding::ok(
                    CHECK,
                    "",
                    format!("holders of {valid} valid token{plural} ({expired} expired){and_issuers}"),
                )
            }
            None => Finding::ok(CHECK, "", format!("holders of the tokens that AWS stores{and_issuers}")),
        },
        (None, None) => {
            let others = if callers.aws.is_some() && callers.oidc.is_none() {
                "AWS identities or holders of client certificates"
            } else {
                "users of the load balancer or holders of client certificates"
            };
            Finding::ok(CHECK, "", of_issuers.unwrap_or_else(|| others.to_owned()))
        }
    }
}

/// The callers whom issuers name; none without issuers.
fn of_issuers(callers: &CallerSettings) -> Option<String> {
    let named = |is_meant: fn(&IssuerSettings) -> bool| {
        let names = callers.issuers.iter().filter(|issuer| is_meant(issuer));
        names.map(|issuer| format!("`{}`", issuer.trusted.issuer.name)).collect::<Vec<_>>().join(", ")
    };
    let jwts = named(|issuer| !issuer.trusted.issuer.audiences.is_empty());
    let people = named(|issuer| issuer.sign_on.is_some());
    let texts = [("holders of JWTs of ", jwts), ("people who sign in at ", people)];
    let texts = texts.into_iter().filter(|(_, names)| !names.is_empty()).map(|(text, names)| format!("{text}{names}"));
    Some(texts.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
}

/// The numbers of valid and of expired tokens.
fn count(tokens: &Tokens, now: SystemTime) -> (usize, usize) {
    let valid = tokens.entries().iter().filter(|entry| entry.expires.is_none_or(|end| end > now)).count();
    (valid, tokens.entries().len() - valid)
}
