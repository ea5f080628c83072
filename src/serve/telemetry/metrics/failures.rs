//! What failed lately, for people to look at: a fixed number of requests, the newest.

use std::collections::VecDeque;
use std::time::SystemTime;

/// How many are kept, for each worker: of those that the operator has to do something about, and of the others. Apart,
/// because a stranger with a wrong token comes more often than an outage.
const KEPT: usize = 25;

/// One request that failed. No query, no header and no body, as in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// When it ended.
    pub time: SystemTime,
    pub request_id: String,
    pub method: String,
    pub path: String,
    /// The target's index.
    pub target: Option<usize>,
    pub status: Option<u16>,
    /// As in the list of explanations.
    pub kind: &'static str,
    /// What happened, in full.
    pub cause: Option<String>,
    /// Whether the operator has to do something.
    pub is_ours: bool,
}

/// What one worker remembers.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    ours: VecDeque<Failure>,
    others: VecDeque<Failure>,
}

impl Recent {
    /// Remembers a failure, and forgets the oldest of its sort.
    pub(crate) fn push(&mut self, mut failure: Failure) {
        clip(&mut failure.path);
        failure.cause.iter_mut().for_each(clip);
        let sort = if failure.is_ours { &mut self.ours } else { &mut self.others };
        if sort.len() == KEPT {
            sort.pop_front();
        }
        sort.push_back(failure);
    }

    /// All, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Failure> {
        self.ours.iter().chain(&self.others)
    }
}

/// Bytes of a path or a cause that are kept: what a person wants to read. The log has all of it.
const CLIPPED: usize = 300;

fn clip(text: &mut String) {
    if text.len() > CLIPPED {
        text.truncate(text.floor_char_boundary(CLIPPED));
        text.push('…');
        text.shrink_to_fit();
    }
}

/// The newest of what several workers remember, newest first, as many of each sort as one of them keeps.
#[must_use]
pub(crate) fn newest(mut all: Vec<Failure>) -> Vec<Failure> {
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

    fn failure(second: u64, is_ours: bool) -> Failure {
        Failure {
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
    fn strangers_do_not_push_an_outage_out() {
        let mut recent = Recent::default();
        recent.push(failure(1, true));
        for second in 2..1000 {
            recent.push(failure(second, false));
        }
        assert_eq!(recent.all().count(), KEPT + 1);
        assert!(recent.all().any(|failure| failure.is_ours));
    }

    #[test]
    fn what_a_stranger_sends_is_kept_short() {
        let mut recent = Recent::default();
        recent.push(Failure { path: "/ü".repeat(10_000), cause: Some("é".repeat(200)), ..failure(1, false) });
        let kept = recent.all().next().expect("it was pushed");
        assert!(kept.path.len() <= CLIPPED + '…'.len_utf8() && kept.path.ends_with('…'), "{}", kept.path);
        assert!(kept.cause.as_ref().is_some_and(|cause| cause.chars().count() == 151));
    }

    #[test]
    fn the_newest_come_first_and_are_bounded() {
        let all = (0..200).map(|second| failure(second, second % 2 == 0)).collect();
        let newest = newest(all);
        assert_eq!(newest.len(), 2 * KEPT);
        assert!(newest.windows(2).all(|pair| pair[0].time >= pair[1].time));
        assert_eq!(newest[0].request_id, "199");
    }
}
