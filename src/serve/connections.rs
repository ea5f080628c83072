//! Callers' connections: what lies between two requests has a limit, and nothing comes after the last one.
//!
//! actix limits how long the head of a connection's *first* request may take, and how long a connection may lie idle in
//! between; but the first byte of a later head ends the second limit, and nothing limits the rest. Whoever sends one
//! request and then a head that never ends would hold a connection for ever.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::http::{ConnectionType, Version};
use actix_web::rt::net::TcpStream;
use actix_web::{HttpRequest, rt};
use socket2::{SockRef, Socket};
use tokio::time::sleep;
use tracing::debug;

use super::refusal::Refusal;

/// How often a worker looks after its connections.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is known of a connection.
pub(super) struct Connection {
    socket: Socket,
    running: Cell<usize>,
    since: Cell<Instant>,
    /// True once a request has announced that it is the last.
    is_over: Cell<bool>,
}

thread_local! {
    /// A worker's own.
    static CONNECTIONS: RefCell<Vec<Weak<Connection>>> = const { RefCell::new(Vec::new()) };
}

/// A request that runs on a connection, until this is dropped.
pub(super) struct Running(Rc<Connection>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.since.set(Instant::now());
    }
}

/// TCP beneath a new connection, as actix hands it out.
pub(super) fn tcp(connection: &dyn Any) -> Option<&TcpStream> {
    let beneath_tls = || connection.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref().0);
    connection.downcast_ref::<TcpStream>().or_else(beneath_tls)
}

/// Takes note of a new connection.
pub(super) fn note(connection: &dyn Any, data: &mut Extensions) {
    // A second descriptor for the same socket; without one the connection is merely not looked after.
    let Some(socket) = tcp(connection).and_then(|stream| SockRef::from(stream).try_clone().ok()) else { return };
    let noted = Rc::new(Connection {
        socket,
        running: Cell::new(0),
        since: Cell::new(Instant::now()),
        is_over: Cell::new(false),
    });
    CONNECTIONS.with_borrow_mut(|all| all.push(Rc::downgrade(&noted)));
    data.insert(noted);
}

/// Counts a request on its connection.
///
/// # Errors
/// [`Refusal::AfterTheLast`].
pub(super) fn run(request: &HttpRequest) -> Result<Option<Running>, Refusal> {
    let Some(connection) = request.conn_data::<Rc<Connection>>() else { return Ok(None) };
    // SECURITY: whoever stands before us believes that nothing follows (RFC 9112 §9.6), so what does is nobody's. actix
    // would serve it.
    if connection.is_over.get() {
        return Err(Refusal::AfterTheLast);
    }
    let is_last = request.head().connection_type() == ConnectionType::Close;
    connection.is_over.set(is_last && request.version() < Version::HTTP_2);
    connection.running.set(connection.running.get() + 1);
    Ok(Some(Running(Rc::clone(connection))))
}

/// Ends connections of this thread that have done nothing for `limit`, for as long as the thread lives.
pub(super) fn look_after(limit: Duration) {
    rt::spawn(async move {
        loop {
            sleep(INTERVAL).await;
            CONNECTIONS.with_borrow_mut(|all| all.retain(|one| one.upgrade().is_some_and(|one| one.is_in_use(limit))));
        }
    });
}

impl Connection {
    /// True unless there is nothing more to expect of it; then it is ended.
    fn is_in_use(&self, limit: Duration) -> bool {
        if self.running.get() > 0 || self.since.get().elapsed() < limit {
            return true;
        }
        debug!("ending a connection whose next request does not arrive");
        // It fails only for one that has ended already.
        let _ = self.socket.shutdown(Shutdown::Both);
        false
    }
}
