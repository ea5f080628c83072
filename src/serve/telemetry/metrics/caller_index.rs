//! A worker's way from a caller to the caller's row.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;

use crate::access::caller::Caller;
use crate::serve::telemetry::finished::FinishedRequest;
use crate::serve::telemetry::metrics::callers::{CallerCells, CallerLabel, CallerRow, CallerRows};

/// Finds the rows of callers on one worker's thread.
pub(super) struct CallerIndex {
    /// The moment from which times count.
    start: Instant,
    found: RefCell<FoundRows>,
}

/// The rows by the names of their callers. One name has as many rows as it has methods of authentication, issuers and roles.
#[derive(Default)]
struct FoundRows {
    by_name: HashMap<String, Vec<Arc<CallerRow>>, RandomState>,
    /// The row of the last request. Many requests in a row come from one caller.
    last: Option<Arc<CallerRow>>,
}

impl CallerIndex {
    /// Makes an index without a row. Times count from `start`.
    pub(super) fn new(start: Instant) -> Self {
        Self { start, found: RefCell::default() }
    }

    /// Counts a request for its caller, or for all clients that are not authenticated.
    pub(super) fn count(&self, rows: &CallerRows, request: &FinishedRequest<'_>) {
        let since = request.ended.saturating_duration_since(self.start);
        let moment = since.as_secs() * 1000 + u64::from(since.subsec_millis());
        let mut found = self.found.borrow_mut();
        let cells = match request.caller {
            Some(caller) => found.cells(rows, caller),
            None => &rows.unauthenticated,
        };
        cells.count(request, moment);
    }
}

impl FoundRows {
    fn cells(&mut self, rows: &CallerRows, caller: &Caller) -> &CallerCells {
        if !self.last.as_ref().is_some_and(|row| is_row_of(row, caller)) {
            self.last = Some(self.find(caller).unwrap_or_else(|| self.insert(rows, caller)));
        }
        &self.last.as_ref().expect("it was just set").cells
    }

    fn find(&self, caller: &Caller) -> Option<Arc<CallerRow>> {
        self.by_name.get(caller.name.as_str())?.iter().find(|row| is_row_of(row, caller)).cloned()
    }

    #[cold]
    fn insert(&mut self, rows: &CallerRows, caller: &Caller) -> Arc<CallerRow> {
        let (auth_method, role) = (caller.auth_method, caller.role);
        let label = CallerLabel {
            name: caller.name.clone(),
            auth_method: auth_method.as_str(),
            issuer: caller.issuer.clone(),
            role: role.as_str(),
        };
        let row = Arc::new(CallerRow { label, kind: (auth_method, role), cells: CallerCells::default() });
        if let Some(replaced) = rows.add(Arc::clone(&row)) {
            let name = &replaced.label.name;
            if let Some(of_name) = self.by_name.get_mut(name) {
                of_name.retain(|row| !Arc::ptr_eq(row, &replaced));
                if of_name.is_empty() {
                    self.by_name.remove(name);
                }
            }
        }
        self.by_name.entry(caller.name.clone()).or_default().push(Arc::clone(&row));
        row
    }
}

