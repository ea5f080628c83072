//! The callers in the document of the status page: their requests since the start, and the end of their tokens.

use std::collections::HashMap;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::numbers::seconds;
use crate::access::caller::AuthMethod;
use crate::clock;
use crate::serve::state::SharedState;
use crate::serve::telemetry::metrics::{CALLER_LIMIT, CallerFigures};

/// The valid tokens of one caller.
#[derive(Default)]
struct TokenEnds {
    count: usize,
    /// The end of the token that ends first, and of the one that ends last; nothing if it does not end.
    first: Option<SystemTime>,
    last: Option<SystemTime>,
    /// True if all of them end soon.
    end_soon: bool,
}

pub(super) fn document(shared: &SharedState, now: SystemTime) -> Value {
    let metrics = &shared.metrics;
    let (table, ends) = (metrics.callers(), token_ends(shared, now));
    let means = [AuthMethod::Token, AuthMethod::Session].map(AuthMethod::as_str);
    let rows: Vec<Value> = table
        .rows
        .iter()
        .map(|(label, figures)| {
            let mut row =
                json!({"name": label.name, "means": label.auth_method, "issuer": label.issuer.as_deref(), "role": label.role});
            add(&mut row, figures, shared);
            row["token_expires"] = (figures.token_expires > 0).then_some(figures.token_expires).into();
            // A session that began at an issuer does not depend on the tokens of a caller with the same name.
            let has_tokens = label.issuer.is_none() && means.contains(&label.auth_method);
            let tokens = ends.get(&(label.name.clone(), label.role)).filter(|_| has_tokens);
            row["tokens"] = tokens.map_or(Value::Null, |ends| {
                json!({
                    "count": ends.count,
                    "first_expires": ends.first.map(seconds),
                    "last_expires": ends.last.map(seconds),
                    "end_soon": ends.end_soon,
                })
            });
            row
        })
        .collect();
    let sum = |figures: &CallerFigures| {
        (figures.requests > 0).then(|| {
            let mut row = json!({});
            add(&mut row, figures, shared);
            row
        })
    };
    json!({
        "limit": CALLER_LIMIT,
        "rows": rows,
        "others": sum(&table.others),
        "unauthenticated": sum(&table.unauthenticated),
    })
}

fn add(row: &mut Value, figures: &CallerFigures, shared: &SharedState) {
    let figures = json!({
        "requests": figures.requests,
        "rejected": figures.rejected,
        "failed": figures.failed,
        "artifact_bytes": {"received": figures.uploaded, "sent": figures.downloaded},
        "presigned": {"downloads": figures.presigned[0], "uploads": figures.presigned[1]},
        "last_seen": seconds(shared.metrics.time_of(figures.last_seen)),
    });
    if let (Value::Object(row), Value::Object(figures)) = (row, figures) {
        row.extend(figures);
    }
}

/// Returns the ends of the valid tokens by name and role of their callers.
fn token_ends(shared: &SharedState, now: SystemTime) -> HashMap<(String, &'static str), TokenEnds> {
    let mut all: HashMap<_, TokenEnds> = HashMap::new();
    let Some(tokens) = shared.callers.tokens.tokens() else { return all };
    for entry in tokens.entries().iter().filter(|entry| entry.expires.is_none_or(|end| end > now)) {
        let ends = all.entry((entry.name.clone(), entry.role.as_str())).or_default();
        let is_soon = entry.expires.is_some_and(|end| clock::ends_soon(entry.created, end, now));
        ends.end_soon = is_soon && (ends.count == 0 || ends.end_soon);
        ends.last = if ends.count == 0 { entry.expires } else { ends.last.zip(entry.expires).map(|(a, b)| a.max(b)) };
        ends.first = ends.first.into_iter().chain(entry.expires).min();
        ends.count += 1;
    }
    all
}
