//! The newest failed requests, a fixed number of them, for the status page.

use std::collections::VecDeque;
use std::time::SystemTime;

/// The number of failures that a worker keeps of each sort: those that need the operator's action, and the others. They are
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
    /// The target's index.
    pub target: Option<usize>,
    pub status: Option<u16>,
    /// The error code.
    pub kind: &'static str,
    /// The full description of the failure.
    pub cause: Option<String>,
    /// True if the failure needs the operator's action.
    pub is_ours: bool,
}

/// The failures that one worker keeps.
#[derive(Debug, Default)]
pub(crate) struct RecentFailures {
    ours: VecDeque<FailedRequest>,
    others: VecDeque<FailedRequest>,
}

impl RecentFailures {
    /// Adds a failure, and drops the oldest of its sort if there are too many.
    pub(crate) fn push(&mut self, mut failure: FailedRequest) {
        clip(&mut failure.path);
        failure.cause.iter_mut().for_each(clip);
        let sort = if failure.is_ours { &mut self.ours } else { &mut self.others };
        if sort.len() == KEPT {
            sort.pop_front();
        }
        sort.push_back(failure);
    }

    /// Returns all failures, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &FailedRequest> {
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

/// Returns the newest failures of several workers, the newest first. Of each sort there are at most as many as one worker keeps.
#[must_use]
pub(crate) fn newest(mut all: Vec<FailedRequest>) -> Vec<FailedRequest> {
    all.sort_by_key(|failure| std::cmp::Reverse(failure.time));
    let (mut ours, mut others) = (0, 0);
    all.retain(|failure| {
        let seen = if failure.is_ours { &mut ours } else { &mut others };
        *seen += 1;
        *seen <= KEPT
    });
    all
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn failure(second: u64, is_ours: bool) -> FailedRequest {
        FailedRequest {
            time: UNIX_EPOCH + Duration::from_secs(second),
            request_id: second.to_string(),
            method: "GET".into(),
            path: "/x".into(),
            target: None,
            status: Some(if is_ours { 502 } else { 401 }),
            kind: "other",
            cause: None,
            is_ours,
        }
    }

    #[test]
    fn frequent_client_errors_do_not_displace_an_outage() {
        let mut recent = RecentFailures::default();
        recent.push(failure(1, true));
        for second in 2..1000 {
            recent.push(failure(second, false));
        }
        assert_eq!(recent.all().count(), KEPT + 1);
        assert!(recent.all().any(|failure| failure.is_ours));
    }

    #[test]
    fn long_paths_and_causes_are_shortened() {
        let mut recent = RecentFailures::default();
        recent.push(FailedRequest { path: "/ü".repeat(10_000), cause: Some("é".repeat(200)), ..failure(1, false) });
        let kept = recent.all().next().expect("it was pushed");
        assert!(kept.path.len() <= CLIPPED + '…'.len_utf8() && kept.path.ends_with('…'), "{}", kept.path);
        assert!(kept.cause.as_ref().is_some_and(|cause| cause.chars().count() == 151));
    }

    #[test]
    fn the_newest_failures_come_first_and_are_bounded() {
        let all = (0..200).map(|second| failure(second, second % 2 == 0)).collect();
        let newest = newest(all);
        assert_eq!(newest.len(), 2 * KEPT);
        assert!(newest.windows(2).all(|pair| pair[0].time >= pair[1].time));
        assert_eq!(newest[0].request_id, "199");
    }
}
