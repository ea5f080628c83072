//! The personal tokens that are in force, and the requests to change or to reload them.
//!
//! Workers only read. A single task (`personal_task`) reads and changes the source, so one appliance never has two changes in
//! progress, and what it stores cannot be overtaken by an older reading.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::info;

use crate::access::caller::{Caller, OwnerSignIn};
use crate::access::day::Day;
use crate::access::personal::{NotMade, Person, Wanted};
use crate::access::tokens::{PersonalEntry, TokenEntry, TokenRejection, Tokens};
use crate::serve::auth::settings::PersonalSettings;
use crate::token_source::TokenSource;

/// The changes that wait for the task.
const QUEUE_LIMIT: usize = 64;
/// The longest wait for a change. A file is changed at once, and Secrets Manager answers within a second.
const CHANGE_LIMIT: Duration = Duration::from_secs(20);
/// The requests that wait for a reload at a time. SECURITY: made-up tokens occupy no more; what comes on top is rejected at
/// once.
const WAITING_LIMIT: usize = 32;
/// The longest wait for a reload.
const RELOAD_LIMIT: Duration = Duration::from_secs(5);

/// The personal tokens of all workers.
pub(crate) struct PersonalStore {
    /// The place of the tokens.
    pub(crate) source: TokenSource,
    /// The longest lifetime of a token.
    pub(crate) lifetime: Duration,
    /// Empty until the tokens have been read.
    tokens: ArcSwapOption<Tokens>,
    changes: mpsc::Sender<Job>,
    /// The other end, until the task takes it.
    jobs: Mutex<Option<mpsc::Receiver<Job>>>,
    /// A reload is wanted before the interval is over.
    pub(crate) wanted: Notify,
    /// The number of reloads that have begun.
    begun: AtomicU64,
    /// The number of the last reload that has ended.
    ended: watch::Sender<u64>,
    waiting: Semaphore,
}

/// A change of the tokens.
#[derive(Clone)]
pub(crate) enum PersonalChange {
    /// A person makes a token.
    Make(Person, Wanted),
    /// A person revokes one of their tokens.
    Revoke(Person, String),
    /// A person revokes all of their tokens.
    RevokeAll(Person),
    /// A token revokes itself.
    RevokeItself(String),
    /// A person has lost rights, which their tokens lose as well.
    Lower(Person),
}

/// The reason why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The person may not do this.
    #[error(transparent)]
    NotMade(#[from] NotMade),
    /// The source cannot be read or written.
    #[error("{0}")]
    Source(String),
    /// The change has taken too long, and may still be made.
    #[error("the change takes longer than {} seconds", CHANGE_LIMIT.as_secs())]
    Late,
    /// Too many changes wait.
    #[error("too many changes are waiting")]
    Busy,
}

/// A change, and the sender for its result: the number of tokens that were made or removed.
pub(super) struct Job {
    pub(super) change: PersonalChange,
    pub(super) done: oneshot::Sender<Result<usize, ChangeError>>,
}

impl PersonalChange {
    /// Makes the change, and returns the number of tokens that were made or removed.
    ///
    /// # Errors
    /// [`NotMade`].
    pub(super) fn apply(&self, tokens: &mut Tokens, lifetime: Duration, now: SystemTime) -> Result<usize, NotMade> {
        match self {
            Self::Make(person, wanted) => person.make(tokens, wanted, lifetime, now).map(|()| 1),
            Self::Revoke(person, id) => Ok(tokens.remove(|entry| person.owns(entry) && entry.id == *id).len()),
            Self::RevokeAll(person) => Ok(tokens.remove(|entry| person.owns(entry)).len()),
            Self::RevokeItself(id) => Ok(tokens.remove(|entry| entry.personal.is_some() && entry.id == *id).len()),
            Self::Lower(person) => {
                person.lower(tokens);
                Ok(0)
            }
        }
    }
}

