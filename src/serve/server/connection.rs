//! The state of a connection: it enforces the timeouts that actix lacks, and lets no request follow the last one.
//!
//! actix limits the time for the head of a connection's *first* request, and the idle time between requests. But the first
//! byte of a later head ends the idle time, and nothing limits the rest: a client that sends one request and then a head
//! that never ends would hold a connection for ever. Nothing limits either how long a client may not read a response.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use actix_web::dev::Extensions;
use actix_web::http::{ConnectionType, Version};
use actix_web::{HttpMessage as _, HttpRequest};
use slab::Slab;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tracing::debug;

use crate::http::headers::HeaderSummary;
use crate::serve::server::permits::AcceptPermit;
use crate::serve::server::rest_state::RestState;

/// The interval at which a thread checks the timeouts of its connections.
const INTERVAL: Duration = Duration::from_secs(1);

/// The maximum number of bytes that are read before they become a request. It is below the 65,535 bytes of the longest field name
/// that actix parses.
const READ_AHEAD: i64 = 62 * 1024;
/// The part of a head that is neither method, target nor field: `  HTTP/1.1`, line ends and optional white space. Bytes.
const SEPARATORS: usize = 80;
/// The maximum time that a client may go on sending an unwanted body. A client that is disconnected at once would not see the
/// response.
pub(crate) const LINGER: Duration = Duration::from_secs(5);
/// A connection rests after this time without a request. One that ends lingers for less, and must not be mistaken for one that
/// waits.
const REST: Duration = LINGER.saturating_mul(2);
/// Stands for the length of a body that is known only at its end.
const UNBOUNDED: i64 = 1 << 60;

/// The state of a connection.
pub(crate) struct ServerConnection {
    /// The number of requests that run.
    running: Cell<usize>,
    /// The time at which the last request ended.
    since: Cell<Instant>,
    /// True once a request has announced that it is the last.
    is_over: Cell<bool>,
    is_secure: bool,
    /// The number of bytes that were read and belong to no request yet. If it is negative, so many bytes of a body are still to come.
    ahead: Cell<i64>,
    /// True once the read-ahead limit was reached without a request, until there is one.
    is_stuck: Cell<bool>,
    /// The reader, if it waits for a request.
    reader: Cell<Option<Waker>>,
    /// The time since which the client does not read.
    blocked: Cell<Option<Instant>>,
    /// True if the connection has to end with a reset.
    is_reset: Cell<bool>,
    pub(super) rest: RestState,
    /// The task that serves the connection.
    task: OnceCell<AbortHandle>,
    key: usize,
    all: Rc<ServerConnections>,
    _permit: AcceptPermit,
}

/// The connections of a thread.
#[derive(Default)]
pub(crate) struct ServerConnections(RefCell<Slab<Weak<ServerConnection>>>);

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
pub(crate) fn run(request: &HttpRequest, fields: &HeaderSummary) -> Result<Option<RunningRequest>, AfterTheLast> {
    let Some(connection) = data::<Rc<ServerConnection>>(request) else { return Ok(None) };
    // SECURITY: a proxy in front of the appliance assumes that no request follows (RFC 9112 §9.6), so a later one may be
    // smuggled. actix would serve it.
    if connection.is_over.get() {
        return Err(AfterTheLast);
    }
    let is_last = request.head().connection_type() == ConnectionType::Close;
    connection.is_over.set(is_last && request.version() < Version::HTTP_2);
    connection.running.set(connection.running.get() + 1);
    if request.version() < Version::HTTP_2 {
        connection.note_request(request, fields);
    }
    Ok(Some(RunningRequest(connection)))
}

/// True if a request came over TLS.
#[must_use]
pub(crate) fn is_secure(request: &HttpRequest) -> bool {
    data::<Rc<ServerConnection>>(request).is_some_and(|connection| connection.is_secure)
}

