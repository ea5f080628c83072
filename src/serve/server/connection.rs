//! The state of a connection: it enforces the timeouts that actix lacks, and lets no request follow the last one.
//!
//! actix limits the time for the head of a connection's *first* request, and the idle time between requests. But the first
//! byte of a later head ends the idle time, and nothing limits the rest: a client that sends one request and then a head
//! that never ends would hold a connection for ever. Nothing limits either how long a client may not read a response.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use actix_web::dev::Extensions;
use actix_web::http::{ConnectionType, Version};
use actix_web::{HttpMessage as _, HttpRequest};
use slab::Slab;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tracing::debug;

use crate::serve::server::accept_permits::AcceptPermit;
use crate::serve::server::rest_state::RestState;
use crate::serve::server::settings::ServerLimits;

/// The interval at which a thread checks the timeouts of its connections.
const INTERVAL: Duration = Duration::from_secs(1);

/// The maximum time that a client may go on sending an unwanted body. A client that is disconnected at once would not see the
/// response.
pub(crate) const LINGER: Duration = Duration::from_secs(5);
/// A connection rests after this time without a request. One that ends lingers for less, and must not be mistaken for one that
/// waits.
const REST: Duration = LINGER.saturating_mul(2);

/// The state of a connection.
pub(crate) struct ServerConnection {
    /// The number of requests that have begun.
    begun: Cell<usize>,
    /// The number of requests that run.
    running: Cell<usize>,
    /// The time at which the last request ended.
    since: Cell<Instant>,
    /// True once a request has announced that it is the last.
    is_over: Cell<bool>,
    is_secure: bool,
    /// The reader, if it waits for requests.
    reader: Cell<Option<Waker>>,
    /// The time since which the client does not read.
    blocked: Cell<Option<Instant>>,
    /// True if the connection has to end with a reset.
    is_reset: Cell<bool>,
    /// True if a request has begun to wait for its second poll (`deferred`), and has not got it.
    pub(super) owes_poll: Cell<bool>,
    pub(super) rest: RestState,
    /// The task that serves the connection.
    task: OnceCell<AbortHandle>,
    key: usize,
    all: Rc<ServerConnections>,
    _permit: AcceptPermit,
}

/// The connections of a thread.
#[derive(Default)]
pub(crate) struct ServerConnections {
    slab: RefCell<Slab<Weak<ServerConnection>>>,
    /// True once connections have to end with the requests that run on them.
    is_draining: Cell<bool>,
}

/// A request that runs on a connection, until this is dropped.
pub(crate) struct RunningRequest(Rc<ServerConnection>);

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.since.set(Instant::now());
        self.0.wake_reader();
    }
}

/// Counts a request on its connection.
///
/// # Errors
/// [`AfterTheLast`].
pub(crate) fn begin_request(request: &HttpRequest) -> Result<Option<RunningRequest>, AfterTheLast> {
    let Some(connection) = data::<Rc<ServerConnection>>(request) else { return Ok(None) };
    connection.begun.set(connection.begun.get().wrapping_add(1));
    connection.wake_reader();
    // SECURITY: a proxy in front of the appliance assumes that no request follows (RFC 9112 §9.6), so a later one may be
    // smuggled. actix would serve it.
    if connection.is_over.get() {
        return Err(AfterTheLast);
    }
    let is_last = request.head().connection_type() == ConnectionType::Close;
    connection.is_over.set(is_last && request.version() < Version::HTTP_2);
    connection.running.set(connection.running.get() + 1);
    Ok(Some(RunningRequest(connection)))
}

/// True if a request came over TLS.
pub(crate) fn is_secure(request: &HttpRequest) -> bool {
    data::<Rc<ServerConnection>>(request).is_some_and(|connection| connection.is_secure)
}

/// Returns the data that was stored when a request's connection began.
pub(crate) fn data<T: Clone + 'static>(request: &HttpRequest) -> Option<T> {
    // actix has no data for HTTP/2 connections of others, so each request carries it.
    let of_http2 = || request.extensions().get::<Rc<Extensions>>()?.get::<T>().cloned();
    request.conn_data::<T>().cloned().or_else(of_http2)
}

/// A request came after one that announced to be its connection's last.
#[derive(Debug)]
pub(crate) struct AfterTheLast;

impl ServerConnections {
    /// Adds a connection.
    pub(crate) fn add(self: &Rc<Self>, permit: AcceptPermit, is_secure: bool) -> Rc<ServerConnection> {
        let mut slab = self.slab.borrow_mut();
        let entry = slab.vacant_entry();
        let connection = Rc::new(ServerConnection {
            begun: Cell::new(0),
            running: Cell::new(0),
            since: Cell::new(Instant::now()),
            is_over: Cell::new(false),
            is_secure,
            reader: Cell::new(None),
            blocked: Cell::new(None),
            is_reset: Cell::new(false),
            owes_poll: Cell::new(false),
            rest: RestState::default(),
            task: OnceCell::new(),
            key: entry.key(),
            all: Rc::clone(self),
            _permit: permit,
        });
        entry.insert(Rc::downgrade(&connection));
        connection
    }

