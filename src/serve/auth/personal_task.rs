//! The task that reads and changes the source of personal tokens, one step at a time.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::access::personal::NotMade;
use crate::access::tokens::Tokens;
use crate::api::stored_secret::SecretAccess;
use crate::aws::secret::SecretError;
use crate::serve::auth::personal_store::{ChangeError, Job, PersonalChange, PersonalStore};
use crate::serve::auth::secret_reader::SecretReader;
use crate::token_source::{self, TokenSource, TokenSourceError, UpdateError, WhenMissing};
use crate::{clock, error_chain};

/// The shortest time between the beginnings of two reloads. SECURITY: made-up tokens cause no more than one in this time.
const RELOAD_PACE: Duration = Duration::from_secs(1);
/// The time after which a reload is tried again as long as none has succeeded.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(5);
/// The shortest time between two writings of nothing but last uses.
const USES_PACE: Duration = Duration::from_mins(10);

/// Reloads the tokens at each interval and when that is wanted, and makes changes, for as long as it is polled.
pub(crate) async fn run(store: &PersonalStore, reader: Option<SecretReader>, interval: Duration) {
    let Some(mut jobs) = store.take_jobs() else { return };
    // Another task obtains the credentials, and logs why it cannot.
    if let Some(reader) = &reader {
        reader.signed(drop).await;
    }
    let task = PersonalTask { store, access: reader.as_ref().map(SecretReader::access) };
    let mut uses_due = Instant::now();
    loop {
        let begun = Instant::now();
        let is_behind = task.reload().await;
        if is_behind && Instant::now() >= uses_due {
            uses_due = Instant::now() + USES_PACE;
            task.write_uses().await;
        }
        let interval = if store.tokens().is_some() { interval } else { interval.min(UNKNOWN_PAUSE) };
        let mut due = begun + interval;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(due) => break,
                () = store.wanted.notified() => due = due.min(begun + RELOAD_PACE),
                Some(job) = jobs.recv() => task.change(job).await,
            }
        }
    }
}

/// The source, and the way to it.
struct PersonalTask<'a> {
    store: &'a PersonalStore,
    access: Option<SecretAccess<'a>>,
}

impl PersonalTask<'_> {
    /// Reloads the tokens. Returns true if uses are known that are not in the source.
    async fn reload(&self) -> bool {
        let number = self.store.begin();
        let is_behind = match self.read().await {
            Ok(tokens) => self.store.replace(tokens),
            Err(error) => {
                let still_in_force = self.store.tokens().map(|tokens| tokens.entries().len());
                let hint =
                    "correct the source; the appliance reloads it by itself, and keeps the previous tokens in use";
                warn!(error = error_chain::joined(&error), still_in_force, hint, "cannot reload the personal tokens");
                false
            }
        };
        self.store.end(number);
        is_behind
    }

    /// Reads the tokens. There are none as long as nobody has made one.
    async fn read(&self) -> Result<Tokens, TokenSourceError> {
        let source = &self.store.source;
        if matches!(source, TokenSource::File(path) if !path.exists()) {
            return Ok(Tokens::default());
        }
        match token_source::read(source, self.access).await {
            Err(TokenSourceError::Secret(SecretError::Refused { code, .. }))
                if matches!(code.as_str(), "ResourceNotFoundException" | "ParameterNotFound") =>
            {
                Ok(Tokens::default())
            }
            read => read,
        }
    }

    /// Makes a change, and tells its result.
    async fn change(&self, job: Job) {
        let Job { change, done } = job;
        if let PersonalChange::Lower(person) = &change
            && self.store.tokens().is_none_or(|tokens| !person.is_exceeded(&tokens))
        {
            return;
        }
        let lifetime = self.store.lifetime;
        let result = self.update(move |tokens| change.apply(tokens, lifetime, clock::now())).await;
        // A person who has closed the page sees the result in the list later.
        let _ = done.send(result);
    }

    /// Writes the uses of the last days.
    async fn write_uses(&self) {
        let written = self.update(|_| Ok(0)).await;
        if let Err(error) = written {
            let hint = "let the appliance write the source, or accept that other appliances do not show these uses";
            warn!(error = error.to_string(), hint, "cannot write the last uses of personal tokens");
        }
    }

    /// Changes the source, and puts its tokens in force.
    async fn update(
        &self,
        edit: impl Fn(&mut Tokens) -> Result<usize, NotMade> + Send + 'static,
    ) -> Result<usize, ChangeError> {
        let known = self.store.tokens();
        let edit = move |tokens: &mut Tokens| -> Result<(usize, Tokens), NotMade> {
            let count = edit(tokens)?;
            for entry in known.iter().flat_map(|known| known.entries()) {
                let used = entry.personal.as_ref().and_then(|personal| personal.used.day());
                let there = tokens.entry(&entry.id).and_then(|entry| entry.personal.as_ref());
                if let (Some(day), Some(there)) = (used, there) {
                    there.used.note(day);
                }
            }
            Ok((count, tokens.clone()))
        };
        match token_source::update(&self.store.source, self.access, WhenMissing::Create, edit).await {
            Ok((count, tokens)) => {
                self.store.replace(tokens);
                Ok(count)
            }
            Err(UpdateError::Edit(error)) => Err(error.into()),
            Err(UpdateError::Source(error)) => {
                let hint = error.hint();
                let error = error_chain::joined(&error);
                warn!(error, hint, "cannot change the personal tokens");
                Err(ChangeError::Source(error))
            }
        }
    }
}
