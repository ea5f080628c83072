//! The reload of tokens, certificates, client secrets and the keys of issuers, and the reopening of the audit log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::http::tls::server::ServerTls;
use crate::serve::auth::issuers::IssuerState;
use crate::serve::auth::secret_reader::SecretReader;
use crate::serve::state::SharedState;
use crate::{clock, error_chain};

/// The time between two warnings of the same certificate's end.
const WARNING_INTERVAL: Duration = Duration::from_hours(24);

/// Reloads at SIGHUP and at each interval, for as long as it is polled.
pub(crate) async fn run(
    shared: Arc<SharedState>,
    tls: Option<ServerTls>,
    reader: Option<SecretReader>,
    interval: Duration,
) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    let mut warned = None;
    warn_of_expiry(tls.as_ref(), &mut warned);
    shared.callers.tokens.obtain(reader.as_ref()).await;
    loop {
        if is_signalled(&mut hangup, interval).await {
            info!("reloading");
            shared.reports.audit.reopen();
            shared.callers.issuers.all().iter().for_each(|issuer| issuer.keys.refresh());
            if let Some(personal) = &shared.callers.personal {
                personal.wanted.notify_one();
            }
        }
        shared.callers.tokens.reload(reader.as_ref()).await;
        match tls.as_ref().map(ServerTls::reload) {
            Some(Ok(true)) => {
                info!("the certificate was reloaded");
                warned = None;
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
        // A certificate that nobody renews comes to its end without any change of its files.
        warn_of_expiry(tls.as_ref(), &mut warned);
    }
}

/// Reads the secret of an issuer's client that AWS stores, and reloads it at SIGHUP and at each interval, for as long as it is
/// polled. It has a task of its own, because the tokens may not be readable.
pub(crate) async fn client_secret(issuer: &IssuerState, reader: &SecretReader, interval: Duration) {
    let Some((secret, _)) = issuer.stored_client_secret() else { return };
    let (name, mut hangup) = (&issuer.issuer().name, signal(SignalKind::hangup()).ok());
    secret.obtain(name, reader).await;
    loop {
        is_signalled(&mut hangup, interval).await;
        secret.reload(name, reader).await;
    }
}

/// Waits for SIGHUP, or for the interval. Returns true if the signal came.
async fn is_signalled(hangup: &mut Option<Signal>, interval: Duration) -> bool {
    let signalled = async {
        match hangup {
            Some(hangup) => drop(hangup.recv().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = signalled => true,
        () = sleep(interval) => false,
    }
}

/// Warns if a certificate has expired or is about to expire, unless it did so within the last day.
fn warn_of_expiry(tls: Option<&ServerTls>, warned: &mut Option<Instant>) {
    let (Some((begin, end)), now) = (tls.and_then(ServerTls::validity), clock::now()) else { return };
    if !clock::ends_soon(begin, end, now) || warned.is_some_and(|last| last.elapsed() < WARNING_INTERVAL) {
        return;
    }
    *warned = Some(Instant::now());
    if let Ok(left) = end.duration_since(now) {
        warn!(days_left = left.as_secs() / 86_400, "the listener's certificate is about to expire");
    } else {
        warn!("the listener's certificate has expired");
    }
}
