//! Tells those who wait how the start went: CloudFormation, a wait condition, an Auto Scaling lifecycle hook.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use url::{Position, Url};

use super::plan::Signals;
use super::{Say, Settings, credentials, service};
use crate::api::imds::InstanceIdentity;
use crate::api::query::{self, QueryError};
use crate::backoff::Backoff;
use crate::error_chain;
use crate::http::client::Endpoint;

/// The wait between attempts doubles from the first to the second of these.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// As long as one of them is tried: whoever waits has a patience of its own.
const LIMIT: Duration = Duration::from_mins(1);

/// The word for a start that succeeded.
const SUCCESS: &str = "success";

/// Somebody who waits.
enum Recipient<'a> {
    Stack(&'a str, &'a str),
    WaitHandle(&'a str),
    Lifecycle(&'a str, &'a str),
}

impl fmt::Display for Recipient<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stack(stack, resource) => write!(formatter, "CloudFormation stack `{stack}`, resource `{resource}`"),
            // SECURITY: whoever has the URL can signal.
            Self::WaitHandle(_) => formatter.write_str("the wait condition"),
            Self::Lifecycle(group, hook) => write!(formatter, "Auto Scaling group `{group}`, hook `{hook}`"),
        }
    }
}

/// Why one was not told.
#[derive(Debug, thiserror::Error)]
enum SignalError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("`wait-handle` is not the URL of a wait condition of CloudFormation in this region")]
    Handle,
}

/// Tells all of them; `told` remembers what has been said, so that a reboot does not say it again. True if all know.
pub(super) async fn tell(
    settings: &Settings,
    signals: &Signals,
    identity: &InstanceIdentity,
    outcome: Result<(), &str>,
    told: &mut Vec<String>,
    say: Say<'_>,
) -> bool {
    let word = if outcome.is_ok() { SUCCESS } else { "failure" };
    let mut all_know = true;
    for recipient in recipients(signals) {
        let memory = memory(&recipient, word);
        if told.contains(&memory) {
            continue;
        }
        match insist(settings, &recipient, identity, outcome).await {
            Ok(()) => {
                say(&format!("told {memory}"));
                told.push(memory);
            }
            Err(error) => {
                say(&format!("could not tell {memory}: {}", error_chain::joined(&error)));
                all_know = false;
            }
        }
    }
    all_know
}

/// Everybody who waits.
fn recipients(signals: &Signals) -> impl Iterator<Item = Recipient<'_>> {
    let stack = signals.stack.iter().map(|(stack, resource)| Recipient::Stack(stack, resource));
    let handle = signals.wait_handle.iter().map(|url| Recipient::WaitHandle(url));
    let lifecycle = signals.lifecycle.iter().map(|(group, hook)| Recipient::Lifecycle(group, hook));
    stack.chain(handle).chain(lifecycle)
}

/// True if somebody still waits to hear of a success.
pub(super) fn is_awaited(signals: &Signals, told: &[String]) -> bool {
    recipients(signals).any(|recipient| !told.contains(&memory(&recipient, SUCCESS)))
}

/// The line by which it is remembered that a recipient has been told this.
fn memory(recipient: &Recipient<'_>, word: &str) -> String {
    format!("{recipient}: {word}")
}

async fn insist(
    settings: &Settings,
    recipient: &Recipient<'_>,
    identity: &InstanceIdentity,
    outcome: Result<(), &str>,
) -> Result<(), SignalError> {
    let end = Instant::now() + LIMIT;
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    loop {
        let wait = backoff.wait();
        match once(settings, recipient, identity, outcome).await {
            Err(error) if may_pass(&error) && Instant::now() + wait < end => sleep(wait).await,
            result => return result,
        }
    }
}

fn may_pass(error: &SignalError) -> bool {
    match error {
        SignalError::Query(error) => error.may_pass(),
        SignalError::Handle => false,
    }
}

