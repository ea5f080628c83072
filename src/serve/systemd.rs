//! Tells systemd, where it is the one who started us: ready, how it goes, stopping, and that every worker is alive.
//!
//! Elsewhere there is nobody to tell, and telling does nothing. sd_notify(3) has the messages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix_web::rt;
use sd_notify::NotifyState;
use tokio::time::sleep;
use tracing::{error, warn};

use crate::serve::admin::health;
use crate::serve::state::SharedState;

const READY_INTERVAL: Duration = Duration::from_millis(50);
/// How often the status is looked at, and workers say that they are alive.
const INTERVAL: Duration = Duration::from_secs(1);

/// When each worker was last seen alive.
pub(crate) struct Pulse {
    began: Instant,
    /// Milliseconds since `began`, of each worker that has not ended.
    beats: Mutex<Vec<Weak<AtomicU64>>>,
}

impl Pulse {
    /// Of no worker yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), beats: Mutex::default() })
    }

    /// Beats for the worker on this thread, for as long as it handles events.
    pub(crate) fn join(self: &Arc<Self>) {
        let (pulse, beat) = (Arc::clone(self), Arc::new(AtomicU64::new(self.now())));
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&beat));
        rt::spawn(async move {
            loop {
                beat.store(pulse.now(), Ordering::Relaxed);
                sleep(INTERVAL).await;
            }
        });
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long the worker has been silent that has been silent for longest.
    fn silence(&self) -> Duration {
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.retain(|beat| beat.strong_count() > 0);
        let alive = beats.iter().filter_map(Weak::upgrade);
        let oldest = alive.map(|beat| beat.load(Ordering::Relaxed)).min().unwrap_or(0);
        Duration::from_millis(self.now().saturating_sub(oldest))
    }
}

/// Reports until the end.
pub(crate) async fn report(shared: Arc<SharedState>, pulse: Arc<Pulse>) {
    let watchdog = sd_notify::watchdog_enabled();
    let mut said = String::new();
    let mut is_ready = false;
    let mut is_silent = false;
    loop {
        let obstacle = health::obstacle(&shared);
        let status = obstacle.as_ref().map_or_else(|| "ready".to_owned(), |reason| format!("not ready: {reason}"));
        if said != status {
            tell(&[NotifyState::Status(&status)]);
            said = status;
        }
        if obstacle.is_none() && !is_ready {
            tell(&[NotifyState::Ready]);
            is_ready = true;
        }
        if let Some(limit) = watchdog {
            let silence = pulse.silence();
            if silence < limit {
                tell(&[NotifyState::Watchdog]);
                is_silent = false;
            } else if !is_silent {
                error!(silent_s = silence.as_secs(), "a worker thread does not respond");
                is_silent = true;
            }
        }
        // Four times as often as the watchdog wants to hear of us.
        let pause = watchdog.map_or(INTERVAL, |limit| INTERVAL.min(limit / 4));
        sleep(if is_ready { pause } else { READY_INTERVAL }).await;
    }
}

/// Says that the end has begun.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing running requests")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager cannot be told");
    }
}
