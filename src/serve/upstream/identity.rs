//! Whose credentials sign for which target.

use std::sync::Arc;

use crate::aws::caller_sessions::CallerSessions;
use crate::aws::credentials::Current;
use crate::aws::role::AssumedRole;
use crate::aws::sdk::{self, Egress};
use crate::aws::source::CredentialSource;
use crate::serve::auth::source::SecretReader;
use crate::serve::state::SharedState;
use crate::serve::upstream::backend::TargetSettings;

/// Whose credentials sign: one for each region and role, however many targets use it.
pub(crate) struct Identity {
    pub region: String,
    pub role: Option<AssumedRole>,
    pub credentials: Current,
    /// Each caller's own, if the role carries their names.
    pub caller_sessions: Option<Arc<CallerSessions>>,
}

impl Identity {
    /// The credentials of a backend; adds an identity if none of them is its.
    pub(crate) fn of(backend: &TargetSettings, identities: &mut Vec<Self>) -> (Current, Option<Arc<CallerSessions>>) {
        Self::with(backend.target.arn().region(), backend.role.as_ref(), identities)
    }

    fn with(
        region: &str,
        role: Option<&AssumedRole>,
        identities: &mut Vec<Self>,
    ) -> (Current, Option<Arc<CallerSessions>>) {
        let is_same = |identity: &&Self| identity.region == region && identity.role.as_ref() == role;
        if let Some(known) = identities.iter().find(is_same) {
            return (known.credentials.clone(), known.caller_sessions.clone());
        }
        let credentials = Current::default();
        let carries = role.is_some_and(|role| role.carries.is_some());
        let caller_sessions = carries.then(Arc::<CallerSessions>::default);
        let given = (credentials.clone(), caller_sessions.clone());
        identities.push(Self { region: region.to_owned(), role: role.cloned(), credentials, caller_sessions });
        given
    }

    /// Obtains credentials ahead of time for as long as it is polled.
    pub(crate) async fn keep_fresh(self, egress: &Egress) {
        let config = sdk::load(&self.region, egress).await;
        let outcomes = self.credentials.outcomes();
        let source = || CredentialSource::new(&config, self.role.clone()).counting(Arc::clone(outcomes));
        if let Some(caller_sessions) = &self.caller_sessions {
            caller_sessions.set_source(source());
        }
        self.credentials.keep_fresh(&source()).await;
    }
}

/// Reads tokens from AWS with what the machine itself may do: they are not the assumed role's business.
pub(crate) fn token_reader(shared: &SharedState, identities: &mut Vec<Identity>) -> Option<SecretReader> {
    let region = shared.callers.secret_region()?;
    let first = &shared.backends[0];
    let (credentials, _) = Identity::with(region, None, identities);
    Some(SecretReader { transport: first.transport(), credentials })
}
