//! The phases of a server's life.

use tokio::sync::watch;

/// The phases of a server's life, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// No thread accepts connections.
    Closed,
    /// Connections end with the request that runs on them.
    Draining,
    /// Connections end at once.
    Over,
}

/// Waits until the server has reached a phase, or is gone.
pub(super) async fn reach(phase: &mut watch::Receiver<Phase>, due: Phase) {
    let _ = phase.wait_for(|phase| *phase >= due).await;
}
