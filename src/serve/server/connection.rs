//! Callers' connections: what lies between two requests has a limit, and nothing comes after the last one.
//!
//! actix limits how long the head of a connection's *first* request may take, and how long a connection may lie idle in
//! between; but the first byte of a later head ends the second limit, and nothing limits the rest. Whoever sends one
//! request and then a head that never ends would hold a connection for ever. Nor does anything limit how long a caller
//! may take nothing of an answer.

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
use crate::serve::server::accept::Place;

/// How often a worker looks after its connections.
const INTERVAL: Duration = Duration::from_secs(1);

/// The most that is read of what has not become a request. Below the 65,535 bytes of the longest name that is parsed.
const AHEAD: i64 = 62 * 1024;
/// What of a head is neither method, target nor field: `  HTTP/1.1`, ends of lines, and white space that nobody needs. Bytes.
const BETWEEN_WORDS: usize = 80;
/// Stands for a body of which only its end tells how long it is.
const UNBOUNDED: i64 = 1 << 60;

/// What is known of a connection.
pub(crate) struct Connection {
    running: Cell<usize>,
    since: Cell<Instant>,
    /// True once a request has announced that it is the last.
    is_over: Cell<bool>,
    is_secure: bool,
    /// Bytes that were read and are of no request yet; below zero are those of a body that are still to come.
    ahead: Cell<i64>,
    /// True once all that may be read ahead has been, until there is a request among it.
    is_stuck: Cell<bool>,
    /// Who reads, if that has to wait for a request.
    reader: Cell<Option<Waker>>,
    /// Since when the caller takes nothing of what is there for it.
    blocked: Cell<Option<Instant>>,
    /// True if it is to end with a reset.
    is_cut: Cell<bool>,
    /// What serves it.
    task: OnceCell<AbortHandle>,
    key: usize,
    all: Rc<Connections>,
    _place: Place,
}

/// A worker's connections.
#[derive(Default)]
pub(crate) struct Connections(RefCell<Slab<Weak<Connection>>>);

/// A request that runs on a connection, until this is dropped.
pub(crate) struct Running(Rc<Connection>);

impl Drop for Running {
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
pub(crate) fn run(request: &HttpRequest, fields: &HeaderSummary) -> Result<Option<Running>, AfterTheLast> {
    let Some(connection) = data::<Rc<Connection>>(request) else { return Ok(None) };
    // SECURITY: whoever stands before us believes that nothing follows (RFC 9112 §9.6), so what does is nobody's. actix
    // would serve it.
    if connection.is_over.get() {
        return Err(AfterTheLast);
    }
    let is_last = request.head().connection_type() == ConnectionType::Close;
    connection.is_over.set(is_last && request.version() < Version::HTTP_2);
    connection.running.set(connection.running.get() + 1);
    if request.version() < Version::HTTP_2 {
        connection.has_become(request, fields);
    }
    Ok(Some(Running(connection)))
}

/// True if a request came by TLS.
#[must_use]
pub(crate) fn is_secure(request: &HttpRequest) -> bool {
    data::<Rc<Connection>>(request).is_some_and(|connection| connection.is_secure)
}

/// Returns the data that was noted when a request's connection began.
#[must_use]
pub(crate) fn data<T: Clone + 'static>(request: &HttpRequest) -> Option<T> {
    // actix lets nobody else say what an HTTP/2 connection has, so it comes with each request.
    let of_http2 = || request.extensions().get::<Rc<Extensions>>()?.get::<T>().cloned();
    request.conn_data::<T>().cloned().or_else(of_http2)
}

/// A request came after one that was to be its connection's last.
#[derive(Debug)]
pub(crate) struct AfterTheLast;

impl Connections {
    /// Takes note of a new one.
    pub(crate) fn note(self: &Rc<Self>, place: Place, is_secure: bool) -> Rc<Connection> {
        let mut all = self.0.borrow_mut();
        let entry = all.vacant_entry();
        let connection = Rc::new(Connection {
            running: Cell::new(0),
            since: Cell::new(Instant::now()),
            is_over: Cell::new(false),
            is_secure,
            ahead: Cell::new(0),
            is_stuck: Cell::new(false),
            reader: Cell::new(None),
            blocked: Cell::new(None),
            is_cut: Cell::new(false),
            task: OnceCell::new(),
            key: entry.key(),
            all: Rc::clone(self),
            _place: place,
        });
        entry.insert(Rc::downgrade(&connection));
        connection
    }