async fn once(
    settings: &Settings,
    recipient: &Recipient<'_>,
    identity: &InstanceIdentity,
    outcome: Result<(), &str>,
) -> Result<(), SignalError> {
    let (transport, region) = (&settings.transport, identity.region.as_str());
    match *recipient {
        Recipient::Stack(stack, resource) => {
            let endpoint = service(settings.services.cloudformation.as_ref(), "cloudformation", region);
            query::signal_resource(transport, &endpoint, (stack, resource), identity, outcome.is_ok()).await?;
        }
        Recipient::WaitHandle(url) => {
            let (endpoint, target) = handle(url, region).ok_or(SignalError::Handle)?;
            query::signal_wait_handle(transport, &endpoint, &target, &identity.instance, outcome).await?;
        }
        Recipient::Lifecycle(group, hook) => {
            let endpoint = service(settings.services.auto_scaling.as_ref(), "autoscaling", region);
            let credentials = credentials(settings, region).await;
            let (place, names) = ((&endpoint, region), (group, hook));
            query::complete_lifecycle_action(
                transport,
                place,
                names,
                &identity.instance,
                outcome.is_ok(),
                &credentials,
            )
            .await?;
        }
    }
    Ok(())
}

/// Where the presigned URL of a wait condition leads: to CloudFormation's own bucket in the region.
///
/// SECURITY: an instance inside a network would otherwise send a request to any host that somebody names.
fn handle(text: &str, region: &str) -> Option<(Endpoint, String)> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.username().is_empty())?;
    let host = url.host_str()?.to_owned();
    let service = host.strip_prefix("cloudformation-waitcondition-")?.strip_prefix(region)?;
    let regional = [format!(".s3.{region}.amazonaws.com"), format!(".s3-{region}.amazonaws.com")];
    let domain = service.strip_suffix(".cn").unwrap_or(service);
    if url.port().is_some() || !(domain == ".s3.amazonaws.com" || regional.iter().any(|known| known == domain)) {
        return None;
    }
    let endpoint = Endpoint::https(host);
    Some((endpoint, url[Position::BeforePath..Position::AfterQuery].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_handles_are_urls_to_be_sent_as_they_are() {
        let text =
            "https://cloudformation-waitcondition-us-east-1.s3.amazonaws.com/arn%3Aaws?Expires=1&Signature=a%2Fb";
        let (endpoint, target) = handle(text, "us-east-1").expect("a URL");
        assert_eq!(
            (endpoint.host.as_str(), endpoint.port),
            ("cloudformation-waitcondition-us-east-1.s3.amazonaws.com", 443)
        );
        assert_eq!(target, "/arn%3Aaws?Expires=1&Signature=a%2Fb");
    }

    #[test]
    fn wait_handles_are_of_cloudformation() {
        for (host, region) in [
            ("cloudformation-waitcondition-eu-west-1.s3.eu-west-1.amazonaws.com", "eu-west-1"),
            ("cloudformation-waitcondition-eu-west-1.s3-eu-west-1.amazonaws.com", "eu-west-1"),
            ("cloudformation-waitcondition-cn-north-1.s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ] {
            assert!(handle(&format!("https://{host}/x?y"), region).is_some(), "{host}");
        }
        for url in [
            "x",
            "http://127.0.0.1/x",
            "http://cloudformation-waitcondition-us-east-1.s3.amazonaws.com/x",
            "https://cloudformation-waitcondition-us-east-1.s3.amazonaws.com:8443/x",
            "https://user@cloudformation-waitcondition-us-east-1.s3.amazonaws.com/x",
            "https://evil.example/x",
            "https://evil.example/cloudformation-waitcondition-us-east-1.s3.amazonaws.com",
            "https://cloudformation-waitcondition-us-east-1.s3.amazonaws.com.evil.example/x",
            "https://cloudformation-waitcondition-us-east-1.evil.example/.s3.amazonaws.com",
            "https://cloudformation-waitcondition-us-east-1@evil.example/x",
            "https://evil.cloudformation-waitcondition-us-east-1.s3.amazonaws.com/x",
            "https://cloudformation-waitcondition-evil.s3.amazonaws.com/x",
            "https://cloudformation-waitcondition-us-east-1.execute-api.us-east-1.amazonaws.com/x",
            "https://169.254.169.254/latest/meta-data/",
        ] {
            assert!(handle(url, "us-east-1").is_none(), "{url}");
        }
    }
}
