//! Notifications to systemd: readiness, status, the end, and the heartbeat of every worker.
//!
//! Without systemd, a notification does nothing. sd_notify(3) describes the messages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix_web::rt;
use sd_notify::NotifyState;
use tokio::time::sleep;
use tracing::{error, warn};

use crate::serve::admin::health;
use crate::serve::state::SharedState;

/// The interval of checks until the appliance is ready.
const READY_INTERVAL: Duration = Duration::from_millis(50);
/// The interval of later checks and of the workers' heartbeats.
const INTERVAL: Duration = Duration::from_secs(1);

/// The last signs of life of all workers.
pub(crate) struct Heartbeat {
    began: Instant,
    /// The last beat of each worker that has not ended, in milliseconds since `began`.
    beats: Mutex<Vec<Weak<AtomicU64>>>,
}

impl Heartbeat {
    /// Makes a heartbeat without workers.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), beats: Mutex::default() })
    }

    /// Adds the worker on this thread. It beats for as long as it handles events.
    pub(crate) fn join(self: &Arc<Self>) {
        let (heartbeat, beat) = (Arc::clone(self), Arc::new(AtomicU64::new(self.now())));
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&beat));
        rt::spawn(async move {
            loop {
                beat.store(heartbeat.now(), Ordering::Relaxed);
                sleep(INTERVAL).await;
            }
        });
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the age of the oldest beat.
    fn age(&self) -> Duration {
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.retain(|beat| beat.strong_count() > 0);
        let alive = beats.iter().filter_map(Weak::upgrade);
        let oldest = alive.map(|beat| beat.load(Ordering::Relaxed)).min().unwrap_or(0);
        Duration::from_millis(self.now().saturating_sub(oldest))
    }
}

/// Notifies systemd for as long as it is polled.
pub(crate) async fn report(shared: Arc<SharedState>, heartbeat: Arc<Heartbeat>) {
    let watchdog = sd_notify::watchdog_enabled();
    let mut reported = String::new();
    let mut is_ready = false;
    let mut is_stuck = false;
    loop {
        let obstacle = health::obstacle(&shared);
        let status = obstacle.as_ref().map_or_else(|| "ready".to_owned(), |reason| format!("not ready: {reason}"));
        if reported != status {
            notify(&[NotifyState::Status(&status)]);
            reported = status;
        }
        if obstacle.is_none() && !is_ready {
            notify(&[NotifyState::Ready]);
            is_ready = true;
        }
        if let Some(limit) = watchdog {
            let age = heartbeat.age();
            if age < limit {
                notify(&[NotifyState::Watchdog]);
                is_stuck = false;
            } else if !is_stuck {
                error!(silent_s = age.as_secs(), "a worker thread does not respond");
                is_stuck = true;
            }
        }
        // Four notifications within each interval of the watchdog.
        let wait = watchdog.map_or(INTERVAL, |limit| INTERVAL.min(limit / 4));
        sleep(if is_ready { wait } else { READY_INTERVAL }).await;
    }
}

/// Notifies systemd that the appliance is draining.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("draining: finishing the requests in flight")]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot notify systemd");
    }
}
