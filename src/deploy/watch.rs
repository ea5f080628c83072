//! Follows the events of a CloudFormation operation, and finds the failure that caused the others.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use crate::api::cloudformation::{CloudFormation, StackEvent};
use crate::api::service::ServiceError;
use crate::backoff::Backoff;
use crate::clock;

/// The type of a stack, among its resources.
const STACK: &str = "AWS::CloudFormation::Stack";

/// The wait before asking again what has happened doubles from the first to the second of these.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(4));

/// After so long without an event, the resources in progress are named: the first wait, and the longest one.
const QUIET: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// More resources than these are only counted.
const NAMED: usize = 4;

/// An operation has its first event within this time. Until then, the status may still be the previous one.
const PATIENCE: Duration = Duration::from_secs(30);

/// The end of an operation on a stack.
#[derive(Clone, Debug)]
pub(super) enum OperationEnd {
    /// The operation succeeded.
    Complete(String),
    /// The operation was rolled back, or the stack is stuck: the last status and the cause.
    Failed {
        /// Such as `ROLLBACK_COMPLETE`.
        status: String,
        /// The first failure.
        cause: Option<StackEvent>,
    },
    /// The operation still ran at the deadline.
    Late(String),
}

/// Something to show to the person who waits.
pub(super) enum StackProgress<'a> {
    /// An event, with how long its resource has taken and how many are done.
    Event(&'a StackEvent, Option<Duration>, usize),
    /// There was no event for some time; the text names the resources in progress.
    Quiet(String),
}

