//! The distribution of new connections over threads.
//!
//! Two threads wait at the sockets, so one that is busy delays nobody. Each new connection wakes all that wait, so with more of
//! them it would cost as many wake-ups as there are threads. A thread that has more connections than another hands a new one
//! over; otherwise, long-lived connections would stay with the thread that was awake when they came.
//!
//! One address cannot take all permits: connections beyond its share are closed at once.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, error, info};

use crate::access::address;
use crate::serve::server::accept_permits::{AcceptCounts, AcceptPermit};

/// The wait of a thread that has no descriptor or no memory for a connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(500);

/// The number of threads that accept connections.
const ACCEPTING: usize = 2;

/// The allowed imbalance: a thread that has more connections than another by this number hands new ones over. It is absolute,
/// because the number of connections that a thread takes on at once is limited.
const IMBALANCE: usize = 4;

/// The maximum number of connections of one address in all threads. With TLS and a request, a connection takes 37 KiB, so
/// these take 290 MiB at most. A proxy whose users all share its address needs fewer, because it reuses its connections.
const ADDRESS_LIMIT: usize = 8000;

/// A connection that is not served yet.
pub(crate) struct Accepted<S> {
    pub(crate) tcp: S,
    pub(crate) peer: SocketAddr,
    pub(crate) permit: AcceptPermit,
}

/// A connection on its way from one thread to another.
pub(crate) type HandedOver = Accepted<std::net::TcpStream>;

impl HandedOver {
    /// Registers the connection with the runtime of this thread.
    ///
    /// # Errors
    /// The kernel's error, if it has no memory for that.
    pub(crate) fn register(self) -> io::Result<Accepted<TcpStream>> {
        Ok(Accepted { tcp: TcpStream::from_std(self.tcp)?, peer: self.peer, permit: self.permit })
    }
}

/// Accepts connections for one thread, and hands them over to others.
pub(crate) struct Acceptor {
    own: usize,
    counts: Arc<AcceptCounts>,
    threads: Arc<[mpsc::UnboundedSender<HandedOver>]>,
}