impl PersonalStore {
    /// Returns a store with the tokens that were read at the start.
    pub(crate) fn new(settings: PersonalSettings) -> Self {
        let (changes, jobs) = mpsc::channel(QUEUE_LIMIT);
        Self {
            source: settings.tokens.source,
            lifetime: settings.lifetime,
            tokens: ArcSwapOption::new(settings.tokens.initial.map(Into::into)),
            changes,
            jobs: Mutex::new(Some(jobs)),
            wanted: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            waiting: Semaphore::new(WAITING_LIMIT),
        }
    }

    /// Returns the tokens, if they have been read.
    pub(crate) fn tokens(&self) -> Option<Arc<Tokens>> {
        self.tokens.load_full()
    }

    /// Looks at the token that a caller presents, and notes its use. Returns nothing if the tokens have not been read yet.
    ///
    /// # Errors
    /// [`TokenRejection`].
    pub(super) fn find<T>(
        &self,
        presented: &str,
        now: SystemTime,
        look: impl FnOnce(&TokenEntry, &PersonalEntry) -> Result<T, TokenRejection>,
    ) -> Option<Result<T, TokenRejection>> {
        let tokens = self.tokens.load();
        let tokens = tokens.as_ref()?;
        Some(tokens.find(presented, now).and_then(|entry| {
            // SECURITY: nothing limits the rights of an entry without an owner.
            let personal = entry.personal.as_ref().ok_or(TokenRejection::Unknown)?;
            let found = look(entry, personal)?;
            personal.used.note(Day::of(now));
            Ok(found)
        }))
    }

    /// Waits for a reload that begins after this call. Returns false if there is none soon.
    pub(super) async fn reloaded(&self) -> bool {
        let Ok(_permit) = self.waiting.try_acquire() else { return false };
        let next = self.begun.load(Ordering::Acquire) + 1;
        let mut ended = self.ended.subscribe();
        self.wanted.notify_one();
        matches!(timeout(RELOAD_LIMIT, ended.wait_for(|ended| *ended >= next)).await, Ok(Ok(_)))
    }

    /// Makes a change, and returns the number of tokens that were made or removed.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub(crate) async fn change(&self, change: PersonalChange) -> Result<usize, ChangeError> {
        let (done, result) = oneshot::channel();
        self.changes.try_send(Job { change, done }).map_err(|_| ChangeError::Busy)?;
        match timeout(CHANGE_LIMIT, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ChangeError::Busy),
            Err(_) => Err(ChangeError::Late),
        }
    }

    /// Notes the rights that a person has today. If the person's tokens have more, they lose them.
    pub(crate) fn seen(&self, caller: &Caller) {
        // The rights of those who sign in with tokens are known at each request.
        if matches!(caller.owner(), None | Some(OwnerSignIn::Token)) {
            return;
        }
        let tokens = self.tokens.load();
        let Some(tokens) = tokens.as_ref().filter(|tokens| tokens.of_name(&caller.name).next().is_some()) else {
            return;
        };
        if let Some(person) = Person::of(caller).filter(|person| person.is_exceeded(tokens)) {
            // Without a place in the queue, the next request of the person tries again.
            let _ = self.changes.try_send(Job { change: PersonalChange::Lower(person), done: oneshot::channel().0 });
        }
    }

    /// Returns the other end of the queue, once.
    pub(super) fn take_jobs(&self) -> Option<mpsc::Receiver<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes the begin of a reload, and returns its number.
    pub(super) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Notes the end of a reload.
    pub(super) fn end(&self, number: u64) {
        self.ended.send_replace(number);
    }

    /// Puts new tokens in force. Returns true if uses are known that are not in the source.
    pub(super) fn replace(&self, new: Tokens) -> bool {
        let old = self.tokens.load_full();
        let mut is_behind = false;
        for entry in new.entries() {
            let known = old.as_ref().and_then(|old| old.entry(&entry.id)).and_then(|entry| entry.personal.as_ref());
            if let (Some(day), Some(personal)) = (known.and_then(|known| known.used.day()), &entry.personal) {
                is_behind |= personal.used.day().is_none_or(|noted| noted < day);
                personal.used.note(day);
            }
        }
        let count = new.entries().len();
        if old.is_none_or(|old| old.entries() != new.entries()) {
            info!(tokens = count, "the personal tokens were read");
            self.tokens.store(Some(Arc::new(new)));
        }
        is_behind
    }
}
