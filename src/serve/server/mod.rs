//! A server: threads that each accept connections and serve them.
//!
//! actix-web's own server accepts on one thread and hands each connection over to another, which is a tenth of the cost of
//! a new connection. Routing and HTTP/1.1 are actix's.

mod accept;
mod accept_permits;
pub(crate) mod connection;
mod deferred;
mod head;
mod header_map;
mod http1;
mod http2;
mod phase;
mod rest;
mod rest_state;
mod settings;
mod stream;
mod thread;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc as channel;
use std::time::Duration;

use actix_web::web;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use accept::Acceptor;
use phase::Phase;
pub use settings::ServerLimits;
pub(crate) use settings::ServerSettings;
use thread::ServerThread;

/// The maximum number of connections that wait in the kernel while all threads are busy.
const BACKLOG: i32 = 4096;
/// The time that a new client gets to send its request before draining begins and its connection counts as idle.
const SETTLING: Duration = Duration::from_millis(50);
/// The maximum time that threads may take to end.
const ENDING: Duration = Duration::from_secs(1);

/// A running server. Its threads end with it.
pub(crate) struct Server {
    threads: usize,
    phase: watch::Sender<Phase>,
    closed: mpsc::UnboundedReceiver<()>,
    ended: mpsc::UnboundedReceiver<()>,
}

/// Opens a listening socket.
///
/// # Errors
/// The kernel's error.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Server {
    /// Starts threads that serve the clients of `listeners`, which do not block. Each thread calls `configure` once.
    ///
    /// # Errors
    /// The kernel's error, if it has no more threads, memory or descriptors.
    pub(crate) fn start<F>(listeners: &[TcpListener], settings: &ServerSettings, configure: F) -> io::Result<Self>
    where
        F: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    {
        for listener in listeners {
            // Nagle's algorithm would delay the end of a response until its beginning is acknowledged. Accepted connections
            // inherit the option.
            SockRef::from(listener).set_tcp_nodelay(true)?;
        }
        let threads = settings.limits.threads.get();
        let (phase, _) = watch::channel(Phase::Serving);
        let (closes, closed) = mpsc::unbounded_channel();
        let (ends, ended) = mpsc::unbounded_channel();
        let (starts, started) = channel::channel();
        for (index, (acceptor, handed_over)) in Acceptor::for_threads(threads).into_iter().enumerate() {
            // A thread that has a socket is woken by it.
            let own = listeners.iter().filter(|_| acceptor.accepts());
            let thread = ServerThread {
                listeners: own.map(TcpListener::try_clone).collect::<Result<_, _>>()?,
                acceptor,
                handed_over,
                settings: settings.clone(),
                phase: phase.subscribe(),
                closes: closes.clone(),
            };
            let (configure, starts) = (configure.clone(), starts.clone());
            let end = EndReport(ends.clone());
            std::thread::Builder::new().name(format!("{} {index}", settings.name)).spawn(move || {
                let _end = end;
                thread.run(configure, &starts);
            })?;
        }
        // Without this sender, `recv` fails if a thread ends early.
        drop(starts);
        let server = Self { threads, phase, closed, ended };
        for _ in 0..threads {
            let lost = || Err(io::Error::other("a thread ended before it had begun"));
            started.recv().unwrap_or_else(|_| lost())?;
        }
        Ok(server)
    }

    /// Waits until a thread ends unexpectedly.
    pub(crate) async fn failure(&mut self) -> io::Error {
        self.ended.recv().await;
        self.threads -= 1;
        io::Error::other("a thread ended")
    }

    /// Accepts no more connections, and waits until all requests have ended.
    ///
    /// All threads stop accepting first. Connections from then on wait in the socket for its next owner, or the kernel
    /// rejects them.
    pub(crate) async fn drain(&mut self) {
        self.phase.send_replace(Phase::Closed);
        for _ in 0..self.threads {
            self.closed.recv().await;
        }
        sleep(SETTLING).await;
        self.phase.send_replace(Phase::Draining);
        self.all_ended().await;
    }

    /// Ends the requests that still run.
    pub(crate) async fn stop(mut self) {
        self.phase.send_replace(Phase::Over);
        let _ = timeout(ENDING, self.all_ended()).await;
    }

    async fn all_ended(&mut self) {
        while self.threads > 0 && self.ended.recv().await.is_some() {
            self.threads -= 1;
        }
    }
}

/// Reports the end of a thread, also after a panic.
struct EndReport(mpsc::UnboundedSender<()>);

impl Drop for EndReport {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}
