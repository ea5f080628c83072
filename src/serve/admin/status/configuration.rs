//! The configuration in the document of the status page: who may do what. It contains no secret.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::numbers::seconds;
use crate::clock;
use crate::serve::auth::browser::AllowedHosts;
use crate::serve::state::SharedState;

/// The number of tokens that end soon and are listed.
const SOON_LIMIT: usize = 10;

pub(super) fn document(shared: &SharedState, now: SystemTime) -> Value {
    let methods = shared.access.methods.iter();
    let methods: Vec<_> = methods.map(|(method, text)| json!({"method": method, "description": text})).collect();
    let rules: Vec<_> = shared.callers.policy.0.iter().map(ToString::to_string).collect();
    json!({
        "authentication": methods,
        "deny": rules,
        "tls": shared.tls.is_some(),
        "allowed_networks": shared.access.has_networks,
        "allowed_hosts": match &shared.allowed_hosts {
            AllowedHosts::Any => Value::Null,
            AllowedHosts::Listed(names) => json!(names),
        },
        "tokens": tokens(shared, now),
    })
}

/// Returns the number of tokens, and those that end soon.
fn tokens(shared: &SharedState, now: SystemTime) -> Option<Value> {
    let tokens = shared.callers.tokens.tokens()?;
    let is_valid = |end: &Option<SystemTime>| end.is_none_or(|end| end > now);
    let valid = tokens.entries().iter().filter(|entry| is_valid(&entry.expires)).count();
    let mut soon: Vec<_> = tokens
        .entries()
        .iter()
        .filter_map(|entry| Some((entry.expires.filter(|end| *end > now)?, entry)))
        .filter(|(end, entry)| clock::ends_soon(entry.created, *end, now))
        .collect();
    soon.sort_by_key(|(end, _)| *end);
    let listed: Vec<_> = soon
        .iter()
        .take(SOON_LIMIT)
        .map(|(end, entry)| json!({"name": entry.name, "role": entry.role.as_str(), "expires": seconds(*end)}))
        .collect();
    Some(json!({
        "valid": valid,
        "expired": tokens.entries().len() - valid,
        "end_soon": soon.len(),
        "ending": listed,
    }))
}
