//! The configuration in the Parameter Store. This module is pure.

use std::collections::BTreeMap;

use super::sources::{ConfigurationSource, ConfiguredValue, ConfiguredValues, TABLES};
use crate::api::parameters::SsmParameter;

/// Reads parameters below a path: `<path>/<key>`, and `<path>/target/<name>/<key>` for a table, also of an issuer or a caller.
/// The tables have the order of their names; a `StringList` is a list.
///
/// # Errors
/// A name that has neither form.
pub(super) fn from_parameters(path: &str, parameters: &[SsmParameter]) -> Result<ConfigurationSource, String> {
    let mut source = ConfigurationSource::default();
    let mut tables: BTreeMap<(&str, String), ConfiguredValues> = BTreeMap::new();
    for parameter @ SsmParameter { name, value, .. } in parameters {
        let origin = format!("parameter `{name}`");
        let below = name.strip_prefix(path.trim_end_matches('/')).unwrap_or(name).trim_matches('/');
        match below.split('/').collect::<Vec<_>>()[..] {
            [key] => drop(source.options.insert(key.to_owned(), ConfiguredValue::one(value.clone(), origin))),
            [kind, table, key] if let Some(kind) = TABLES.iter().find(|known| **known == kind) => {
                let values = tables.entry((kind, table.to_owned())).or_default();
                // The name of a caller is the one in the log, and comes from its credentials.
                if *kind != "caller" {
                    let name = || ConfiguredValue::one(table.to_owned(), origin.clone());
                    values.entry("name".to_owned()).or_insert_with(name);
                }
                let value = if parameter.is_list() {
                    ConfiguredValue::list(
                        &value.split(',').map(|text| text.trim().to_owned()).collect::<Vec<_>>(),
                        origin,
                    )
                } else {
                    ConfiguredValue::one(value.clone(), origin)
                };
                values.insert(key.to_owned(), value);
            }
            _ => {
                return Err(format!(
                    "{origin}: write `{path}/<option>` or `{path}/<table>/<name>/<key>`, with one of the tables {}",
                    TABLES.join(", ")
                ));
            }
        }
    }
    source.tables = tables.into_iter().map(|((kind, _), values)| (kind.to_owned(), values)).collect();
    Ok(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &ConfiguredValues) -> Vec<String> {
        values.iter().map(|(key, value)| format!("{key}={} <- {}", value.text, value.origin)).collect()
    }

    #[test]
    fn parameters_become_options_by_their_names() {
        let parameter = |name: &str, kind: &str, value: &str| SsmParameter {
            name: name.into(),
            value: value.into(),
            kind: kind.into(),
        };
        let parameters = [
            parameter("/m/workers", "String", "3"),
            parameter("/m/target/a/resource-arn", "String", "arn"),
            parameter("/m/caller/2-jobs/claim", "StringList", "repository=o/r, ref=main"),
            parameter("/m/caller/1-admins/claim", "String", "groups=a,b"),
            parameter("/m/issuer/gha/url", "String", "https://idp.example"),
        ];
        let source = from_parameters("/m/", &parameters).expect("readable");
        assert_eq!(shown(&source.options), ["workers=3 <- parameter `/m/workers`"]);
        let tables: Vec<_> = source.tables.iter().map(|(kind, values)| (kind.as_str(), shown(values))).collect();
        let expected = |kind: &'static str, values: &[&str]| (kind, values.iter().map(ToString::to_string).collect());
        assert_eq!(
            tables,
            [
                expected("caller", &["claim=groups=a,b <- parameter `/m/caller/1-admins/claim`"]),
                expected("caller", &["claim=repository=o/r, ref=main <- parameter `/m/caller/2-jobs/claim`"]),
                expected(
                    "issuer",
                    &[
                        "name=gha <- parameter `/m/issuer/gha/url`",
                        "url=https://idp.example <- parameter `/m/issuer/gha/url`"
                    ]
                ),
                expected(
                    "target",
                    &[
                        "name=a <- parameter `/m/target/a/resource-arn`",
                        "resource-arn=arn <- parameter `/m/target/a/resource-arn`"
                    ]
                ),
            ]
        );
        assert_eq!(source.tables[1].1["claim"].toml, "[\"repository=o/r\", \"ref=main\"]");
        for name in ["/m/a/b", "/m/limit/a/b", "/m/caller/a/b/c"] {
            assert!(from_parameters("/m", &[parameter(name, "String", "x")]).is_err(), "{name}");
        }
    }
}
