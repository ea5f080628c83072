//! The figures of callers, as the status page shows them: a bounded number of rows, and the sum of all others.
//!
//! Each worker has its own rows. It counts in their cells without a lock, and takes the lock only when a caller appears or
//! is replaced.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use crate::access::caller::{AuthMethod, Role};
use crate::serve::telemetry::finished::{FinishedRequest, RequestOutcome};

/// The number of callers that a worker, and the status page, tell apart. Of more callers, those that were seen least recently are
/// counted together.
pub(crate) const CALLER_LIMIT: usize = 200;

/// The figures of one caller, or their sum over several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallerFigures {
    pub requests: u64,
    pub rejected: u64,
    pub failed: u64,
    pub uploaded: u64,
    pub downloaded: u64,
    /// The presigned URLs for downloads and for uploads.
    pub presigned: [u64; 2],
    /// The time of the last request's end, in milliseconds since the start.
    pub last_seen: u64,
    /// The end of the token in the last request, in seconds since 1970; 0 if it has none.
    pub token_expires: u64,
}

impl CallerFigures {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.uploaded += other.uploaded;
        self.downloaded += other.downloaded;
        for (sum, more) in self.presigned.iter_mut().zip(other.presigned) {
            *sum += more;
        }
        if other.last_seen >= self.last_seen {
            (self.last_seen, self.token_expires) = (other.last_seen, other.token_expires);
        }
    }
}

/// The same figures where one thread writes and others read.
#[derive(Debug, Default)]
pub(super) struct CallerCells {
    /// All figures that are sums, in the order of [`CallerFigures`].
    sums: [AtomicU64; 7],
    last_seen: AtomicU64,
    token_expires: AtomicU64,
}

impl CallerCells {
    /// Counts a request that ended at `moment`. Only the cells' own worker may call this.
    pub(super) fn count(&self, request: &FinishedRequest<'_>, moment: u64) {
        let has_failed = request.has_failed() || request.outcome == RequestOutcome::Truncated;
        let ((uploaded, downloaded), [reads, writes]) = (request.artifact_bytes(), request.presigned.map(u64::from));
        let added = [1, request.is_rejected().into(), has_failed.into(), uploaded, downloaded, reads, writes];
        for (cell, more) in self.sums.iter().zip(added).filter(|(_, more)| *more > 0) {
            // One thread writes, so nothing comes between the load and the store.
            cell.store(cell.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        }
        self.last_seen.store(moment, Ordering::Relaxed);
        let expires = request.caller.and_then(|caller| caller.expires?.duration_since(UNIX_EPOCH).ok());
        self.token_expires.store(expires.map_or(0, |since| since.as_secs()), Ordering::Relaxed);
    }

    fn figures(&self) -> CallerFigures {
        let value = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let [requests, rejected, failed, uploaded, downloaded, reads, writes] = self.sums.each_ref().map(value);
        CallerFigures {
            requests,
            rejected,
            failed,
            uploaded,
            downloaded,
            presigned: [reads, writes],
            last_seen: value(&self.last_seen),
            token_expires: value(&self.token_expires),
        }
    }
}

/// A caller as rows tell callers apart: by name, method of authentication, issuer and role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CallerLabel {
    pub name: String,
    /// The method of authentication.
    pub auth_method: &'static str,
    /// The name of the issuer that has named the caller. Two issuers may give one name to different callers.
    pub issuer: Option<Arc<str>>,
    pub role: &'static str,
}

/// The row of one caller.
#[derive(Debug)]
pub(super) struct CallerRow {
    pub(super) label: CallerLabel,
    /// The method and the role of the label, which are faster to compare than their names.
    pub(super) kind: (AuthMethod, Role),
    pub(super) cells: CallerCells,
}

/// The rows of one worker.
#[derive(Debug, Default)]
pub(super) struct CallerRows {
    /// The requests without a caller.
    pub(super) unauthenticated: CallerCells,
    known: Mutex<KnownCallers>,
}

#[derive(Debug, Default)]
struct KnownCallers {
    rows: Vec<Arc<CallerRow>>,
    /// The figures of the callers that have no row any more.
    others: CallerFigures,
}

impl CallerRows {
    fn known(&self) -> MutexGuard<'_, KnownCallers> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a row. If there are too many, the one that was seen least recently is replaced, and returned.
    pub(super) fn add(&self, row: Arc<CallerRow>) -> Option<Arc<CallerRow>> {
        let mut known = self.known();
        let KnownCallers { rows, others } = &mut *known;
        if rows.len() < CALLER_LIMIT {
            rows.push(row);
            return None;
        }
        let oldest = rows.iter_mut().min_by_key(|row| row.cells.last_seen.load(Ordering::Relaxed))?;
        others.add(&oldest.cells.figures());
        Some(std::mem::replace(oldest, row))
    }
}

/// The figures of all callers.
#[derive(Debug, Default)]
pub(crate) struct CallerSums {
    /// The callers that were seen last, the latest first.
    pub rows: Vec<(CallerLabel, CallerFigures)>,
    /// The sum of all others.
    pub others: CallerFigures,
    /// The requests without a caller.
    pub unauthenticated: CallerFigures,
}

impl CallerSums {
    /// Adds up the rows of all workers.
    pub(super) fn of<'a>(workers: impl Iterator<Item = &'a CallerRows>) -> Self {
        let mut table = Self::default();
        let mut sums: HashMap<CallerLabel, CallerFigures> = HashMap::new();
        for worker in workers {
            table.unauthenticated.add(&worker.unauthenticated.figures());
            let known = worker.known();
            table.others.add(&known.others);
            for row in &known.rows {
                sums.entry(row.label.clone()).or_default().add(&row.cells.figures());
            }
        }
        table.rows = sums.into_iter().collect();
        table.rows.sort_by(|(left, a), (right, b)| b.last_seen.cmp(&a.last_seen).then_with(|| left.cmp(right)));
        for (_, figures) in table.rows.drain(CALLER_LIMIT.min(table.rows.len())..) {
            table.others.add(&figures);
        }
        table
    }
}
