//! Descriptions of the settings of `serve` for people: the callers, and one line about the whole.

use std::time::SystemTime;

use crate::access::tokens::Tokens;
use crate::clock;
use crate::probe::Finding;
use crate::serve::ServeSettings;

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
    let has_others = callers.oidc.is_some() || callers.aws.is_some() || !callers.grants.is_empty();
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
                Finding::ok(CHECK, "", format!("holders of {valid} valid token{plural} ({expired} expired)"))
            }
            None => Finding::ok(CHECK, "", "holders of the tokens that AWS stores"),
        },
        (None, None) if callers.aws.is_some() && callers.oidc.is_none() => {
            Finding::ok(CHECK, "", "AWS identities or holders of client certificates")
        }
        (None, None) => Finding::ok(CHECK, "", "users of the load balancer or holders of client certificates"),
    }
}

/// The numbers of valid and of expired tokens.
fn count(tokens: &Tokens, now: SystemTime) -> (usize, usize) {
    let valid = tokens.entries().iter().filter(|entry| entry.expires.is_none_or(|end| end > now)).count();
    (valid, tokens.entries().len() - valid)
}
