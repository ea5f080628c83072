//! The tasks that run beside the requests: credentials, keys and tokens are renewed, and systemd is notified.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt;
use actix_web::rt::task::JoinHandle;

use crate::aws::sdk::Egress;
use crate::http::tls::server::ServerTls;
use crate::serve::artifacts::store_discovery;
use crate::serve::auth::personal_task;
use crate::serve::auth::secret_reader::SecretReader;
use crate::serve::reload;
use crate::serve::state::SharedState;
use crate::serve::systemd::{self, Heartbeat};
use crate::serve::upstream::signing_identity::SigningIdentity;
use crate::token_source::TokenSource;

/// The settings of the tasks.
pub(super) struct Background {
    pub tls: Option<ServerTls>,
    /// The trusted authorities and the proxies of the AWS SDK's connections.
    pub egress: Egress,
    pub reload_interval: Duration,
    pub heartbeat: Arc<Heartbeat>,
}

/// Starts the tasks. They run until they are aborted.
pub(super) fn start(
    shared: &Arc<SharedState>,
    mut identities: Vec<SigningIdentity>,
    settings: Background,
) -> Vec<JoinHandle<()>> {
    let (interval, mut tasks) = (settings.reload_interval, Vec::new());
    let mut reader_in = |region: Option<&str>| {
        Some(SecretReader {
            transport: shared.served_targets[0].transport(),
            credentials: SigningIdentity::of_machine(region?, &mut identities),
        })
    };
    for issuer in shared.callers.issuers.all() {
        let region = issuer.stored_client_secret().map(|(_, place)| place.region.as_str());
        if let Some(reader) = reader_in(region) {
            let issuer = Arc::clone(issuer);
            tasks.push(rt::spawn(async move { reload::client_secret(&issuer, &reader, interval).await }));
        }
        // The dialer supplies the trusted authorities, the proxies and the deadlines of connections.
        let (issuer, dialer) = (Arc::clone(issuer), shared.served_targets[0].dialer.clone());
        tasks.push(rt::spawn(async move { issuer.keys.keep_fetched(&issuer.trusted, &dialer).await }));
    }
    let reader = reader_in(shared.callers.tokens.source.as_ref().and_then(TokenSource::region));
    tasks.push(rt::spawn(reload::run(Arc::clone(shared), settings.tls, reader, interval)));
    let (owner, reader) = (Arc::clone(shared), reader_in(shared.callers.sessions.region()));
    tasks.push(rt::spawn(async move {
        if let Some(reader) = reader {
            owner.callers.sessions.obtain(&reader).await;
        }
    }));
    let reader = reader_in(shared.callers.personal.as_ref().and_then(|personal| personal.source.region()));
    let owner = Arc::clone(shared);
    tasks.push(rt::spawn(async move {
        if let Some(personal) = &owner.callers.personal {
            personal_task::run(personal, reader, interval).await;
        }
    }));
    for identity in identities {
        let egress = settings.egress.clone();
        tasks.push(rt::spawn(async move { identity.keep_renewed(&egress).await }));
    }
    for served in &shared.served_targets {
        let served = Arc::clone(served);
        tasks.push(rt::spawn(async move { store_discovery::run(&served).await }));
    }
    tasks.push(rt::spawn(systemd::report(Arc::clone(shared), settings.heartbeat)));
    let owner = Arc::clone(shared);
    tasks.push(rt::spawn(async move { owner.metrics.keep_history().await }));
    tasks
}
