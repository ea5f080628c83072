//! The failures since the start, in a bounded number of groups, for the status page. A group has one error code, one caller and
//! one route, so that a client that repeats its request fills one row and displaces no other failure.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::SystemTime;

use crate::clock;
use crate::serve::telemetry::finished::FinishedRequest;

/// The number of groups that a worker keeps of each sort: those that need the operator's action, and the others. They are
/// kept apart, because requests with a wrong token are more frequent than outages.
const KEPT: usize = 25;

/// A failed request, without query, headers and body, as in the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedRequest {
    /// The time at which the request ended.
    pub time: SystemTime,
    pub request_id: String,
    pub method: String,
    pub path: String,
    /// The action, if the request was routed.
    pub action: Option<&'static str>,
    /// The name of the caller, if the request was authenticated.
    pub caller: Option<String>,
    pub role: Option<&'static str>,
    /// The client address.
    pub client: Option<IpAddr>,
    /// The target's index.
    pub target: Option<usize>,
    pub status: Option<u16>,
    /// The error code.
    pub error_code: &'static str,
    /// The full description of the failure.
    pub cause: Option<String>,
    /// True if the failure needs the operator's action.
    pub concerns_operator: bool,
}

impl FailedRequest {
    /// Takes what is shown of a request that failed with this error code.
    pub(super) fn of(request: &FinishedRequest<'_>, error_code: &'static str) -> Self {
        Self {
            time: clock::now(),
            request_id: request.request_id.to_owned(),
            method: request.method.to_string(),
            path: request.path.to_owned(),
            action: request.action,
            caller: request.caller.map(|caller| caller.name.clone()),
            role: request.caller.map(|caller| caller.role.as_str()),
            client: request.client,
            target: request.target,
            status: request.status.map(|status| status.as_u16()),
            error_code,
            cause: request.cause.map(ToOwned::to_owned),
            concerns_operator: request.concerns_operator(),
        }
    }
}

/// Failures of one error code, caller and route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailureGroup {
    /// The number of failures.
    pub count: u64,
    /// The time of the first.
    pub first: SystemTime,
    /// The last of them.
    pub last: FailedRequest,
}

impl FailureGroup {
    fn new(failure: FailedRequest) -> Self {
        Self { count: 1, first: failure.time, last: failure }
    }

    fn includes(&self, failure: &FailedRequest) -> bool {
        let key =
            |one: &FailedRequest| (one.error_code, one.status, one.action, one.role, one.target, one.concerns_operator);
        key(&self.last) == key(failure) && self.last.caller == failure.caller
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        if other.last.time >= self.last.time {
            self.last = other.last;
        }
    }
}

/// The groups that one worker keeps.
#[derive(Debug, Default)]
pub(crate) struct RecentFailures {
    ours: VecDeque<FailureGroup>,
    others: VecDeque<FailureGroup>,
}

impl RecentFailures {
    /// Adds a failure. If there are too many groups of its sort, the one without a failure for the longest time is dropped.
    pub(crate) fn push(&mut self, mut failure: FailedRequest) {
        clip(&mut failure.path);
        clip(&mut failure.method);
        failure.cause.iter_mut().for_each(clip);
        let sort = if failure.concerns_operator { &mut self.ours } else { &mut self.others };
        // The last group is the newest, and often the one that goes on.
        let known = sort.iter().rposition(|group| group.includes(&failure)).and_then(|at| sort.remove(at));
        let group = match known {
            Some(mut group) => {
                group.add(FailureGroup::new(failure));
                group
            }
            None => FailureGroup::new(failure),
        };
        if sort.len() == KEPT {
            sort.pop_front();
        }
        sort.push_back(group);
    }

    /// Returns all groups, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &FailureGroup> {
        self.ours.iter().chain(&self.others)
    }
}

/// The maximum length in bytes of a path or a cause on the status page. The access log has all of it.
const CLIPPED: usize = 300;

fn clip(text: &mut String) {
    if text.len() > CLIPPED {
        text.truncate(text.floor_char_boundary(CLIPPED));
        text.push('…');
        text.shrink_to_fit();
    }
}

