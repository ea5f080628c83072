//! What may change while the appliance runs, and is read again: tokens, certificates, where the audit log goes.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::http::tls::server::ServerTls;
use crate::serve::auth::token_store::SecretReader;
use crate::serve::state::SharedState;
use crate::{causes, clock};

/// A certificate with less time left is warned about.
const CERTIFICATE_MARGIN: Duration = Duration::from_hours(24 * 14);

/// Reads again what may change while the appliance runs: at a signal, and from time to time.
pub(crate) async fn run(
    shared: Arc<SharedState>,
    tls: Option<ServerTls>,
    reader: Option<SecretReader>,
    interval: Duration,
) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    if let Some(tls) = &tls {
        warn_of_end(tls);
    }
    shared.callers.tokens.obtain(reader.as_ref()).await;
    loop {
        let asked = async {
            match &mut hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = asked => {
                info!("reloading");
                shared.ledger.audit.reopen();
            }
            () = sleep(interval) => {}
        }
        shared.callers.tokens.reload(reader.as_ref()).await;
        match tls.as_ref().map(ServerTls::reload) {
            Some(Ok(true)) => {
                info!("new certificate in use");
                tls.iter().for_each(warn_of_end);
            }
            Some(Err(error)) => {
                let hint = "correct the files; the appliance reloads them by itself";
                warn!(
                    error = causes::joined(&error),
                    hint, "cannot reload the certificate; the previous one stays in use"
                );
            }
            _ => {}
        }
    }
}

/// A certificate that is about to end is somebody's to renew.
fn warn_of_end(tls: &ServerTls) {
    let Some(end) = tls.end() else { return };
    match end.duration_since(clock::now()) {
        Ok(left) if left > CERTIFICATE_MARGIN => {}
        Ok(left) => warn!(days_left = left.as_secs() / 86_400, "the listener's certificate is about to expire"),
        Err(_) => warn!("the listener's certificate has expired"),
    }
}
