//! Makes a redirect of the upstream lead the client back through the appliance.

use actix_web::http::header::{self, HeaderMap, HeaderValue};

/// Makes a redirect of the upstream lead the client back through the appliance.
///
/// SECURITY: an upstream names itself in many ways, also by addresses that only it can reach, and it may have been told to
/// redirect to another party's host. So only the path of a redirect counts, whatever its host is.
pub(super) fn relocate(fields: &mut HeaderMap, prefix: &str) {
    let Some(location) = fields.get(header::LOCATION) else { return };
    let local = location.to_str().ok().and_then(|location| local(location.trim()));
    match local.and_then(|local| HeaderValue::try_from(format!("{prefix}{local}")).ok()) {
        Some(local) => drop(fields.insert(header::LOCATION, local)),
        None if location.to_str().is_ok_and(is_relative) => {}
        None => drop(fields.remove(header::LOCATION)),
    }
}

/// The path, query and fragment of a redirect that begins at the root of a server.
fn local(location: &str) -> Option<String> {
    let is_slash = |character: char| matches!(character, '/' | '\\');
    let authority = match location.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => rest,
        _ if location.starts_with(is_slash) => location,
        _ => return None,
    };
    // Browsers take a backslash for a slash.
    let rest = authority.trim_start_matches(is_slash);
    let path = if authority.len() - rest.len() > 1 {
        rest.find(|character| is_slash(character) || matches!(character, '?' | '#')).map_or("", |at| &rest[at..])
    } else {
        authority
    };
    Some(format!("/{}", path.trim_start_matches(is_slash)))
}

/// True for a redirect that is relative to the path of the request.
fn is_relative(location: &str) -> bool {
    let first = location.split(['/', '?', '#']).next().unwrap_or_default();
    !first.contains([':', '\\']) && !location.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_back_through_the_appliance() {
        for (location, expected) in [
            ("/elsewhere?a=b#c", Some("/t/a/elsewhere?a=b#c")),
            ("https://us-east-1.experiments.sagemaker.aws/x", Some("/t/a/x")),
            ("http://127.0.0.1:27683/x?y=z", Some("/t/a/x?y=z")),
            ("HTTP://host", Some("/t/a/")),
            ("https://host?x", Some("/t/a/?x")),
            ("https://host//evil.example/x", Some("/t/a/evil.example/x")),
            ("//evil.example/x", Some("/t/a/x")),
            ("/\\evil.example/x", Some("/t/a/x")),
            ("\\\\evil.example\\x", Some("/t/a/x")),
            ("https:\\\\evil.example/x", Some("/t/a/x")),
            ("next?x=http://y", Some("next?x=http://y")),
            ("?page=2", Some("?page=2")),
            ("javascript:alert(1)", None),
            ("ftp://host/x", None),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(header::LOCATION, HeaderValue::from_static(location));
            relocate(&mut fields, "/t/a");
            let got = fields.get(header::LOCATION).map(|value| value.to_str().expect("text"));
            assert_eq!(got, expected, "{location}");
        }
    }
}
