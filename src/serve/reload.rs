//! The reload of tokens, certificates and the keys of issuers, and the reopening of the audit log.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::http::tls::server::ServerTls;
use crate::serve::auth::token_store::SecretReader;
use crate::serve::state::SharedState;
use crate::{clock, error_chain};

/// The remaining lifetime below which a certificate causes a warning.
const CERTIFICATE_MARGIN: Duration = Duration::from_hours(24 * 14);

/// Reloads at SIGHUP and at each interval, for as long as it is polled.
pub(crate) async fn run(
    shared: Arc<SharedState>,
    tls: Option<ServerTls>,
    reader: Option<SecretReader>,
    interval: Duration,
) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    if let Some(tls) = &tls {
        warn_of_expiry(tls);
    }
    shared.callers.tokens.obtain(reader.as_ref()).await;
    loop {
        let signalled = async {
            match &mut hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = signalled => {
                info!("reloading");
                shared.reports.audit.reopen();
                shared.callers.issuers.all().iter().for_each(|issuer| issuer.keys.refresh());
                if let Some(personal) = &shared.callers.personal {
                    personal.reload_soon();
                }
            }
            () = sleep(interval) => {}
        }
        shared.callers.tokens.reload(reader.as_ref()).await;
        match tls.as_ref().map(ServerTls::reload) {
            Some(Ok(true)) => {
                info!("the certificate was reloaded");
                tls.iter().for_each(warn_of_expiry);
            }
            Some(Err(error)) => {
                let hint = "correct the files; the appliance reloads them automatically";
                warn!(
                    error = error_chain::joined(&error),
                    hint, "cannot reload the certificate; the previous one stays in use"
                );
            }
            _ => {}
        }
    }
}

/// Warns if a certificate has expired or is about to expire.
fn warn_of_expiry(tls: &ServerTls) {
    let Some(end) = tls.end() else { return };
    match end.duration_since(clock::now()) {
        Ok(left) if left > CERTIFICATE_MARGIN => {}
        Ok(left) => warn!(days_left = left.as_secs() / 86_400, "the listener's certificate is about to expire"),
        Err(_) => warn!("the listener's certificate has expired"),
    }
}
