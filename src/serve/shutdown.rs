//! Graceful shutdown: waits for the signal to stop, and drains the server.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::serve::server::Server;
use crate::serve::state::SharedState;
use crate::serve::systemd;

/// SIGTERM and SIGINT.
pub(crate) struct StopSignals(Option<(Signal, Signal)>);

impl StopSignals {
    /// Listens for the signals from now on.
    pub(crate) fn listen() -> Self {
        let both = signal(SignalKind::terminate()).and_then(|one| Ok((one, signal(SignalKind::interrupt())?)));
        if let Err(error) = &both {
            warn!(%error, "cannot listen for signals; the process can only be killed");
        }
        Self(both.ok())
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        match &mut self.0 {
            Some((terminate, interrupt)) => tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} },
            None => std::future::pending().await,
        }
    }
}

/// Finishes the requests in flight, for at most `limit`. A second signal ends the wait.
pub(crate) async fn drain(server: &mut Server, signals: &mut StopSignals, shared: &SharedState, limit: Duration) {
    shared.draining.store(true, Ordering::Relaxed);
    systemd::stopping();
    info!(in_flight = shared.reports.in_flight(), "draining");
    tokio::select! {
        () = server.drain() => {}
        () = sleep(limit) => warn!(in_flight = shared.reports.in_flight(), "the drain timeout has passed, and the requests that still run are ended"),
        () = signals.next() => {}
    }
}
