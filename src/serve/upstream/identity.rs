//! Whose credentials sign for which target.

use std::sync::Arc;

use crate::aws::credentials::Current;
use crate::aws::on_behalf::OnBehalf;
use crate::aws::role::Role;
use crate::aws::sdk::{self, Egress};
use crate::aws::source::Source;
use crate::serve::auth::source::SecretReader;
use crate::serve::state::SharedState;
use crate::serve::upstream::backend::TargetSettings;

/// Whose credentials sign: one for each region and role, however many targets use it.
pub(crate) struct Identity {
    pub region: String,
    pub role: Option<Role>,
    pub credentials: Current,
    /// Each caller's own, if the role carries their names.
    pub on_behalf: Option<Arc<OnBehalf>>,
}

impl Identity {
    /// The credentials of a backend; adds an identity if none of them is its.
    pub(crate) fn of(backend: &TargetSettings, identities: &mut Vec<Self>) -> (Current, Option<Arc<OnBehalf>>) {
        Self::with(backend.target.arn().region(), backend.role.as_ref(), identities)
    }

    fn with(region: &str, role: Option<&Role>, identities: &mut Vec<Self>) -> (Current, Option<Arc<OnBehalf>>) {
        let is_same = |identity: &&Self| identity.region == region && identity.role.as_ref() == role;
        if let Some(known) = identities.iter().find(is_same) {
            return (known.credentials.clone(), known.on_behalf.clone());
        }
        let credentials = Current::default();
        let carries = role.is_some_and(|role| role.carries.is_some());
        let on_behalf = carries.then(Arc::<OnBehalf>::default);
        let given = (credentials.clone(), on_behalf.clone());
        identities.push(Self { region: region.to_owned(), role: role.cloned(), credentials, on_behalf });
        given
    }

    /// Obtains credentials ahead of time for as long as it is polled.
    pub(crate) async fn keep_fresh(self, egress: &Egress) {
        let config = sdk::load(&self.region, egress).await;
        let outcomes = self.credentials.outcomes();
        let source = || Source::new(&config, self.role.clone()).counting(Arc::clone(outcomes));
        if let Some(on_behalf) = &self.on_behalf {
            on_behalf.set_source(source());
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
