//! The identities whose credentials sign requests: one for each region and role, however many targets use it.

use std::sync::Arc;

use crate::aws::caller_sessions::CallerSessions;
use crate::aws::credentials::CurrentCredentials;
use crate::aws::role::AssumedRole;
use crate::aws::sdk::{self, Egress};
use crate::aws::source::CredentialSource;
use crate::serve::upstream::settings::TargetSettings;

/// One identity.
pub(crate) struct SigningIdentity {
    region: String,
    role: Option<AssumedRole>,
    credentials: CurrentCredentials,
    /// Each caller's own credentials, if the role carries the callers' names.
    caller_sessions: Option<Arc<CallerSessions>>,
}

impl SigningIdentity {
    /// Returns the credentials of a target, and adds its identity if it is a new one.
    pub(crate) fn of(
        target: &TargetSettings,
        identities: &mut Vec<Self>,
    ) -> (CurrentCredentials, Option<Arc<CallerSessions>>) {
        Self::find_or_add(target.target.arn().region(), target.role.as_ref(), identities)
    }

    /// Returns the credentials of the machine itself, without a role. They read tokens from AWS, which the assumed roles need
    /// not be able to do.
    pub(crate) fn of_machine(region: &str, identities: &mut Vec<Self>) -> CurrentCredentials {
        Self::find_or_add(region, None, identities).0
    }

    fn find_or_add(
        region: &str,
        role: Option<&AssumedRole>,
        identities: &mut Vec<Self>,
    ) -> (CurrentCredentials, Option<Arc<CallerSessions>>) {
        let is_same = |identity: &&Self| identity.region == region && identity.role.as_ref() == role;
        if let Some(known) = identities.iter().find(is_same) {
            return (known.credentials.clone(), known.caller_sessions.clone());
        }
        let credentials = CurrentCredentials::default();
        let names_callers = role.is_some_and(|role| role.caller_naming.is_some());
        let caller_sessions = names_callers.then(|| Arc::new(CallerSessions::with_skew(credentials.skew().clone())));
        let found = (credentials.clone(), caller_sessions.clone());
        identities.push(Self { region: region.to_owned(), role: role.cloned(), credentials, caller_sessions });
        found
    }

    /// Renews the credentials before they expire, for as long as this future is polled.
    pub(crate) async fn keep_renewed(self, egress: &Egress) {
        let config = sdk::load(&self.region, egress).await;
        let (outcomes, skew) = (self.credentials.outcomes(), self.credentials.skew());
        let source =
            || CredentialSource::new(&config, self.role.clone()).counting(Arc::clone(outcomes)).with_skew(skew.clone());
        if let Some(caller_sessions) = &self.caller_sessions {
            caller_sessions.set_source(source());
        }
        self.credentials.keep_renewed(&source()).await;
    }
}
