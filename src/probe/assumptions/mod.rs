//! Assumptions: tests, against an operator's own account, what could not be tested without one.
//!
//! Everything that the tests write is below one scratch experiment, and is removed in the end, also after a failure or an
//! interruption. Each test has a limit, and so has the whole run. No test shows a secret.

mod answer;
mod body_size;
mod catalog;
mod creation;
mod downloads;
mod identity;
mod locations;
mod page;
mod parts;
mod paths;
mod payloads;
mod proof;
mod protocol;
mod redaction;
mod removal;
mod routes;
mod scratch;
mod session;
mod settings;
mod signing;
mod uploads;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::aws::sdk;
use crate::aws::source::{CredentialSource, SourceError};
pub use catalog::{ASSUMPTIONS, Assumption};
pub use creation::plan;
use proof::NoProof;
pub use proof::{Proof, ProofVerdict, ProvenAssumption};
use session::ProofSession;
pub use settings::{AssumptionEvent, AssumptionRun, AssumptionSettings, Leftover, RouteFamily};

/// The limit for obtaining credentials.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(30);
/// The limit of one test.
const TEST_LIMIT: Duration = Duration::from_mins(3);
/// The limit of all tests together. Afterwards, what was created is removed.
const RUN_LIMIT: Duration = Duration::from_mins(15);
/// The limit of the removal.
const REMOVAL_LIMIT: Duration = Duration::from_mins(2);
/// The time that a request in flight gets after an interruption, so that its answer, with the id of something new, arrives.
const GRACE: Duration = Duration::from_secs(5);

/// The reason why nothing was tested.
#[derive(Debug, thiserror::Error)]
pub enum AssumptionError {
    /// There are no credentials.
    #[error("{}", .0.detail())]
    Credentials(SourceError),
    /// No credentials were obtained within the limit.
    #[error("no AWS credentials were obtained within {}", humantime::format_duration(CREDENTIALS_LIMIT))]
    Late,
    /// The process cannot notice an interruption.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
}

impl AssumptionError {
    /// Returns an instruction that removes the cause.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            Self::Credentials(error) => error.hint(),
            Self::Late => "check that STS, or the metadata service of this machine, can be reached from here",
            Self::Signals(_) => "check the limits of this process",
        }
    }
}

/// Tests all assumptions, and removes what the tests have created.
///
/// # Errors
/// [`AssumptionError`]. Nothing was sent to the target then.
pub async fn run(
    settings: &AssumptionSettings,
    note: &mut dyn FnMut(AssumptionEvent<'_>),
) -> Result<AssumptionRun, AssumptionError> {
    let interrupted = signal(SignalKind::interrupt()).map_err(AssumptionError::Signals)?;
    let terminated = signal(SignalKind::terminate()).map_err(AssumptionError::Signals)?;
    let config = sdk::load(settings.target.arn().region(), &settings.egress).await;
    let source = CredentialSource::new(&config, settings.role.clone());
    let credentials = timeout(CREDENTIALS_LIMIT, source.obtain(None)).await.map_err(|_| AssumptionError::Late)?;
    let session = ProofSession::new(settings, source, credentials.map_err(AssumptionError::Credentials)?);
    let deadline = Instant::now() + RUN_LIMIT;
    let mut runner =
        ProofRunner { session: &session, interrupted, terminated, deadline, note, results: AssumptionRun::default() };
    runner.test_all().await;
    Ok(runner.remove().await)
}

struct ProofRunner<'a, 'n> {
    session: &'a ProofSession<'a>,
    interrupted: Signal,
    terminated: Signal,
    deadline: Instant,
    note: &'n mut dyn FnMut(AssumptionEvent<'_>),
    results: AssumptionRun,
}