/// Returns the data that was stored when a request's connection began.
#[must_use]
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
        let mut all = self.0.borrow_mut();
        let entry = all.vacant_entry();
        let connection = Rc::new(ServerConnection {
            running: Cell::new(0),
            since: Cell::new(Instant::now()),
            is_over: Cell::new(false),
            is_secure,
            ahead: Cell::new(0),
            is_stuck: Cell::new(false),
            reader: Cell::new(None),
            blocked: Cell::new(None),
            is_reset: Cell::new(false),
            rest: RestState::default(),
            task: OnceCell::new(),
            key: entry.key(),
            all: Rc::clone(self),
            _permit: permit,
        });
        entry.insert(Rc::downgrade(&connection));
        connection
    }

    /// Ends connections without a request for `idle_timeout`, and those whose clients have read nothing for `send_timeout`.
    /// It never returns.
    pub(crate) async fn enforce_timeouts(&self, idle_timeout: Duration, send_timeout: Duration) {
        loop {
            sleep(INTERVAL).await;
            // Ending a connection may remove it from the slab, so the loop needs a copy.
            let all: Vec<_> = self.0.borrow().iter().filter_map(|(_, one)| one.upgrade()).collect();
            for one in all {
                one.end_if_idle(idle_timeout);
                one.end_if_blocked(send_timeout);
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

    /// Ends the connection if no request has run for `limit`.
    fn end_if_idle(&self, limit: Duration) {
        if self.running.get() > 0 || self.since.get().elapsed() < limit {
            return;
        }
        debug!("ending a connection whose next request does not arrive");
        self.end();
    }

    /// Returns the number of bytes that may be read.
    pub(crate) fn room(&self) -> usize {
        usize::try_from(READ_AHEAD.saturating_sub(self.ahead.get())).unwrap_or(0)
    }

    /// Counts bytes that were read.
    pub(crate) fn note_read(&self, piece: &[u8]) {
        self.ahead.set(self.ahead.get().saturating_add_unsigned(piece.len() as u64));
        self.rest.note_read(piece, self.running.get() > 0);
    }

    /// Lets the connection rest if no request has come for a while.
    fn rest_if_idle(&self) {
        if self.running.get() == 0 && !self.is_over.get() && self.blocked.get().is_none() && self.idle_time() >= REST {
            self.rest.begin();
        }
    }

    /// Returns the time since the last request ended.
    pub(crate) fn idle_time(&self) -> Duration {
        self.since.get().elapsed()
    }

    /// Subtracts a request from the bytes that were read.
    fn note_request(&self, request: &HttpRequest, fields: &HeaderSummary) {
        let head = request.head();
        // The usual length of a head and a little more. An underestimate would add up over the requests of a connection.
        let target = head.uri.path_and_query().map_or(1, |target| target.as_str().len());
        let lines = fields.size + fields.count * ": \r\n".len();
        let size = head.method.as_str().len() + target + lines + SEPARATORS;
        let body = if fields.is_chunked || fields.has_upgrade {
            UNBOUNDED
        } else {
            fields.length.map_or(0, |length| i64::try_from(length).unwrap_or(UNBOUNDED))
        };
        // Bytes after a body without a length cannot be distinguished from the body.
        let ahead = if self.ahead.get() < -UNBOUNDED / 2 { 0 } else { self.ahead.get() };
        let ahead = ahead.saturating_sub_unsigned(size as u64).max(0);
        self.ahead.set(ahead.saturating_sub(body));
        let has_bounds = !fields.is_chunked && !fields.has_upgrade && request.version() == Version::HTTP_11;
        let body_length = if fields.has_length { fields.length } else { Some(0) };
        self.rest.note_request(body_length.filter(|_| has_bounds));
        self.is_stuck.set(false);
        self.wake_reader();
    }

    /// Notes that the read-ahead limit is reached. Returns true if it was already noted, with no request in between.
    pub(crate) fn note_stuck(&self) -> bool {
        self.is_stuck.replace(true)
    }

    /// True while a request runs.
    pub(crate) fn is_in_use(&self) -> bool {
        self.running.get() > 0
    }

    /// Wakes a reader once a request begins or ends.
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
            (false, Some(_)) => self.blocked.set(None),
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Ends the connection if the client has read nothing for `limit`.
    ///
    /// SECURITY: a client that requests much and reads nothing would hold memory and a connection to MLflow or S3 for ever.
    fn end_if_blocked(&self, limit: Duration) {
        if self.blocked.get().is_some_and(|since| since.elapsed() >= limit) {
            debug!("ending a connection whose client does not read its response");
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
        self.all.0.borrow_mut().remove(self.key);
    }
}
