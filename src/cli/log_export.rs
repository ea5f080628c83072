//! The settings of the export to CloudWatch Logs: the group, the contents, and the name of this machine.

use std::sync::Arc;

use rustls::ClientConfig;

use super::options::TelemetryOptions;
use super::probe_settings;
use super::problems::Problems;
use super::trust::dialer;
use crate::api::log_events::LogGroup;
use crate::aws::regional_host;
use crate::http::client::Endpoint;
use crate::proxy::Proxies;
use crate::serve::{LogContent, LogExportSettings, LogQueue};

const HINT_GROUP: &str =
    "write the name of a log group, as in `/mlflow/appliance`, or copy its ARN from the CloudWatch console";
const HINT_CONTENT: &str = "write one or more of `log`, `audit` and `metrics`, separated by commas";
const HINT_MACHINE: &str = "write letters, digits and `.-_/#`, as in `i-0123456789abcdef0`";
/// The longest name of a group, and what remains of a stream's for the machine.
const GROUP_LENGTH: usize = 512;
const MACHINE_LENGTH: usize = 256;

/// The settings of the export; none if no group is configured. A group without a region of its own is in `region`.
pub(super) fn resolve(
    options: &TelemetryOptions,
    region: &str,
    (tls, proxies): (Option<&Arc<ClientConfig>>, &Proxies),
    problems: &mut Problems,
) -> Option<LogExportSettings> {
    let given = options.cloudwatch_log_group.as_ref();
    let group = problems.read(given, HINT_GROUP, group);
    let contents = problems.read(options.cloudwatch_log_content.as_ref(), HINT_CONTENT, contents);
    let machine = problems.read(options.cloudwatch_log_machine.as_ref(), HINT_MACHINE, machine);
    if let (None, Some(idle)) = (given, &options.cloudwatch_log_content) {
        let text = "this has no effect, because nothing is sent to CloudWatch Logs";
        problems.add(&idle.origin, text, "set `cloudwatch-log-group`, or remove this option");
    }
    let (own_region, name) = group?;
    let region = own_region.unwrap_or_else(|| region.to_owned());
    let endpoint =
        probe_settings::service("CLOUDWATCH_LOGS").unwrap_or_else(|| Endpoint::https(regional_host("logs", &region)));
    let contents = contents.unwrap_or_else(|| vec![LogContent::Log, LogContent::Audit]);
    Some(LogExportSettings {
        dialer: dialer(&endpoint, tls?, proxies),
        group: LogGroup { name, region, endpoint },
        machine: machine.unwrap_or_else(host),
        queues: contents.into_iter().map(|content| Arc::new(LogQueue::new(content))).collect(),
    })
}

fn is_name(text: &str, length: usize) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte);
    !text.is_empty() && text.len() <= length && text.bytes().all(is_plain)
}

/// The region, if the text is an ARN, and the name.
fn group(text: &str) -> Result<(Option<String>, String), String> {
    const UNFIT: &str = "a name has 1 to 512 letters, digits and `.-_/#`";
    let named = |name: &str| if is_name(name, GROUP_LENGTH) { Ok(name.to_owned()) } else { Err(UNFIT.to_owned()) };
    if !text.starts_with("arn:") {
        return Ok((None, named(text)?));
    }
    // The console adds an asterisk for the streams.
    let parts: Vec<&str> = text.strip_suffix(":*").unwrap_or(text).split(':').collect();
    let [_, _, "logs", region, _, "log-group", name] = parts[..] else {
        return Err("not the ARN of a log group".to_owned());
    };
    let is_region = region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if region.is_empty() || !is_region {
        return Err("the ARN has no region".to_owned());
    }
    Ok((Some(region.to_owned()), named(name)?))
}

fn contents(text: &str) -> Result<Vec<LogContent>, String> {
    let mut contents = Vec::new();
    for word in text.split(',').map(str::trim) {
        let content = LogContent::parse(word).ok_or_else(|| format!("`{}` is not a content", word.escape_debug()))?;
        if contents.contains(&content) {
            return Err(format!("`{word}` occurs twice"));
        }
        contents.push(content);
    }
    Ok(contents)
}

fn machine(text: &str) -> Result<String, String> {
    if is_name(text, MACHINE_LENGTH) {
        Ok(text.to_owned())
    } else {
        Err("a name has 1 to 256 letters, digits and `.-_/#`".to_owned())
    }
}

/// The host's name, in characters that a stream's name may have.
fn host() -> String {
    let host: String = super::host_name::read().unwrap_or_default();
    let plain = |one: char| if one.is_ascii_alphanumeric() || ".-_".contains(one) { one } else { '-' };
    let host: String = host.trim().chars().map(plain).take(MACHINE_LENGTH).collect();
    if host.is_empty() { "unnamed".to_owned() } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_name_or_an_arn() {
        for (text, region, name) in [
            ("mlflow", None, "mlflow"),
            ("/mlflow/a.b_c#d", None, "/mlflow/a.b_c#d"),
            ("arn:aws:logs:eu-west-1:123456789012:log-group:mlflow", Some("eu-west-1"), "mlflow"),
            ("arn:aws-cn:logs:cn-north-1:123456789012:log-group:/a/b:*", Some("cn-north-1"), "/a/b"),
        ] {
            let expected = (region.map(ToOwned::to_owned), name.to_owned());
            assert_eq!(group(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "a b",
            "a:b",
            "a*",
            "arn:aws:logs:eu-west-1:123456789012:log-group:",
            "arn:aws:logs::123456789012:log-group:a",
            "arn:aws:logs:eu-west-1.example.com/:123456789012:log-group:a",
            "arn:aws:s3:::bucket",
            "arn:aws:logs:eu-west-1:123456789012:log-group:a:log-stream:b",
            &"x".repeat(513),
        ] {
            assert!(group(text).is_err(), "{text}");
        }
    }

    #[test]
    fn contents_are_known_words_and_occur_once() {
        assert_eq!(contents("audit"), Ok(vec![LogContent::Audit]));
        assert_eq!(contents("log, metrics"), Ok(vec![LogContent::Log, LogContent::Metrics]));
        for text in ["", "log,", "Log", "log,log", "access"] {
            assert!(contents(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_machine_has_a_name_that_a_stream_may_have() {
        assert!(machine("i-0123456789abcdef0").is_ok());
        for text in ["", "a:b", "a*b", "a b"] {
            assert!(machine(text).is_err(), "{text}");
        }
        assert!(machine(&host()).is_ok(), "{}", host());
    }
}