    /// Lets the connections of HTTP/1.1 end with the requests that run on them.
    pub(crate) fn drain(&self) {
        self.is_draining.set(true);
        for one in self.all() {
            one.rest.wake();
        }
    }

    /// Waits until connections have to end.
    ///
    /// Each dispatcher asks at each of its turns, which costs less than a place among those that wait for a token. It needs no
    /// waker, since [`Self::drain`] wakes all connections.
    pub(crate) fn draining(self: &Rc<Self>) -> impl Future<Output = ()> + use<> {
        let connections = Rc::clone(self);
        poll_fn(move |_| if connections.is_draining.get() { Poll::Ready(()) } else { Poll::Pending })
    }

    /// Returns a copy of the list, since the end of a connection removes it from the slab.
    fn all(&self) -> Vec<Rc<ServerConnection>> {
        self.slab.borrow().iter().filter_map(|(_, one)| one.upgrade()).collect()
    }

    /// Ends connections without a request for `keep_alive`, those whose next head has not arrived `head_timeout` later, and those whose
    /// clients have read nothing for `send_timeout`. This function never returns.
    ///
    /// actix has a timer of its own for the first, but sets and removes it with each request.
    pub(crate) async fn enforce_timeouts(&self, limits: &ServerLimits) {
        loop {
            sleep(INTERVAL).await;
            for one in self.all() {
                one.end_if_idle(limits.keep_alive, limits.head_timeout);
                one.end_if_blocked(limits.send_timeout);
                one.rest_if_idle();
            }
        }
    }
}

impl ServerConnection {
    /// Sets the task that serves the connection.
    pub(crate) fn set_task(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    /// Ends the connection if no request has run for `keep_alive`, with `head_timeout` more if one may have begun to arrive.
    fn end_if_idle(&self, keep_alive: Duration, head_timeout: Duration) {
        let is_between = self.rest.is_between() && self.is_idle_after(self.rest.heads());
        let limit = if is_between { keep_alive } else { keep_alive + head_timeout };
        if self.running.get() > 0 || self.since.get().elapsed() < limit {
            return;
        }
        debug!("a connection is ended, because its next request does not arrive");
        self.end();
    }

    /// Returns how many of the requests whose heads have arrived have not begun.
    pub(crate) fn waiting(&self, heads: usize) -> usize {
        heads.wrapping_sub(self.begun.get())
    }

    /// Lets the connection rest if no request has come for a while.
    fn rest_if_idle(&self) {
        if !self.is_over.get() && self.is_idle_after(self.rest.heads()) && self.idle_time() >= REST {
            self.rest.begin();
        }
    }

    /// Returns the time since the last request ended.
    pub(crate) fn idle_time(&self) -> Duration {
        self.since.get().elapsed()
    }

    /// True if all requests whose heads have arrived have ended, and the client's socket has taken their responses.
    pub(crate) fn is_idle_after(&self, heads: usize) -> bool {
        self.waiting(heads) == 0 && self.running.get() == 0 && self.blocked.get().is_none()
    }

    /// Wakes a reader once a request begins or ends, or the client reads on.
    pub(crate) fn wake_later(&self, reader: &Waker) {
        self.reader.set(Some(reader.clone()));
    }

    fn wake_reader(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Notes whether a write had to wait for the client.
    pub(crate) fn note_write(&self, is_blocked: bool) {
        // Reading the clock costs time, so it is read only if the client blocks a write.
        match (is_blocked, self.blocked.get()) {
            (true, None) => self.blocked.set(Some(Instant::now())),
            (false, Some(_)) => {
                self.blocked.set(None);
                self.wake_reader();
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Ends the connection if the client has read nothing for `limit`.
    ///
    /// SECURITY: a client that requests much and reads nothing would hold memory and a connection to MLflow or S3 for ever.
    fn end_if_blocked(&self, limit: Duration) {
        if self.blocked.get().is_some_and(|since| since.elapsed() >= limit) {
            debug!("a connection is ended, because its client does not read its response");
            // Without a reset, the kernel would go on sending its buffer.
            self.reset_at_end();
            self.end();
        }
    }

    /// Makes the connection end with a reset.
    pub(crate) fn reset_at_end(&self) {
        self.is_reset.set(true);
    }

    /// True if the connection has to end with a reset.
    pub(crate) fn is_reset(&self) -> bool {
        self.is_reset.get()
    }

    fn end(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Drop for ServerConnection {
    fn drop(&mut self) {
        self.all.slab.borrow_mut().remove(self.key);
    }
}