/// Returns the newest groups of several workers, the newest first. Of each sort there are at most as many as one worker keeps.
pub(crate) fn newest(all: impl Iterator<Item = FailureGroup>) -> Vec<FailureGroup> {
    let mut groups: Vec<FailureGroup> = Vec::new();
    for group in all {
        match groups.iter_mut().find(|known| known.includes(&group.last)) {
            Some(known) => known.add(group),
            None => groups.push(group),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.last.time));
    let (mut ours, mut others) = (0, 0);
    groups.retain(|group| {
        let seen = if group.last.concerns_operator { &mut ours } else { &mut others };
        *seen += 1;
        *seen <= KEPT
    });
    groups
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn failure(second: u64, concerns_operator: bool) -> FailedRequest {
        FailedRequest {
            time: UNIX_EPOCH + Duration::from_secs(second),
            request_id: second.to_string(),
            method: "GET".into(),
            path: format!("/{second}"),
            action: None,
            caller: None,
            role: None,
            client: None,
            target: None,
            status: Some(if concerns_operator { 502 } else { 401 }),
            error_code: "other",
            cause: None,
            concerns_operator,
        }
    }

    /// A failure of a caller of its own, and so of a group of its own.
    fn of_caller(second: u64, concerns_operator: bool) -> FailedRequest {
        FailedRequest { caller: Some(format!("caller-{second}")), ..failure(second, concerns_operator) }
    }

    #[test]
    fn failures_of_one_kind_caller_and_route_are_one_group() {
        let mut recent = RecentFailures::default();
        for second in [5, 6, 9] {
            recent.push(failure(second, false));
        }
        recent.push(FailedRequest { action: Some("runs:get"), ..failure(7, false) });
        recent.push(of_caller(8, false));
        recent.push(FailedRequest { error_code: "rate-limited", ..failure(8, false) });
        recent.push(failure(8, true));
        assert_eq!(recent.all().count(), 5);
        let group = recent.all().find(|group| group.count == 3).expect("three are alike");
        assert_eq!((group.first, &*group.last.path), (UNIX_EPOCH + Duration::from_secs(5), "/9"));
    }

    #[test]
    fn frequent_client_errors_do_not_displace_an_outage() {
        let mut recent = RecentFailures::default();
        recent.push(failure(1, true));
        for second in 2..1000 {
            recent.push(of_caller(second, false));
        }
        assert_eq!(recent.all().count(), KEPT + 1);
        assert!(recent.all().any(|group| group.last.concerns_operator));
    }

    #[test]
    fn a_group_that_goes_on_is_not_displaced() {
        let mut recent = RecentFailures::default();
        for second in 0..1000 {
            recent.push(of_caller(second, false));
            recent.push(failure(second, false));
        }
        assert_eq!(recent.all().count(), KEPT);
        assert!(recent.all().any(|group| group.count == 1000));
    }

    #[test]
    fn long_paths_and_causes_are_shortened() {
        let mut recent = RecentFailures::default();
        recent.push(FailedRequest { path: "/ü".repeat(10_000), cause: Some("é".repeat(200)), ..failure(1, false) });
        let kept = &recent.all().next().expect("it was pushed").last;
        assert!(kept.path.len() <= CLIPPED + '…'.len_utf8() && kept.path.ends_with('…'), "{}", kept.path);
        assert!(kept.cause.as_ref().is_some_and(|cause| cause.chars().count() == 151));
    }

    #[test]
    fn the_newest_failures_come_first_and_are_bounded() {
        let one = |second: u64| FailureGroup::new(of_caller(second, second.is_multiple_of(2)));
        let newest = newest((0..200).map(one));
        assert_eq!(newest.len(), 2 * KEPT);
        assert!(newest.windows(2).all(|pair| pair[0].last.time >= pair[1].last.time));
        assert_eq!(newest[0].last.request_id, "199");
    }

    #[test]
    fn groups_of_several_workers_are_added_up() {
        let group = |first: u64, last: u64| {
            let mut group = FailureGroup::new(failure(first, true));
            group.add(FailureGroup::new(failure(last, true)));
            group
        };
        let all = newest([group(5, 20), group(3, 9), group(7, 12)].into_iter());
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].count, all[0].first), (6, UNIX_EPOCH + Duration::from_secs(3)));
        assert_eq!(all[0].last.request_id, "20");
    }
}
