//! Plans the configuration that `serve` will read and the readiness signals, from the values of all sources. This
//! module is pure.

use std::fmt::Write as _;

use super::sources::{ConfigurationSource, ConfiguredValue, ConfiguredValues, TABLES};
use crate::scalar;

const HEADING: &str = "\
# Written by `appliance bootstrap` at each start of this instance, from its user data, parameters, tags and the file of
# its image. What is changed here is lost; change it there. Each value says where it came from.
";

/// The planned configuration and signals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The configuration file.
    pub text: String,
    /// The values of the file, in its order.
    pub entries: Vec<PlanEntry>,
    /// The recipients of the readiness signals.
    pub signals: ReadinessSignals,
}

/// A value of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlanEntry {
    /// The key, with those of its tables.
    pub key: String,
    /// The value with its origin.
    pub value: ConfiguredValue,
    /// The line of the file, from 1.
    pub line: usize,
}

/// The recipients of the readiness signals.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct ReadinessSignals {
    /// The CloudFormation stack and the logical id of the resource that waits.
    pub stack: Option<(String, String)>,
    /// A presigned URL of a wait condition.
    pub wait_handle: Option<String>,
    /// The Auto Scaling group and its lifecycle hook.
    pub lifecycle: Option<(String, String)>,
    /// The target group in which this instance has to be healthy before it signals success.
    #[serde(default)]
    pub target_group: Option<String>,
}

/// Merges the sources. An earlier source takes precedence, and the tables of all sources are kept.
#[must_use]
pub(super) fn plan(sources: &[&ConfigurationSource]) -> Plan {
    let mut plan = Plan { text: HEADING.to_owned(), signals: signals(sources), ..Plan::default() };
    let options = merged(sources, |source| &source.options);
    plan.write(&options, "");
    for kind in TABLES {
        plan.write_tables(sources, |found| found == kind);
    }
    // `serve` reports the problems of other tables.
    plan.write_tables(sources, |found| !TABLES.contains(&found));
    plan
}

impl Plan {
    /// Returns the origin of the value on a line of the file.
    #[must_use]
    pub(super) fn origin(&self, line: usize) -> Option<&str> {
        self.entries.iter().find(|entry| entry.line == line).map(|entry| entry.value.origin.as_str())
    }

    fn write(&mut self, values: &ConfiguredValues, prefix: &str) {
        for (key, value) in values {
            // SECURITY: an origin may quote a name that another person chose.
            let origin: String = value.origin.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
            let _ = writeln!(self.text, "# {origin}\n{} = {}", quoted_key(key), value.toml);
            let line = self.text.matches('\n').count();
            self.entries.push(PlanEntry { key: format!("{prefix}{key}"), value: value.clone(), line });
        }
    }

    fn write_tables(&mut self, sources: &[&ConfigurationSource], fits: impl Fn(&str) -> bool) {
        for (kind, values) in sources.iter().flat_map(|source| &source.tables).filter(|(kind, _)| fits(kind)) {
            let _ = writeln!(self.text, "\n[[{}]]", quoted_key(kind));
            let name = values.get("name").map_or("", |name| name.text.as_str());
            self.write(values, &format!("{kind}.{name}{}", if name.is_empty() { "" } else { "." }));
        }
    }
}

/// Returns the recipients that the sources name.
#[must_use]
pub(super) fn signals(sources: &[&ConfigurationSource]) -> ReadinessSignals {
    let own = merged(sources, |source| &source.own);
    let text = |key: &str| own.get(key).map(|value| value.text.clone()).filter(|text| !text.is_empty());
    ReadinessSignals {
        stack: text("stack-name").zip(text("logical-id")),
        wait_handle: text("wait-handle"),
        lifecycle: text("auto-scaling-group").zip(text("lifecycle-hook")),
        target_group: text("target-group"),
    }
}

/// Returns the value of one of `bootstrap`'s own keys.
#[must_use]
pub(super) fn own(sources: &[&ConfigurationSource], key: &str) -> Option<ConfiguredValue> {
    sources.iter().find_map(|source| source.own.get(key)).cloned()
}

fn merged(
    sources: &[&ConfigurationSource],
    values: impl Fn(&ConfigurationSource) -> &ConfiguredValues,
) -> ConfiguredValues {
    let mut merged = ConfiguredValues::new();
    for source in sources {
        for (key, value) in values(source) {
            merged.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    merged
}

/// Returns the text of each problem, with the origin of the value in front of it.
pub(super) fn with_origins(problems: Vec<(Option<usize>, String)>, plan: &Plan) -> Vec<String> {
    let text = |(line, text): (Option<usize>, String)| match line.and_then(|line| plan.origin(line)) {
        // A tag and a parameter name the key, with which the text begins.
        Some(origin) => match text.split_once(": ") {
            Some((key, rest)) if origin.ends_with(&format!("{key}`")) => format!("{origin}: {rest}"),
            _ => format!("{origin}: {text}"),
        },
        None => text,
    };
    problems.into_iter().map(text).collect()
}

fn quoted_key(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !key.is_empty() && key.bytes().all(is_bare) { key.to_owned() } else { scalar::to_toml(key) }
}

#[cfg(test)]
mod tests {
    use super::super::sources::from_toml;
    use super::super::tags::from_tags;
    use super::*;

    fn tag(key: &str, value: &str) -> (String, String) {
        (format!("appliance:{key}"), value.to_owned())
    }

    #[test]
    fn the_first_source_takes_precedence_and_each_value_keeps_its_origin() {
        let user = from_toml("workers = 2\n[bootstrap]\nstack-name = \"s\"\n[[target]]\nname = \"a\"\n", "user data");
        let user = user.expect("readable");
        let tags = from_tags(&[tag("workers", "9"), tag("log-format", "json"), tag("logical-id", "Group")]).0;
        let plan = plan(&[&user, &tags]);
        let body = plan.text.strip_prefix(HEADING).expect("it begins with the heading");
        let expected = "# tag `appliance:log-format`\nlog-format = \"json\"\n# user data, line 1\nworkers = \"2\"\n\n\
                        [[target]]\n# user data, line 5\nname = \"a\"\n";
        assert_eq!(body, expected);
        assert_eq!(plan.signals.stack, Some(("s".into(), "Group".into())));
        let lines: Vec<&str> = plan.text.lines().collect();
        for PlanEntry { key, value, line } in &plan.entries {
            let key = key.rsplit('.').next().unwrap_or_default();
            assert!(lines[line - 1].starts_with(&format!("{key} = ")), "{key}: {}", lines[line - 1]);
            assert_eq!(plan.origin(*line), Some(value.origin.as_str()));
        }
    }

    #[test]
    fn any_text_survives_writing_and_reading() {
        let hostile = "a\"b\\c\nlisten = \"0.0.0.0:1\"\u{7f}\u{1}é";
        let value = ConfiguredValue::one(hostile.to_owned(), format!("a place\nlisten = {hostile}"));
        let options = [("workers".to_owned(), value.clone()), ("a b\nc".to_owned(), value)].into_iter().collect();
        let plan = plan(&[&ConfigurationSource { options, ..ConfigurationSource::default() }]);
        let read = from_toml(&plan.text, "x").expect("readable");
        assert_eq!(read.options.len(), 2, "{}", plan.text);
        assert_eq!(read.options["workers"].text, hostile);
    }

    #[test]
    fn an_incomplete_recipient_is_left_out() {
        let source = from_tags(&[tag("stack-name", "s"), tag("lifecycle-hook", "")]).0;
        assert_eq!(signals(&[&source]), ReadinessSignals::default());
    }
}
