//! Tags of the instance, which many people may write: they may set only some options, and cannot prevent a start.

use super::sources::{ConfigurationSource, ConfiguredValue};

/// The prefix of tags for the appliance.
pub(super) const PREFIX: &str = "appliance:";
/// Tags may set these options. SECURITY: a person who may tag (`ec2:CreateTags` is granted freely) must not be able to grant
/// access to others, or to send signed requests elsewhere. The role's own permissions limit these options.
const OPTIONS: &[&str] =
    &["artifact-store", "log-filter", "log-format", "region", "resource-arn", "role-arn", "workers"];
/// These of them choose the target. They belong together, so tags set them only if no other source names a target.
const TARGET: &[&str] = &["artifact-store", "region", "resource-arn", "role-arn"];
/// Tags may set only these names, which AWS checks against this instance. SECURITY: `parameters` would bring every option
/// from a path that the tag names, `wait-handle` would send requests to a host that it names, and a start would wait in
/// vain for the `target-group` of another instance.
const OWN_KEYS: &[&str] = &["auto-scaling-group", "lifecycle-hook", "logical-id", "stack-name"];

/// Reads tags by their whole keys. The tags that AWS sets itself name the stack and the group, unless other tags do.
///
/// Tags that may not be set become warnings. SECURITY: they are no error, because anyone who may tag could otherwise prevent
/// the start of every instance. CloudFormation, too, copies the tags of a stack to its instances.
#[must_use]
pub(super) fn from_tags(tags: &[(String, String)]) -> (ConfigurationSource, Vec<String>) {
    let (mut source, mut warnings) = (ConfigurationSource::default(), Vec::new());
    for (key, text) in tags {
        let value = ConfiguredValue::one(text.clone(), format!("tag `{key}`"));
        let aws = match key.as_str() {
            "aws:cloudformation:stack-name" => Some("stack-name"),
            "aws:cloudformation:logical-id" => Some("logical-id"),
            "aws:autoscaling:groupName" => Some("auto-scaling-group"),
            _ => None,
        };
        match (aws, key.strip_prefix(PREFIX)) {
            (Some(own), _) => drop(source.own.entry(own.to_owned()).or_insert(value)),
            (None, Some(own)) if OWN_KEYS.contains(&own) => drop(source.own.insert(own.to_owned(), value)),
            (None, Some(option)) if OPTIONS.contains(&option) => {
                source.options.insert(option.to_owned(), value);
            }
            (None, Some(other)) => {
                let known: Vec<&str> = OPTIONS.iter().chain(OWN_KEYS).copied().collect();
                warnings.push(format!(
                    "{} is ignored: `{other}` cannot be set by a tag, which many people may write (these can: {}); use \
                     user data or a parameter",
                    value.origin,
                    known.join(", ")
                ));
            }
            (None, None) => {}
        }
    }
    (source, warnings)
}

/// Removes the options of the target from the tags if another source names a target, and returns warnings.
///
/// SECURITY: a tag that adds a store to which the role has no access would prevent the start.
pub(super) fn restrict(tags: &mut ConfigurationSource, others: &[&ConfigurationSource]) -> Vec<String> {
    let names_target = |source: &&ConfigurationSource| {
        source.options.contains_key("resource-arn") || source.tables.iter().any(|(kind, _)| kind == "target")
    };
    let mut warnings = Vec::new();
    if others.iter().any(names_target) {
        tags.options.retain(|key, value| {
            let is_kept = !TARGET.contains(&key.as_str());
            if !is_kept && !others.iter().any(|other| other.options.contains_key(key)) {
                warnings.push(format!("{} is ignored: user data or a parameter names the MLflow", value.origin));
            }
            is_kept
        });
    }
    warnings
}

/// Returns true if a value comes from a tag.
#[must_use]
pub(super) fn is_tag(value: &ConfiguredValue) -> bool {
    value.origin.starts_with("tag `")
}

#[cfg(test)]
mod tests {
    use super::super::sources::{ConfiguredValues, from_toml};
    use super::*;

    fn shown(values: &ConfiguredValues) -> Vec<String> {
        values.iter().map(|(key, value)| format!("{key}={} <- {}", value.text, value.origin)).collect()
    }

    #[test]
    fn tags_are_options_by_their_names_and_others_are_ignored() {
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let source = from_tags(&[
            tag("Name", "x"),
            tag("appliance:workers", "4"),
            tag("appliance:logical-id", "Group"),
            tag("aws:cloudformation:logical-id", "Other"),
        ]);
        let (source, warnings) = source;
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(shown(&source.options), ["workers=4 <- tag `appliance:workers`"]);
        assert_eq!(shown(&source.own), ["logical-id=Group <- tag `appliance:logical-id`"]);
        let named = from_toml("resource-arn = \"a\"\nrole-arn = \"r\"\n", "user data").expect("readable");
        let (mut tags, _) =
            from_tags(&["artifact-store", "role-arn", "workers"].map(|key| tag(&format!("appliance:{key}"), "x")));
        let warnings = restrict(&mut tags, &[&named]);
        let expected = "tag `appliance:artifact-store` is ignored: user data or a parameter names the MLflow";
        assert_eq!(warnings, [expected], "what user data says itself wins without a word");
        assert_eq!(shown(&tags.options), ["workers=x <- tag `appliance:workers`"]);
        for key in [
            "allow-anonymous",
            "upstream-endpoint",
            "ca-file",
            "tokens",
            "set",
            "owner",
            "",
            "parameters",
            "target-group",
            "wait-handle",
        ] {
            let (source, warnings) =
                from_tags(&[tag(&format!("appliance:{key}"), "x"), tag("appliance:logical-id", "G")]);
            let expected = format!("tag `appliance:{key}` is ignored: `{key}` cannot be set by a tag");
            assert!(warnings[0].starts_with(&expected), "{warnings:?}");
            assert!(source.options.is_empty() && source.own.len() == 1, "the recipient of the signal is still known");
        }
    }
}