fn is_row_of(row: &CallerRow, caller: &Caller) -> bool {
    row.kind == (caller.auth_method, caller.role) && row.label.name == caller.name && row.label.issuer == caller.issuer
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use actix_web::http::StatusCode;

    use super::*;
    use crate::access::caller::{AuthMethod, Role, Targets};
    use crate::serve::telemetry::metrics::callers::{CALLER_LIMIT, CallerFigures, CallerSums};

    fn caller(name: &str, auth_method: AuthMethod, role: Role) -> Caller {
        Caller { name: name.to_owned(), role, targets: Targets::All, auth_method, issuer: None, expires: None }
    }

    /// A worker's rows, and its index of them.
    struct Worker(CallerRows, CallerIndex, Instant);

    impl Worker {
        fn new(start: Instant) -> Self {
            Self(CallerRows::default(), CallerIndex::new(start), start)
        }

        fn count(&self, caller: Option<&Caller>, second: u64, request: &FinishedRequest<'_>) {
            let ended = self.2 + Duration::from_secs(second);
            self.1.count(&self.0, &FinishedRequest { caller, ended, ..*request });
        }
    }

    #[test]
    fn requests_of_a_caller_add_up_across_workers() {
        let start = Instant::now();
        let workers = [Worker::new(start), Worker::new(start)];
        let ada = caller("ada", AuthMethod::Token, Role::Read);
        let session = caller("ada", AuthMethod::Session, Role::Read);
        let with = |status| FinishedRequest { status: Some(status), ..FinishedRequest::plain() };
        let success = with(StatusCode::OK);
        let uploaded = FinishedRequest { action: Some("artifacts:upload"), received: 10, ..success };
        let downloaded = FinishedRequest { action: Some("artifacts:get"), sent: 7, ..success };
        let rejected = FinishedRequest { error_code: Some("rate-limited"), ..with(StatusCode::TOO_MANY_REQUESTS) };
        let failed = FinishedRequest { presigned: [2, 1], ..with(StatusCode::BAD_GATEWAY) };
        for (second, worker) in (1..).zip(&workers) {
            worker.count(Some(&ada), second, &uploaded);
            worker.count(Some(&session), second, &rejected);
            worker.count(Some(&ada), second, &downloaded);
            worker.count(None, second, &rejected);
        }
        workers[0].count(Some(&ada), 9, &failed);
        let table = CallerSums::of(workers.iter().map(|worker| &worker.0));
        let rows: Vec<_> = table.rows.iter().map(|(label, figures)| (label.auth_method, *figures)).collect();
        let of_token = CallerFigures {
            requests: 5,
            rejected: 0,
            failed: 1,
            uploaded: 20,
            downloaded: 14,
            presigned: [2, 1],
            last_seen: 9000,
            token_expires: 0,
        };
        let of_session = CallerFigures { requests: 2, rejected: 2, last_seen: 2000, ..CallerFigures::default() };
        assert_eq!(rows, [("token", of_token), ("session", of_session)]);
        assert_eq!(table.unauthenticated, of_session);
        assert_eq!(table.others, CallerFigures::default());
    }

    #[test]
    fn two_issuers_have_two_rows_and_a_row_has_the_end_of_the_token_that_was_used_last() {
        let start = Instant::now();
        let workers = [Worker::new(start), Worker::new(start)];
        let jwt = |issuer: &str, end: u64| Caller {
            issuer: Some(issuer.into()),
            expires: Some(UNIX_EPOCH + Duration::from_secs(end)),
            ..caller("ada", AuthMethod::Jwt, Role::Read)
        };
        for (worker, second, issuer, end) in
            [(0, 1, "okta", 100), (1, 3, "okta", 300), (0, 2, "okta", 200), (0, 4, "entra", 400)]
        {
            workers[worker].count(Some(&jwt(issuer, end)), second, &FinishedRequest::plain());
        }
        let table = CallerSums::of(workers.iter().map(|worker| &worker.0));
        let rows = table.rows.iter().map(|(label, figures)| {
            (label.issuer.as_deref().unwrap_or("none"), figures.requests, figures.token_expires)
        });
        assert_eq!(rows.collect::<Vec<_>>(), [("entra", 1, 400), ("okta", 3, 300)]);
        workers[1].count(Some(&Caller { expires: None, ..jwt("okta", 0) }), 5, &FinishedRequest::plain());
        let table = CallerSums::of(workers.iter().map(|worker| &worker.0));
        assert_eq!(table.rows[0].1.token_expires, 0, "the last one does not end");
    }

    #[test]
    fn ten_thousand_callers_take_no_more_rows_than_the_limit_and_no_request_is_lost() {
        let start = Instant::now();
        let workers = [Worker::new(start), Worker::new(start), Worker::new(start)];
        let regular = caller("regular", AuthMethod::Token, Role::Write);
        let uploaded = FinishedRequest {
            action: Some("artifacts:upload"),
            status: Some(StatusCode::OK),
            received: 1,
            ..FinishedRequest::plain()
        };
        for number in 0..10_000_u64 {
            let one = caller(&format!("user-{number}"), AuthMethod::Oidc, Role::Read);
            for worker in &workers {
                worker.count(Some(&one), number, &uploaded);
            }
            workers[0].count(Some(&regular), number, &FinishedRequest::plain());
        }
        for worker in &workers {
            let found = worker.1.found.borrow();
            assert!(found.by_name.len() <= CALLER_LIMIT && found.by_name.capacity() < 2 * CALLER_LIMIT + 100);
        }
        let table = CallerSums::of(workers.iter().map(|worker| &worker.0));
        assert_eq!(table.rows.len(), CALLER_LIMIT);
        assert!(table.rows.iter().all(|(label, _)| label.name == "regular" || *label.name > *"user-97"));
        let kept = table.rows.iter().find(|(label, _)| *label.name == *"regular").expect("it was seen last");
        assert_eq!(kept.1.requests, 10_000, "a caller that comes again keeps its row");
        let sum = |value: fn(&CallerFigures) -> u64| {
            table.rows.iter().map(|(_, figures)| value(figures)).sum::<u64>() + value(&table.others)
        };
        assert_eq!((sum(|all| all.requests), sum(|all| all.uploaded)), (40_000, 30_000));
    }
}
