//! Where values come from: user data, parameters, a file, and tags ([`super::tags`]). Each keeps its origin. Pure.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use super::user_data::Document;
use crate::api::parameters::SsmParameter;

/// The table of user data that is for `bootstrap`, and its keys, which as tags need no table.
const OWN: &str = "bootstrap";
/// What `bootstrap` itself can be told.
pub(super) const OWN_KEYS: &[&str] =
    &["auto-scaling-group", "lifecycle-hook", "logical-id", "parameters", "stack-name", "target-group", "wait-handle"];

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// As text, like all options.
    pub text: String,
    /// For people, as in `user data, line 3`.
    pub origin: String,
}

/// Values by their keys.
pub(super) type Values = BTreeMap<String, Value>;

/// What one source says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    /// Options of `serve`.
    pub options: Values,
    /// `[[target]]` and `[[caller]]` tables, by their kind.
    pub tables: Vec<(String, Values)>,
    /// What is for `bootstrap` itself.
    pub own: Values,
}

/// Reads a document; `name` is what to call it in origins.
///
/// # Errors
/// What is in it that no option can be, with its place.
pub(super) fn from_document(document: &Document, name: &str) -> Result<Source, String> {
    match document {
        Document::Toml(text) => from_toml(text, name),
        Document::Json(text) => from_json(text, name),
    }
}

/// Reads TOML, with the line of each value.
///
/// # Errors
/// As those of [`from_document`].
pub(super) fn from_toml(text: &str, name: &str) -> Result<Source, String> {
    let line = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(1, |span| line(span.start));
        format!("{name}, line {at}: {}", error.message())
    })?;
    let read = |table: &DeTable<'_>| -> Result<Values, String> {
        let one = |(key, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
            let origin = format!("{name}, line {}", line(key.span().start));
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Float(number) => number.to_string(),
                DeValue::Boolean(truth) => truth.to_string(),
                _ => return Err(unfit(&origin, key.get_ref())),
            };
            Ok((key.get_ref().to_string(), Value { text, origin }))
        };
        table.iter().map(one).collect()
    };
    let mut source = Source::default();
    let mut flat = DeTable::new();
    for (key, value) in table.get_ref() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            (OWN, DeValue::Table(table)) => source.own = read(table)?,
            (kind, DeValue::Array(tables)) => {
                for table in tables {
                    let DeValue::Table(table) = table.get_ref() else {
                        return Err(unfit(&format!("{name}, line {}", line(key.span().start)), kind));
                    };
                    source.tables.push((kind.to_owned(), read(table)?));
                }
            }
            _ => drop(flat.insert(key.clone(), value.clone())),
        }
    }
    source.options = read(&flat)?;
    known(&source.own)?;
    Ok(source)
}

fn from_json(text: &str, name: &str) -> Result<Source, String> {
    let document: serde_json::Map<String, Json> =
        serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
    let read = |table: &serde_json::Map<String, Json>, place: &str| -> Result<Values, String> {
        let one = |(key, value): (&String, &Json)| {
            let origin = format!("{name}, `{place}{key}`");
            let text = match value {
                Json::String(text) => text.clone(),
                Json::Number(number) => number.to_string(),
                Json::Bool(truth) => truth.to_string(),
                Json::Null | Json::Array(_) | Json::Object(_) => return Err(unfit(&origin, key)),
            };
            Ok((key.clone(), Value { text, origin }))
        };
        table.iter().map(one).collect()
    };
    let mut source = Source::default();
    let mut flat = serde_json::Map::new();
    for (key, value) in &document {
        match (key.as_str(), value) {
            (OWN, Json::Object(table)) => source.own = read(table, "bootstrap.")?,
            (kind, Json::Array(tables)) => {
                for table in tables {
                    let Json::Object(table) = table else { return Err(unfit(name, kind)) };
                    source.tables.push((kind.to_owned(), read(table, &format!("{kind}."))?));
                }
            }
            _ => drop(flat.insert(key.clone(), value.clone())),
        }
    }
    source.options = read(&flat, "")?;
    known(&source.own)?;
    Ok(source)
}