/// Receives the progress.
pub(super) type ShowProgress<'a> = &'a mut dyn FnMut(StackProgress<'_>);

/// Shows the events of a stack, by its ARN, after `since`, until no operation runs on it.
///
/// # Errors
/// [`ServiceError`]; the operation continues in AWS.
pub(super) async fn follow(
    cloud: &CloudFormation<'_>,
    stack: &str,
    since: Option<String>,
    deadline: Instant,
    show: ShowProgress<'_>,
) -> Result<OperationEnd, ServiceError> {
    let mut last = since;
    let mut seen = SeenEvents::default();
    let mut backoff = BACKOFF;
    let mut is_begun = false;
    let patience = Instant::now() + PATIENCE;
    let (mut quiet_since, mut quiet) = (Instant::now(), QUIET.0);
    loop {
        let is_believed = is_begun || Instant::now() >= patience;
        // The status comes first: the events that led to it are in the list that is read afterwards.
        let now = cloud.stack(stack).await?;
        for event in cloud.events(stack, last.as_deref()).await? {
            is_begun = true;
            let took = seen.note(&event);
            show(StackProgress::Event(&event, took, seen.done));
            last = Some(event.event_id);
            (quiet_since, quiet) = (Instant::now(), QUIET.0);
        }
        let status = now.map_or_else(|| "DELETE_COMPLETE".to_owned(), |stack| stack.stack_status);
        if is_believed && (!status.ends_with("_IN_PROGRESS") || status == "REVIEW_IN_PROGRESS") {
            let is_good = matches!(
                status.as_str(),
                "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "DELETE_COMPLETE" | "IMPORT_COMPLETE"
            );
            return Ok(if is_good {
                OperationEnd::Complete(status)
            } else {
                OperationEnd::Failed { status, cause: seen.cause }
            });
        }
        if Instant::now() >= deadline {
            return Ok(OperationEnd::Late(status));
        }
        if quiet_since.elapsed() >= quiet {
            show(StackProgress::Quiet(seen.pending(clock::now())));
            (quiet_since, quiet) = (Instant::now(), (quiet * 2).min(QUIET.1));
        }
        sleep(backoff.wait()).await;
    }
}

#[derive(Default)]
struct SeenEvents {
    /// When work on a resource began, and the type of the resource.
    began: HashMap<String, (SystemTime, Option<String>)>,
    done: usize,
    cause: Option<StackEvent>,
}

impl SeenEvents {
    fn note(&mut self, event: &StackEvent) -> Option<Duration> {
        let now = humantime::parse_rfc3339_weak(&event.timestamp).ok();
        let name = event.logical_resource_id.clone();
        let status = event.resource_status.as_str();
        if self.cause.is_none() && is_cause(event) {
            self.cause = Some(event.clone());
        }
        if status.ends_with("ROLLBACK_IN_PROGRESS") {
            // From here on, the count is of removals.
            self.done = 0;
        }
        if status.ends_with("_IN_PROGRESS") {
            if let Some(now) = now {
                self.began.entry(name).or_insert_with(|| (now, event.resource_type.clone()));
            }
            return None;
        }
        if event.resource_type.as_deref() != Some(STACK) {
            self.done += usize::from(status.ends_with("_COMPLETE"));
        }
        let (began, _) = self.began.remove(&name)?;
        now?.duration_since(began).ok()
    }

    /// Names the resources in progress and for how long; the longest comes first.
    fn pending(&self, now: SystemTime) -> String {
        let resources = self.began.iter().filter(|(_, (_, kind))| kind.as_deref() != Some(STACK));
        let mut all: Vec<(SystemTime, &String)> = resources.map(|(name, (since, _))| (*since, name)).collect();
        all.sort();
        let shown = all.iter().take(NAMED).map(|(since, name)| {
            let whole = Duration::from_secs(now.duration_since(*since).unwrap_or_default().as_secs());
            format!("{name} ({})", humantime::format_duration(whole))
        });
        let mut parts: Vec<String> = shown.collect();
        if all.len() > NAMED {
            parts.push(format!("{} more", all.len() - NAMED));
        }
        if parts.is_empty() { "AWS itself".to_owned() } else { parts.join(", ") }
    }
}

/// Returns true for a failure of its own, and not for one that follows from another.
fn is_cause(event: &StackEvent) -> bool {
    const FOLLOWING: [&str; 4] = [
        "Resource creation cancelled",
        "Resource update cancelled",
        "The following resource(s) failed",
        "Resource deletion cancelled",
    ];
    let reason = event.resource_status_reason.as_deref().unwrap_or_default();
    event.resource_status.ends_with("_FAILED") && !FOLLOWING.iter().any(|following| reason.starts_with(following))
}

/// Returns an instruction for a failure, as far as its text tells the cause.
#[must_use]
pub(super) fn hint(reason: &str) -> &'static str {
    const HINTS: &[(&[&str], &str)] = &[
        (
            &["assume the service linked role"],
            "IAM has just made this role of the service, and needs a minute until it can be used: run the command again",
        ),
        (
            &["not authorized to perform", "accessdenied"],
            "add the action that it names to the policy of the identity that deploys, or of the role of `--role-arn`",
        ),
        (
            &["dependen"],
            "a resource outside of the stacks depends on it: delete that resource, then run the command again",
        ),
        (&["already exists"], "a resource of that name is left over: delete it, or choose another `--prefix`"),
        (
            &["deletion protection"],
            "disable the protection: `aws elbv2 modify-load-balancer-attributes --attributes Key=deletion_protection.enabled,Value=false --load-balancer-arn …`, then run the command again",
        ),
        (
            &["expiredtoken", "security token"],
            "renew the session (`aws sso login`), then run the command again: it resumes where it stopped",
        ),
        (&["architecture"], "the image is for another architecture: bake one for Architecture, or choose the other"),
        (
            &["limit", "exceeded"],
            "a quota of the account is reached: have it raised in Service Quotas, or remove what is not needed",
        ),
        (
            &["parameternotfound"],
            "bake an image, which stores its id for the stacks, or name the parameter that holds an id with `--parameter AmiParameter=…`",
        ),
        (
            &["signal"],
            "the instance did not become ready, and its system log has the reason (`aws ec2 get-console-output --instance-id …`, up to an hour after its end); or EC2 did not start it, as `aws autoscaling describe-scaling-activities --include-deleted-groups` shows",
        ),
        (&["certificate"], "the certificate must be issued, and of this region"),
        (&["not supported"], "choose another region, zone or instance type"),
    ];
    let lower = reason.to_lowercase();
    HINTS
        .iter()
        .find(|(all, _)| all.iter().any(|words| lower.contains(words)))
        .map_or("correct it, then run the command again: it resumes where it stopped", |(_, hint)| hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, status: &str, at: &str, reason: &str) -> StackEvent {
        StackEvent {
            logical_resource_id: name.into(),
            resource_status: status.into(),
            timestamp: at.into(),
            resource_status_reason: (!reason.is_empty()).then(|| reason.into()),
            ..StackEvent::default()
        }
    }

    #[test]
    fn the_first_independent_failure_is_the_cause() {
        let mut seen = SeenEvents::default();
        seen.note(&event("A", "CREATE_IN_PROGRESS", "2026-01-01T00:00:00Z", ""));
        seen.note(&event("B", "CREATE_FAILED", "2026-01-01T00:00:01Z", "Resource creation cancelled"));
        seen.note(&event("A", "CREATE_FAILED", "2026-01-01T00:00:05Z", "You are not authorized to perform: ec2:X"));
        seen.note(&event("C", "CREATE_FAILED", "2026-01-01T00:00:06Z", "another"));
        let cause = seen.cause.expect("a cause");
        assert_eq!(cause.logical_resource_id, "A");
        assert!(hint(&cause.resource_status_reason.unwrap()).contains("the policy of the identity that deploys"));
    }

    #[test]
    fn a_resource_is_timed_from_its_first_event_to_its_last() {
        let mut seen = SeenEvents::default();
        assert_eq!(seen.note(&event("A", "CREATE_IN_PROGRESS", "2026-01-01T00:00:00.5Z", "")), None);
        assert_eq!(seen.note(&event("A", "CREATE_IN_PROGRESS", "2026-01-01T00:00:02Z", "")), None);
        let took = seen.note(&event("A", "CREATE_COMPLETE", "2026-01-01T00:00:10.5Z", ""));
        assert_eq!((took, seen.done), (Some(Duration::from_secs(10)), 1));
    }

    #[test]
    fn quiet_periods_name_the_resources_in_progress() {
        let mut seen = SeenEvents::default();
        let now = humantime::parse_rfc3339("2026-01-01T00:10:00Z").unwrap();
        assert_eq!(seen.pending(now), "AWS itself");
        let mut stack = event("mlflow-x", "CREATE_IN_PROGRESS", "2026-01-01T00:00:00Z", "");
        stack.resource_type = Some(STACK.into());
        seen.note(&stack);
        seen.note(&event("B", "CREATE_IN_PROGRESS", "2026-01-01T00:09:00.4Z", ""));
        seen.note(&event("A", "CREATE_IN_PROGRESS", "2026-01-01T00:01:30Z", ""));
        assert_eq!(seen.pending(now), "A (8m 30s), B (59s)");
        seen.note(&event("A", "CREATE_COMPLETE", "2026-01-01T00:10:00Z", ""));
        for name in ["C", "D", "E", "F"] {
            seen.note(&event(name, "CREATE_IN_PROGRESS", "2026-01-01T00:09:50Z", ""));
        }
        assert_eq!(seen.pending(now), "B (59s), C (10s), D (10s), E (10s), 1 more");
    }
}