impl Acceptor {
    /// Makes an acceptor for each of so many threads, with the connections that the others hand over to it.
    pub(crate) fn for_threads(threads: usize) -> Vec<(Self, mpsc::UnboundedReceiver<HandedOver>)> {
        let counts = Arc::new(AcceptCounts::new(threads));
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::unbounded_channel()).unzip();
        let senders: Arc<[_]> = senders.into();
        let acceptor = |own| Self { own, counts: Arc::clone(&counts), threads: Arc::clone(&senders) };
        receivers.into_iter().enumerate().map(|(own, receiver)| (acceptor(own), receiver)).collect()
    }

    /// True if this thread accepts connections; otherwise, it serves those that others hand over.
    pub(crate) fn accepts(&self) -> bool {
        self.own < ACCEPTING
    }

    /// Accepts for as long as this thread has fewer than `limit` connections. It never ends.
    pub(crate) async fn accept(&self, listener: &TcpListener, limit: usize, serve: &impl Fn(Accepted<TcpStream>)) {
        let mut is_failing = false;
        let all = limit.saturating_mul(self.counts.threads());
        let address_limit = (all - all / 9).min(ADDRESS_LIMIT);
        loop {
            self.falls_below(limit).await;
            match listener.accept().await {
                Ok((tcp, peer)) => {
                    if is_failing {
                        info!("the appliance accepts connections again");
                        is_failing = false;
                    }
                    let address = address::counted(peer.ip());
                    if self.counts.enter(address, address_limit) {
                        self.assign(tcp, peer, address, serve);
                    } else {
                        debug!(%address, "a connection is closed, because its address has too many");
                    }
                }
                Err(error) if affects_one_connection(&error) => {}
                Err(error) => {
                    if !is_failing {
                        error!(%error, "cannot accept connections; the appliance retries");
                        is_failing = true;
                    }
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    /// Serves a connection on this thread, or hands it over to the one with the fewest.
    fn assign(&self, tcp: TcpStream, peer: SocketAddr, address: IpAddr, serve: &impl Fn(Accepted<TcpStream>)) {
        let counts = &self.counts;
        let other = (0..counts.threads()).min_by_key(|&thread| counts.of(thread)).unwrap_or(self.own);
        // Handing a connection over costs more than a small imbalance.
        let tolerable = (counts.of(other) / 4).min(IMBALANCE);
        let thread = if counts.of(self.own) > counts.of(other) + tolerable { other } else { self.own };
        let permit = counts.permit(thread, address);
        if thread == self.own {
            serve(Accepted { tcp, peer, permit });
        } else if let Ok(tcp) = tcp.into_std() {
            // This fails only if that thread has ended, and then the server is about to end.
            let _ = self.threads[thread].send(Accepted { tcp, peer, permit });
        }
    }

    /// Waits until this thread has fewer than `limit` connections.
    pub(crate) async fn falls_below(&self, limit: usize) {
        self.counts.falls_below(self.own, limit).await;
    }
}

/// True if an error concerns one connection only (accept(2)).
fn affects_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::Future;
    use std::net::TcpStream as Client;

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);
    /// The time that is given to something that must not happen.
    const MOMENT: Duration = Duration::from_millis(100);

    struct Scene {
        listener: TcpListener,
        served: RefCell<Vec<Accepted<TcpStream>>>,
        clients: Vec<Client>,
    }

    impl Scene {
        async fn with(clients: usize) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let clients = (0..clients).map(|_| Client::connect(address).unwrap()).collect();
            Self { listener, served: RefCell::default(), clients }
        }

        /// Accepts until `until` ends, and returns true if that was in time.
        async fn accept(
            &self,
            acceptor: &Acceptor,
            limit: usize,
            patience: Duration,
            until: impl Future<Output = ()>,
        ) -> bool {
            let serve = |accepted: Accepted<TcpStream>| self.served.borrow_mut().push(accepted);
            tokio::select! {
                () = acceptor.accept(&self.listener, limit, &serve) => unreachable!("accepting never ends"),
                result = timeout(patience, until) => result.is_ok(),
            }
        }

        /// Lets the first thread accept all clients, and returns the number of connections that it keeps.
        async fn kept(&self, threads: &[(Acceptor, mpsc::UnboundedReceiver<HandedOver>)]) -> usize {
            let handed_over = || threads.iter().map(|(_, handed_over)| handed_over.len()).sum::<usize>();
            let all = async {
                while self.served.borrow().len() + handed_over() < self.clients.len() {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            assert!(self.accept(&threads[0].0, usize::MAX, PATIENCE, all).await);
            self.served.borrow().len()
        }

        async fn serves(&self, count: usize) {
            while self.served.borrow().len() < count {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test]
    async fn connections_are_distributed_over_threads() {
        let scene = Scene::with(9).await;
        let mut threads = Acceptor::for_threads(3);
        assert_eq!(scene.kept(&threads).await, 3);
        for (_, handed_over) in &mut threads[1..] {
            let mut taken = Vec::new();
            while let Ok(accepted) = handed_over.try_recv() {
                assert!(scene.clients.iter().any(|client| client.local_addr().unwrap() == accepted.peer));
                taken.push(accepted.register().unwrap());
            }
            assert_eq!(taken.len(), 3);
        }
    }

    #[tokio::test]
    async fn many_connections_are_as_balanced_as_few() {
        let scene = Scene::with(100).await;
        let mut threads = Acceptor::for_threads(2);
        let kept = scene.kept(&threads).await;
        assert!((50..=50 + IMBALANCE).contains(&kept), "{kept}");
        let handed_over = std::iter::from_fn(|| threads[1].1.try_recv().ok()).count();
        assert_eq!(kept + handed_over, 100);
    }

    #[tokio::test]
    async fn one_address_leaves_permits_to_others() {
        let scene = Scene::with(12).await;
        let threads = Acceptor::for_threads(1);
        let acceptor = &threads[0].0;
        // Twelve clients have connected, and one address's share is eight of nine permits.
        assert!(scene.accept(acceptor, 9, PATIENCE, scene.serves(8)).await);
        assert!(!scene.accept(acceptor, 9, MOMENT, scene.serves(9)).await);
        assert_eq!(scene.served.borrow().len(), 8);
        let other = tokio::net::TcpSocket::new_v4().unwrap();
        other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let address = scene.listener.local_addr().unwrap();
        let (_other, served) =
            tokio::join!(other.connect(address), scene.accept(acceptor, 9, PATIENCE, scene.serves(9)));
        assert!(served, "another address gets a permit");
        scene.served.borrow_mut().clear();
        assert!(acceptor.counts.addresses().is_empty(), "addresses without connections are forgotten");
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_for_a_permit() {
        let scene = Scene::with(3).await;
        let threads = Acceptor::for_threads(1);
        let acceptor = &threads[0].0;
        assert!(scene.accept(acceptor, 2, PATIENCE, scene.serves(2)).await);
        assert!(!scene.accept(acceptor, 2, MOMENT, scene.serves(3)).await);
        assert_eq!(scene.served.borrow().len(), 2);
        assert!(timeout(MOMENT, acceptor.falls_below(2)).await.is_err());

        let both = async { tokio::join!(acceptor.falls_below(2), acceptor.falls_below(2)) };
        let leave = async {
            sleep(MOMENT).await;
            drop(scene.served.borrow_mut().pop());
        };
        assert!(timeout(PATIENCE, async { tokio::join!(both, leave) }).await.is_ok(), "all waiters are notified");
        assert!(scene.accept(acceptor, 2, PATIENCE, scene.serves(2)).await);
        scene.served.borrow_mut().clear();
        assert!(timeout(PATIENCE, acceptor.falls_below(1)).await.is_ok());
    }
}
