//! The sources of values: user data, parameters, a file, and tags ([`super::tags`]). Each value keeps its origin. Pure.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use super::user_data::UserData;
use crate::api::parameters::SsmParameter;

/// The table of user data that configures `bootstrap` itself.
const OWN: &str = "bootstrap";
/// The keys of that table. As tags, they need no table.
pub(super) const OWN_KEYS: &[&str] =
    &["auto-scaling-group", "lifecycle-hook", "logical-id", "parameters", "stack-name", "target-group", "wait-handle"];

/// A value and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConfiguredValue {
    /// The value as text, like all options.
    pub text: String,
    /// The origin for people, as in `user data, line 3`.
    pub origin: String,
}

/// Values by their keys.
pub(super) type ConfiguredValues = BTreeMap<String, ConfiguredValue>;

/// The values of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ConfigurationSource {
    /// Options of `serve`.
    pub options: ConfiguredValues,
    /// `[[target]]` and `[[caller]]` tables, by their kind.
    pub tables: Vec<(String, ConfiguredValues)>,
    /// The values for `bootstrap` itself.
    pub own: ConfiguredValues,
}

/// Reads a document; `name` is its name in origins.
///
/// # Errors
/// A value that no option can have, with its position.
pub(super) fn from_document(document: &UserData, name: &str) -> Result<ConfigurationSource, String> {
    match document {
        UserData::Toml(text) => from_toml(text, name),
        UserData::Json(text) => from_json(text, name),
    }
}

/// Reads TOML, with the line of each value.
///
/// # Errors
/// As those of [`from_document`].
pub(super) fn from_toml(text: &str, name: &str) -> Result<ConfigurationSource, String> {
    let line = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(1, |span| line(span.start));
        format!("{name}, line {at}: {}", error.message())
    })?;
    let read = |table: &DeTable<'_>| -> Result<ConfiguredValues, String> {
        let one = |(key, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
            let origin = format!("{name}, line {}", line(key.span().start));
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Float(number) => number.to_string(),
                DeValue::Boolean(truth) => truth.to_string(),
                _ => return Err(unfit(&origin, key.get_ref())),
            };
            Ok((key.get_ref().to_string(), ConfiguredValue { text, origin }))
        };
        table.iter().map(one).collect()
    };
    let mut source = ConfigurationSource::default();
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

fn from_json(text: &str, name: &str) -> Result<ConfigurationSource, String> {
    let document: serde_json::Map<String, Json> =
        serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
    let read = |table: &serde_json::Map<String, Json>, place: &str| -> Result<ConfiguredValues, String> {
        let one = |(key, value): (&String, &Json)| {
            let origin = format!("{name}, `{place}{key}`");
            let text = match value {
                Json::String(text) => text.clone(),
                Json::Number(number) => number.to_string(),
                Json::Bool(truth) => truth.to_string(),
                Json::Null | Json::Array(_) | Json::Object(_) => return Err(unfit(&origin, key)),
            };
            Ok((key.clone(), ConfiguredValue { text, origin }))
        };
        table.iter().map(one).collect()
    };
    let mut source = ConfigurationSource::default();
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

/// Reads parameters below a path: `<path>/<key>`, and `<path>/target/<name>/<key>` for targets.
///
/// # Errors
/// A name that has neither form.
pub(super) fn from_parameters(path: &str, parameters: &[SsmParameter]) -> Result<ConfigurationSource, String> {
    let mut source = ConfigurationSource::default();
    let mut targets: BTreeMap<String, ConfiguredValues> = BTreeMap::new();
    for SsmParameter { name, value } in parameters {
        let origin = format!("parameter `{name}`");
        let below = name.strip_prefix(path.trim_end_matches('/')).unwrap_or(name).trim_matches('/');
        let value = ConfiguredValue { text: value.clone(), origin: origin.clone() };
        match below.split('/').collect::<Vec<_>>()[..] {
            [key] => drop(source.options.insert(key.to_owned(), value)),
            ["target", target, key] => {
                let name = || ConfiguredValue { text: target.to_owned(), origin: origin.clone() };
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

fn known(own: &ConfiguredValues) -> Result<(), String> {
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

    fn shown(values: &ConfiguredValues) -> Vec<String> {
        values.iter().map(|(key, value)| format!("{key}={} <- {}", value.text, value.origin)).collect()
    }

    #[test]
    fn documents_keep_the_position_of_each_value() {
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
    fn a_value_that_no_option_can_have_is_rejected_with_its_position() {
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
    fn parameters_become_options_by_their_names() {
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