    /// Ends those that have sent nothing for `limit`, and those whose callers have taken nothing for `send_timeout`. It
    /// never ends.
    pub(crate) async fn look_after(&self, limit: Duration, send_timeout: Duration) {
        loop {
            sleep(INTERVAL).await;
            // Ending one may take it out of what is gone through here.
            let all: Vec<_> = self.0.borrow().iter().filter_map(|(_, one)| one.upgrade()).collect();
            for one in all {
                one.end_unless_in_use(limit);
                one.end_if_blocked(send_timeout);
            }
        }
    }
}

impl Connection {
    /// Says what serves it.
    pub(crate) fn is_served_by(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    /// Ends it if there is nothing more to expect of it.
    fn end_unless_in_use(&self, limit: Duration) {
        if self.running.get() > 0 || self.since.get().elapsed() < limit {
            return;
        }
        debug!("ending a connection whose next request does not arrive");
        self.end();
    }

    /// Returns the number of bytes that may be read.
    pub(crate) fn room(&self) -> usize {
        usize::try_from(AHEAD.saturating_sub(self.ahead.get())).unwrap_or(0)
    }

    /// Takes note of what was read.
    pub(crate) fn has_read(&self, count: usize) {
        self.ahead.set(self.ahead.get().saturating_add_unsigned(count as u64));
    }

    /// Takes note of a request that was among it.
    fn has_become(&self, request: &HttpRequest, fields: &HeaderSummary) {
        let head = request.head();
        // As it is usually written, and a little more: what is not counted here would add up over a connection's requests.
        let target = head.uri.path_and_query().map_or(1, |target| target.as_str().len());
        let lines = fields.size + fields.count * ": \r\n".len();
        let size = head.method.as_str().len() + target + lines + BETWEEN_WORDS;
        let body = if fields.is_chunked || fields.has_upgrade {
            UNBOUNDED
        } else {
            fields.length.map_or(0, |length| i64::try_from(length).unwrap_or(UNBOUNDED))
        };
        // What came behind a body without a length cannot be told from it.
        let ahead = if self.ahead.get() < -UNBOUNDED / 2 { 0 } else { self.ahead.get() };
        let ahead = ahead.saturating_sub_unsigned(size as u64).max(0);
        self.ahead.set(ahead.saturating_sub(body));
        self.is_stuck.set(false);
        self.wake_reader();
    }

    /// True if it is asked for the second time with no request in between.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck.replace(true)
    }

    /// True while a request runs.
    pub(crate) fn is_in_use(&self) -> bool {
        self.running.get() > 0
    }

    /// Wakes a reader when a request begins or ends.
    pub(crate) fn wake_when_used(&self, reader: &Waker) {
        self.reader.set(Some(reader.clone()));
    }

    fn wake_reader(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Takes note whether the caller takes what is written to it.
    pub(crate) fn written(&self, is_blocked: bool) {
        // The clock is asked only where a caller keeps us waiting.
        match (is_blocked, self.blocked.get()) {
            (true, None) => self.blocked.set(Some(Instant::now())),
            (false, Some(_)) => self.blocked.set(None),
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Ends it if its caller has taken nothing for `limit`.
    ///
    /// SECURITY: whoever asks for much and reads nothing would hold memory here and a connection to MLflow or S3 for ever.
    fn end_if_blocked(&self, limit: Duration) {
        if self.blocked.get().is_some_and(|since| since.elapsed() >= limit) {
            debug!("ending a connection whose caller takes nothing of its answer");
            // The kernel would go on offering what it has taken over.
            self.cut();
            self.end();
        }
    }

    /// Lets it end with a reset.
    pub(crate) fn cut(&self) {
        self.is_cut.set(true);
    }

    /// True if it is to end with a reset.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    fn end(&self) {
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
