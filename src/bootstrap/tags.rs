//! Tags of the instance, which many people may write: what they may say, and that they keep no instance from starting.

use super::sources::{Source, Value};

/// Tags for the appliance begin with this.
pub(super) const PREFIX: &str = "appliance:";
/// Tags may set these options. SECURITY: whoever may tag (`ec2:CreateTags` is handed out freely) must not be able to let others
/// in, or to send signed requests elsewhere; these are bounded by what the role may do anyway.
const OPTIONS: &[&str] =
    &["artifact-store", "log-filter", "log-format", "region", "resource-arn", "role-arn", "workers"];
/// These of them say what is served. They belong together, so tags say them only where nobody else names an MLflow.
const TARGET: &[&str] = &["artifact-store", "region", "resource-arn", "role-arn"];
/// Tags may set only these names, which AWS checks against this instance. SECURITY: `parameters` would bring every option
/// from a path that the tag names, `wait-handle` would send requests to a host that it names, and a start would wait for
/// the `target-group` of somebody else for nothing.
const OWN_KEYS: &[&str] = &["auto-scaling-group", "lifecycle-hook", "logical-id", "stack-name"];

/// Tags, by their whole keys. Those that AWS sets itself name the stack and the group where nothing else does.
///
/// Tags that may not be set are left out, and returned beside the rest as warnings. SECURITY: they are no fault, because
/// anybody who may tag could keep every instance from starting otherwise. CloudFormation, too, copies the tags of a stack to its instances.
#[must_use]
pub(super) fn from_tags(tags: &[(String, String)]) -> (Source, Vec<String>) {
    let (mut source, mut warnings) = (Source::default(), Vec::new());
    for (key, text) in tags {
        let value = Value { text: text.clone(), origin: format!("tag `{key}`") };
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

/// Takes from the tags what they may not say because others name the MLflow; returns warnings.
///
/// SECURITY: a tag that adds a store to which the role has no access would keep an instance from starting.
pub(super) fn restrict(tags: &mut Source, others: &[&Source]) -> Vec<String> {
    let names_target = |source: &&Source| {
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

/// True if a value comes from a tag.
#[must_use]
pub(super) fn is_tag(value: &Value) -> bool {
    value.origin.starts_with("tag `")
}

#[cfg(test)]
mod tests {
    use super::super::sources::{Values, from_toml};
    use super::*;

    fn shown(values: &Values) -> Vec<String> {
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
            assert!(source.options.is_empty() && source.own.len() == 1, "whom to tell is still known");
        }
    }
}