impl ProofRunner<'_, '_> {
    async fn test_all(&mut self) {
        let session = self.session;
        self.prove(&catalog::SIGNED_REQUEST, payloads::signed(session)).await;
        self.prove(&catalog::WRONG_HASH, payloads::wrong_hash(session)).await;
        self.prove(&catalog::UNSIGNED_PAYLOAD, payloads::unsigned(session)).await;
        self.prove(&catalog::CHUNKS, payloads::in_signed_chunks(session, false)).await;
        self.prove(&catalog::CHUNKS_WITH_TRAILER, payloads::in_signed_chunks(session, true)).await;
        self.prove(&catalog::STALE_SIGNATURE, payloads::stale(session)).await;
        self.prove(&catalog::PATH_CHARACTERS, paths::path_characters(session)).await;
        self.prove(&catalog::PATH_ENCODED_SLASH, paths::encoded_slash(session)).await;
        self.prove(&catalog::PATH_DOUBLE_SLASH, paths::double_slash(session)).await;
        self.prove(&catalog::HTTP2, protocol::http2(session)).await;
        self.prove(&catalog::PAGE, routes::page(session)).await;
        self.prove(&catalog::AJAX, routes::ajax(session)).await;
        self.prove(&catalog::GRAPHQL, routes::graphql(session)).await;
        self.prove(&catalog::BASIC_ROUTES, routes::basic(session)).await;
        self.prove(&catalog::NEWER_ROUTES, async { routes::newer(session) }).await;
        self.prove(&catalog::STS_AUDIENCE, identity::signed_audience(session)).await;
        self.prove(&catalog::PRESIGNED_PAGE, page::presigned(session)).await;

        self.guarded(creation::create(session)).await;
        self.prove(&catalog::QUERY_CHARACTERS, paths::query_characters(session)).await;
        self.prove(&catalog::BODY_SIZE, body_size::body_size(session)).await;
        self.prove(&catalog::ARTIFACT_LOCATION, locations::artifact_location(session)).await;
        self.prove(&catalog::CHUNKED_UPLOAD, uploads::chunked(session)).await;
        self.prove(&catalog::CORRUPT_CHUNK, uploads::corrupt(session)).await;
        self.prove(&catalog::UNSIGNED_TRAILER, uploads::unsigned_trailer(session)).await;
        self.prove(&catalog::KEY_CHARACTERS, uploads::key_characters(session)).await;
        self.prove(&catalog::PARTS, parts::signed(session)).await;
        self.prove(&catalog::PRESIGNED_PART, parts::presigned(session)).await;
        self.prove(&catalog::PRESIGNED_DOWNLOAD, downloads::presigned(session)).await;
        self.prove(&catalog::KMS, parts::kms(session)).await;
        self.prove(&catalog::READ_BY_MLFLOW, locations::read_by_mlflow(session)).await;
        let listing = self.results.proven.last().map(|last| last.proof.verdict);
        self.prove(&catalog::SOURCE_ACCOUNT, identity::source_account(session, listing)).await;
    }

    /// Runs one test, and notes its result.
    async fn prove(&mut self, assumption: &'static Assumption, test: impl Future<Output = Result<Proof, NoProof>>) {
        (self.note)(AssumptionEvent::Begins(assumption));
        let began = Instant::now();
        self.session.renew().await;
        let result = self.guarded(test).await.unwrap_or_else(|| Err(self.cut_short(began)));
        let proof = result.unwrap_or_else(|why| Proof::untested(why.reason()));
        let evidence = redaction::redacted(&proof.evidence, &self.session.credentials());
        let proven = ProvenAssumption { assumption, proof: Proof { evidence, ..proof }, took: began.elapsed() };
        (self.note)(AssumptionEvent::Proven(&proven));
        self.results.proven.push(proven);
    }

    /// Runs a future until it ends, its time is over, or the operator interrupts it; nothing if it did not end.
    async fn guarded<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let limit = self.deadline.min(Instant::now() + TEST_LIMIT);
        tokio::select! {
            biased;
            () = stopped(&mut self.interrupted, &mut self.terminated), if !self.results.is_interrupted => {}
            done = &mut work => return Some(done),
            () = sleep_until(limit) => return None,
        }
        self.results.is_interrupted = true;
        self.session.stop(true);
        (self.note)(AssumptionEvent::Interrupted);
        timeout(GRACE, work).await.ok()
    }

    fn cut_short(&self, began: Instant) -> NoProof {
        if self.results.is_interrupted {
            return NoProof::Stopped;
        }
        let passed = humantime::format_duration(Duration::from_secs(began.elapsed().as_secs()));
        NoProof::because(format!("it did not end within {passed}"))
    }

    /// Removes what was created. A second interruption ends that as well.
    async fn remove(mut self) -> AssumptionRun {
        self.results.routes = self.session.routes.take();
        if !self.session.scratch.borrow().has_begun {
            return self.results;
        }
        (self.note)(AssumptionEvent::Removing);
        self.session.stop(false);
        let is_done = tokio::select! {
            biased;
            () = stopped(&mut self.interrupted, &mut self.terminated) => false,
            done = timeout_at(Instant::now() + REMOVAL_LIMIT, removal::remove(self.session, &mut self.results)) => done.is_ok(),
        };
        if !is_done {
            removal::abandon(self.session, &mut self.results);
        }
        let credentials = self.session.credentials();
        for left in &mut self.results.left {
            left.why = redaction::redacted(&left.why, &credentials);
        }
        self.results
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn stopped(interrupted: &mut Signal, terminated: &mut Signal) {
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
}
