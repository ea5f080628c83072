//! Sends the readiness signals: to CloudFormation, to a wait condition and to an Auto Scaling lifecycle hook.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use url::{Position, Url};

use super::plan::ReadinessSignals;
use super::services::{credentials, endpoint};
use super::settings::{BootstrapSettings, Say};
use crate::api::imds::InstanceIdentity;
use crate::api::query::{self, QueryError};
use crate::backoff::Backoff;
use crate::error_chain;
use crate::http::client::Endpoint;

/// The wait between attempts doubles from the first to the second of these.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// The time in which one signal is retried. The recipients have timeouts of their own.
const LIMIT: Duration = Duration::from_mins(1);

/// The name of a successful start in the record.
const SUCCESS: &str = "success";

/// The recipient of a readiness signal.
enum Recipient<'a> {
    Stack(&'a str, &'a str),
    WaitHandle(&'a str),
    Lifecycle(&'a str, &'a str),
}

impl fmt::Display for Recipient<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stack(stack, resource) => write!(formatter, "CloudFormation stack `{stack}`, resource `{resource}`"),
            // SECURITY: anyone who has the URL can signal.
            Self::WaitHandle(_) => formatter.write_str("the wait condition"),
            Self::Lifecycle(group, hook) => write!(formatter, "Auto Scaling group `{group}`, hook `{hook}`"),
        }
    }
}

/// The reason why a signal was not sent.
#[derive(Debug, thiserror::Error)]
enum SignalError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("`wait-handle` is not the URL of a wait condition of CloudFormation in this region")]
    Handle,
}

/// Sends all signals. `sent` records them, so that a reboot does not send them again. Returns true if all were sent.
pub(super) async fn send_all(
    settings: &BootstrapSettings,
    signals: &ReadinessSignals,
    identity: &InstanceIdentity,
    outcome: Result<(), &str>,
    sent: &mut Vec<String>,
    say: Say<'_>,
) -> bool {
    let word = if outcome.is_ok() { SUCCESS } else { "failure" };
    let mut are_all_sent = true;
    for recipient in recipients(signals) {
        let entry = entry(&recipient, word);
        if sent.contains(&entry) {
            continue;
        }
        match send_with_retries(settings, &recipient, identity, outcome).await {
            Ok(()) => {
                say(&format!("sent readiness signal to {entry}"));
                sent.push(entry);
            }
            Err(error) if is_unawaited(&error) => {
                say(&format!("no readiness signal is needed: {recipient} waits for none now"));
                sent.push(entry);
            }
            Err(error) => {
                say(&format!("cannot send readiness signal to {entry}: {}", error_chain::joined(&error)));
                are_all_sent = false;
            }
        }
    }
    are_all_sent
}

/// Returns all recipients.
fn recipients(signals: &ReadinessSignals) -> impl Iterator<Item = Recipient<'_>> {
    let stack = signals.stack.iter().map(|(stack, resource)| Recipient::Stack(stack, resource));
    let handle = signals.wait_handle.iter().map(|url| Recipient::WaitHandle(url));
    let lifecycle = signals.lifecycle.iter().map(|(group, hook)| Recipient::Lifecycle(group, hook));
    stack.chain(handle).chain(lifecycle)
}

/// Returns true if a signal of success has not been sent yet.
pub(super) fn is_pending(signals: &ReadinessSignals, sent: &[String]) -> bool {
    recipients(signals).any(|recipient| !sent.contains(&entry(&recipient, SUCCESS)))
}

/// Returns the entry of the record for a recipient and a result.
fn entry(recipient: &Recipient<'_>, word: &str) -> String {
    format!("{recipient}: {word}")
}

async fn send_with_retries(
    settings: &BootstrapSettings,
    recipient: &Recipient<'_>,
    identity: &InstanceIdentity,
    outcome: Result<(), &str>,
) -> Result<(), SignalError> {
    let end = Instant::now() + LIMIT;
    let mut backoff = Backoff::new(WAITS.0, WAITS.1);
    loop {
        let wait = backoff.wait();
        match send_once(settings, recipient, identity, outcome).await {
            Err(error) if is_transient(&error) && Instant::now() + wait < end => sleep(wait).await,
            result => return result,
        }
    }
}

/// Returns true if the stack waits for no signal, as when Auto Scaling starts an instance between two operations of
/// CloudFormation: for more load, in place of an unhealthy one, or in an instance refresh.
fn is_unawaited(error: &SignalError) -> bool {
    let SignalError::Query(QueryError::Refused { text, .. }) = error else { return false };
    text.starts_with("ValidationError")
        && ["cannot be signaled", "can not be signaled"].iter().any(|of| text.contains(of))
}

fn is_transient(error: &SignalError) -> bool {
    match error {
        SignalError::Query(error) => error.is_temporary(),
        SignalError::Handle => false,
    }
}

async fn send_once(
    settings: &BootstrapSettings,
    recipient: &Recipient<'_>,
    identity: &InstanceIdentity,
    outcome: Result<(), &str>,
) -> Result<(), SignalError> {
    let (transport, region) = (&settings.transport, identity.region.as_str());
    match *recipient {
        Recipient::Stack(stack, resource) => {
            let endpoint = endpoint(settings.services.cloudformation.as_ref(), "cloudformation", region);
            query::signal_resource(transport, &endpoint, (stack, resource), identity, outcome.is_ok()).await?;
        }
        Recipient::WaitHandle(url) => {
            let (endpoint, target) = wait_handle_endpoint(url, region).ok_or(SignalError::Handle)?;
            query::signal_wait_handle(transport, &endpoint, &target, &identity.instance, outcome).await?;
        }
        Recipient::Lifecycle(group, hook) => {
            let endpoint = endpoint(settings.services.auto_scaling.as_ref(), "autoscaling", region);
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

/// Returns the endpoint and the path of the presigned URL of a wait condition, which leads to CloudFormation's own bucket in
/// the region.
///
/// SECURITY: an instance inside a network would otherwise send a request to any host that a tag or user data names.
fn wait_handle_endpoint(text: &str, region: &str) -> Option<(Endpoint, String)> {
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
    fn the_url_of_a_wait_handle_is_sent_unchanged() {
        let text =
            "https://cloudformation-waitcondition-us-east-1.s3.amazonaws.com/arn%3Aaws?Expires=1&Signature=a%2Fb";
        let (endpoint, target) = wait_handle_endpoint(text, "us-east-1").expect("a URL");
        assert_eq!(
            (endpoint.host.as_str(), endpoint.port),
            ("cloudformation-waitcondition-us-east-1.s3.amazonaws.com", 443)
        );
        assert_eq!(target, "/arn%3Aaws?Expires=1&Signature=a%2Fb");
    }

    #[test]
    fn only_wait_handles_of_cloudformation_are_accepted() {
        for (host, region) in [
            ("cloudformation-waitcondition-eu-west-1.s3.eu-west-1.amazonaws.com", "eu-west-1"),
            ("cloudformation-waitcondition-eu-west-1.s3-eu-west-1.amazonaws.com", "eu-west-1"),
            ("cloudformation-waitcondition-cn-north-1.s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ] {
            assert!(wait_handle_endpoint(&format!("https://{host}/x?y"), region).is_some(), "{host}");
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
            assert!(wait_handle_endpoint(url, "us-east-1").is_none(), "{url}");
        }
    }
}