/// Parameters below a path: `<path>/<key>`, and `<path>/target/<name>/<key>` for targets.
///
/// # Errors
/// A name that fits neither.
pub(super) fn from_parameters(path: &str, parameters: &[SsmParameter]) -> Result<Source, String> {
    let mut source = Source::default();
    let mut targets: BTreeMap<String, Values> = BTreeMap::new();
    for SsmParameter { name, value } in parameters {
        let origin = format!("parameter `{name}`");
        let below = name.strip_prefix(path.trim_end_matches('/')).unwrap_or(name).trim_matches('/');
        let value = Value { text: value.clone(), origin: origin.clone() };
        match below.split('/').collect::<Vec<_>>()[..] {
            [key] => drop(source.options.insert(key.to_owned(), value)),
            ["target", target, key] => {
                let name = || Value { text: target.to_owned(), origin: origin.clone() };
                let values = targets.entry(target.to_owned()).or_default();
                values.entry("name".to_owned()).or_insert_with(name);
                values.insert(key.to_owned(), value);
            }
            _ => return Err(format!("{origin}: write `{path}/<option>` or `{path}/target/<name>/<option>`")),
        }
    }
    source.tables = targets.into_values().map(|values| ("target".to_owned(), values)).collect();
    Ok(source)
}

fn known(own: &Values) -> Result<(), String> {
    match own.iter().find(|(key, _)| !OWN_KEYS.contains(&key.as_str())) {
        Some((key, value)) => {
            Err(format!("{}: `{key}` is no key of `[bootstrap]`; there are {}", value.origin, OWN_KEYS.join(", ")))
        }
        None => Ok(()),
    }
}

fn unfit(origin: &str, key: &str) -> String {
    format!("{origin}: `{key}` must be a text, a number or true/false")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &Values) -> Vec<String> {
        values.iter().map(|(key, value)| format!("{key}={} <- {}", value.text, value.origin)).collect()
    }

    #[test]
    fn documents_keep_the_place_of_each_value() {
        let toml =
            "workers = 2\nlisten = \"0.0.0.0:5000\"\n\n[bootstrap]\nstack-name = \"s\"\n\n[[target]]\nname = \"a\"\n";
        let source = from_toml(toml, "user data").expect("readable");
        assert_eq!(
            shown(&source.options),
            ["listen=0.0.0.0:5000 <- user data, line 2", "workers=2 <- user data, line 1"]
        );
        assert_eq!(shown(&source.own), ["stack-name=s <- user data, line 5"]);
        assert_eq!(source.tables[0].0, "target");
        assert_eq!(shown(&source.tables[0].1), ["name=a <- user data, line 8"]);

        let json = "{\"workers\": 2, \"bootstrap\": {\"stack-name\": \"s\"}, \"target\": [{\"name\": \"a\"}]}";
        let read = from_json(json, "user data").expect("readable");
        assert_eq!(shown(&read.options), ["workers=2 <- user data, `workers`"]);
        assert_eq!(shown(&read.own), ["stack-name=s <- user data, `bootstrap.stack-name`"]);
        assert_eq!(shown(&read.tables[0].1), ["name=a <- user data, `target.name`"]);
    }

    #[test]
    fn what_no_option_can_be_is_refused_with_its_place() {
        for (text, expected) in [
            ("a = [1]\n", "user data, line 1: `a` must be"),
            ("a = 1\n[b]\nc = 1\n", "user data, line 2: `b` must be"),
            ("[bootstrap]\nstack = \"x\"\n", "user data, line 2: `stack` is no key of `[bootstrap]`"),
        ] {
            let refused = from_toml(text, "user data").expect_err(text);
            assert!(refused.starts_with(expected), "{refused}");
        }
        assert!(from_json("{\"a\": null}", "user data").is_err());
    }

    #[test]
    fn parameters_are_options_by_their_names() {
        let parameter = |name: &str, value: &str| SsmParameter { name: name.into(), value: value.into() };
        let parameters = [parameter("/m/workers", "3"), parameter("/m/target/a/resource-arn", "arn")];
        let source = from_parameters("/m/", &parameters).expect("readable");
        assert_eq!(shown(&source.options), ["workers=3 <- parameter `/m/workers`"]);
        let target = "parameter `/m/target/a/resource-arn`";
        assert_eq!(
            shown(&source.tables[0].1),
            [format!("name=a <- {target}"), format!("resource-arn=arn <- {target}")]
        );
        assert!(from_parameters("/m", &[parameter("/m/a/b", "x")]).is_err());
    }
}
