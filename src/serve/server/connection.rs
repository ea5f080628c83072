//! Callers' connections: what lies between two requests has a limit, and nothing comes after the last one.
//!
//! actix limits how long the head of a connection's *first* request may take, and how long a connection may lie idle in
//! between; but the first byte of a later head ends the second limit, and nothing limits the rest. Whoever sends one
//! request and then a head that never ends would hold a connection for ever.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::http::{ConnectionType, Version};
use slab::Slab;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tracing::debug;

use super::accept::Place;

/// How often a worker looks after its connections.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is known of a connection.
pub(in crate::serve) struct Connection {
    running: Cell<usize>,
    since: Cell<Instant>,
    /// True once a request has announced that it is the last.
    is_over: Cell<bool>,
    is_secure: bool,
    /// What serves it.
    task: OnceCell<AbortHandle>,
    key: usize,
    all: Rc<Connections>,
    _place: Place,
}

/// A worker's connections.
#[derive(Default)]
pub(super) struct Connections(RefCell<Slab<Weak<Connection>>>);

/// A request that runs on a connection, until this is dropped.
pub(in crate::serve) struct Running(Rc<Connection>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.since.set(Instant::now());
    }
}

/// Counts a request on its connection.
///
/// # Errors
/// [`AfterTheLast`].
pub(in crate::serve) fn run(request: &HttpRequest) -> Result<Option<Running>, AfterTheLast> {
    let Some(connection) = request.conn_data::<Rc<Connection>>() else { return Ok(None) };
    // SECURITY: whoever stands before us believes that nothing follows (RFC 9112 §9.6), so what does is nobody's. actix
    // would serve it.
    if connection.is_over.get() {
        return Err(AfterTheLast);
    }
    let is_last = request.head().connection_type() == ConnectionType::Close;
    connection.is_over.set(is_last && request.version() < Version::HTTP_2);
    connection.running.set(connection.running.get() + 1);
    Ok(Some(Running(Rc::clone(connection))))
}

/// True if a request came by TLS.
#[must_use]
pub(in crate::serve) fn is_secure(request: &HttpRequest) -> bool {
    request.conn_data::<Rc<Connection>>().is_some_and(|connection| connection.is_secure)
}

/// A request came after one that was to be its connection's last.
#[derive(Debug)]
pub(in crate::serve) struct AfterTheLast;

impl Connections {
    /// Takes note of a new one.
    pub(super) fn note(self: &Rc<Self>, place: Place, is_secure: bool) -> Rc<Connection> {
        let mut all = self.0.borrow_mut();
        let entry = all.vacant_entry();
        let connection = Rc::new(Connection {
            running: Cell::new(0),
            since: Cell::new(Instant::now()),
            is_over: Cell::new(false),
            is_secure,
            task: OnceCell::new(),
            key: entry.key(),
            all: Rc::clone(self),
            _place: place,
        });
        entry.insert(Rc::downgrade(&connection));
        connection
    }

    /// Ends those that have done nothing for `limit`. It never ends.
    pub(super) async fn look_after(&self, limit: Duration) {
        loop {
            sleep(INTERVAL).await;
            // Ending one may take it out of what is gone through here.
            let all: Vec<_> = self.0.borrow().iter().filter_map(|(_, one)| one.upgrade()).collect();
            for one in all {
                one.end_unless_in_use(limit);
            }
        }
    }
}

impl Connection {
    /// Says what serves it.
    pub(super) fn is_served_by(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    /// Ends it if there is nothing more to expect of it.
    fn end_unless_in_use(&self, limit: Duration) {
        if self.running.get() > 0 || self.since.get().elapsed() < limit {
            return;
        }
        debug!("ending a connection whose next request does not arrive");
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.0.borrow_mut().remove(self.key);
    }
}
