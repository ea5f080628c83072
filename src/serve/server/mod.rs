//! A server: threads that each accept connections for themselves and serve what they have accepted.
//!
//! actix-web's own server accepts on one thread and hands each connection to another, which costs a tenth of what a new
//! connection costs. What is served, and how HTTP/1.1 is spoken, is actix's.

mod accept;
pub(crate) mod connection;
mod head;
mod http1;
mod http2;
mod stream;
mod worker;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc as channel;
use std::thread;
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::web;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use accept::Share;
use worker::Worker;

/// Connections the kernel keeps for us while all workers are busy.
const BACKLOG: i32 = 4096;
/// How long a caller who was just let in may take to send what it came for, before its connection counts as idle.
const SETTLING: Duration = Duration::from_millis(50);
/// How long threads may take to let go of what they have.
const ENDING: Duration = Duration::from_secs(1);

/// How callers are served.
#[derive(Clone)]
pub(crate) struct Options {
    /// What its threads are called.
    pub name: &'static str,
    /// Threads.
    pub workers: NonZeroUsize,
    /// Connections of each; more wait in the kernel.
    pub connection_limit: usize,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long the head of a request may take; of a later one on a connection, beyond `keep_alive`.
    pub head_timeout: Duration,
    /// How long a caller may take nothing of an answer.
    pub send_timeout: Duration,
    /// How TLS is spoken, if it is.
    pub tls: Option<Arc<ServerConfig>>,
    /// Notes the certificates of a caller who has any.
    pub note: fn(&[CertificateDer<'_>], &mut Extensions),
}

/// What comes next is worse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Nobody else is let in.
    Closed,
    /// Connections end with the request that runs on them.
    Draining,
    /// They end now.
    Over,
}

/// A server that runs. Its threads end with it.
pub(crate) struct Server {
    workers: usize,
    phase: watch::Sender<Phase>,
    closed: mpsc::UnboundedReceiver<()>,
    ended: mpsc::UnboundedReceiver<()>,
}

/// Listens.
///
/// # Errors
/// What the kernel says.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Server {
    /// Starts threads that serve whoever connects to `listeners`, which do not block. Each calls `configure` once.
    ///
    /// # Errors
    /// What the kernel says when it has no more threads, memory or descriptors.
    pub(crate) fn start<F>(listeners: &[TcpListener], options: &Options, configure: F) -> io::Result<Self>
    where
        F: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    {
        for listener in listeners {
            // Nagle would hold back the end of a response until its beginning is acknowledged. What is accepted inherits it.
            SockRef::from(listener).set_tcp_nodelay(true)?;
        }
        let workers = options.workers.get();
        let (phase, _) = watch::channel(Phase::Serving);
        let (closes, closed) = mpsc::unbounded_channel();
        let (ends, ended) = mpsc::unbounded_channel();
        let (starts, started) = channel::channel();
        for (index, (share, given)) in Share::among(workers).into_iter().enumerate() {
            let worker = Worker {
                listeners: listeners.iter().map(TcpListener::try_clone).collect::<Result<_, _>>()?,
                share,
                given,
                options: options.clone(),
                phase: phase.subscribe(),
                closes: closes.clone(),
            };
            let (configure, starts) = (configure.clone(), starts.clone());
            let end = OnDrop(ends.clone());
            thread::Builder::new().name(format!("{} {index}", options.name)).spawn(move || {
                let _end = end;
                worker.run(configure, &starts);
            })?;
        }
        // Whoever is lost then is noticed.
        drop(starts);
        let server = Self { workers, phase, closed, ended };
        for _ in 0..workers {
            let lost = || Err(io::Error::other("a worker's thread ended before it had begun"));
            started.recv().unwrap_or_else(|_| lost())?;
        }
        Ok(server)
    }

    /// Resolves when a thread ends that should not.
    pub(crate) async fn failure(&mut self) -> io::Error {
        self.ended.recv().await;
        self.workers -= 1;
        io::Error::other("a worker's thread ended")
    }

    /// Lets nobody else in, and resolves when all are served.
    ///
    /// The threads agree first that nobody accepts any more. What comes from now on waits in the socket for whoever has it
    /// next, or is refused.
    pub(crate) async fn drain(&mut self) {
        self.phase.send_replace(Phase::Closed);
        for _ in 0..self.workers {
            self.closed.recv().await;
        }
        sleep(SETTLING).await;
        self.phase.send_replace(Phase::Draining);
        self.all_ended().await;
    }

    /// Ends what still runs.
    pub(crate) async fn stop(mut self) {
        self.phase.send_replace(Phase::Over);
        let _ = timeout(ENDING, self.all_ended()).await;
    }

    async fn all_ended(&mut self) {
        while self.workers > 0 && self.ended.recv().await.is_some() {
            self.workers -= 1;
        }
    }
}

/// Says that a thread has ended, however it did.
struct OnDrop(mpsc::UnboundedSender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}
