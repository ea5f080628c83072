//! Descriptions of the settings of `serve` for people: the callers, and one line about the whole.

use std::time::SystemTime;

use crate::access::grant::Subject;
use crate::access::tokens::Tokens;
use crate::clock;
use crate::counted::counted;
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
    let others = without_tokens(callers);
    let and_others: String = others.iter().flat_map(|text| [", ", text.as_str()]).collect();
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
                if valid == 0 && others.is_empty() {
                    let text = format!("nobody, because there is no valid token ({expired} expired)");
                    return Finding::warning(CHECK, "", text, "create one with `appliance token new`");
                }
                Finding::ok(
                    CHECK,
                    "",
                    format!("holders of {} ({expired} expired){and_others}", counted(valid, "valid token")),
                )
            }
            None => Finding::ok(CHECK, "", format!("holders of the tokens that AWS stores{and_others}")),
        },
        (None, None) if others.is_empty() => Finding::warning(
            CHECK,
            "",
            "nobody, because no `[[caller]]` grants a role",
            "add a `[[caller]]` for the holders of client certificates",
        ),
        (None, None) => Finding::ok(CHECK, "", others.join(", ")),
    }
}

/// The callers that need no token of the token file.
fn without_tokens(callers: &CallerSettings) -> Vec<String> {
    let has_certificates = callers.grants.iter().any(|grant| matches!(grant.to, Subject::Certificate(_)));
    let ways = [
        (callers.oidc.is_some(), "users of the load balancer"),
        (callers.aws.is_some(), "AWS identities"),
        (has_certificates, "holders of client certificates"),
    ];
    let texts = ways.into_iter().filter(|(is_one, _)| *is_one).map(|(_, text)| text.to_owned());
    texts.chain(of_issuers(callers)).collect()
}

/// The callers that issuers name; none without issuers.
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
