//! How the workers share out new connections.
//!
//! All wait at the same sockets, so whoever has time accepts. Whoever has more than another gives the connection on:
//! those that are kept would else stay with the worker that was awake when they came.
//!
//! One address cannot take all places: connections beyond its share are closed at once.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tracing::{debug, error, info};

use crate::access::address;

/// How long a worker waits that has no descriptor or no memory for a connection.
const PAUSE: Duration = Duration::from_millis(500);

/// How many connections more than another a worker may have and still keep a new one. What it takes on at once is limited,
/// so it must not be a part of many.
const MOST_UNEVEN: usize = 4;

/// Connections of one address, of all workers together. With TLS and a request, one takes 37 KiB, so these take 290 MiB at
/// most. A proxy that brings all its users from one address needs fewer, since it uses its connections again.
const OF_ONE_ADDRESS: usize = 8000;

/// A connection that nobody serves yet.
pub(crate) struct Accepted<S> {
    pub(crate) tcp: S,
    pub(crate) peer: SocketAddr,
    pub(crate) place: Place,
}

/// One on its way from one worker to another.
pub(crate) type Given = Accepted<std::net::TcpStream>;

impl Given {
    /// By the worker on this thread.
    ///
    /// # Errors
    /// What the kernel says when it has no memory for it.
    pub(crate) fn taken_over(self) -> io::Result<Accepted<TcpStream>> {
        Ok(Accepted { tcp: TcpStream::from_std(self.tcp)?, peer: self.peer, place: self.place })
    }
}

/// A worker among the others.
pub(crate) struct Share {
    own: usize,
    counts: Arc<[Count]>,
    addresses: Arc<Addresses>,
    workers: Arc<[mpsc::UnboundedSender<Given>]>,
}

/// The number of connections of each address.
#[derive(Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection, unless its address has `most` already.
    fn enter(&self, address: IpAddr, most: usize) -> bool {
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        let has_room = *count < most;
        *count += usize::from(has_room);
        has_room
    }

    fn leave(&self, address: IpAddr) {
        let mut counts = self.counts();
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

/// How many connections a worker has, those that are on their way to it included.
#[derive(Default)]
struct Count {
    connections: AtomicUsize,
    fell: Notify,
}

/// A connection's place in its worker's share and in its address's, until this is dropped.
pub(crate) struct Place {
    counts: Arc<[Count]>,
    worker: usize,
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let count = &self.counts[self.worker];
        count.connections.fetch_sub(1, Ordering::Relaxed);
        self.addresses.leave(self.address);
        // Each socket's wait is one of its own.
        count.fell.notify_waiters();
    }
}

impl Share {
    /// For so many workers, each with what comes to it from the others.
    pub(crate) fn among(workers: usize) -> Vec<(Self, mpsc::UnboundedReceiver<Given>)> {
        let counts: Arc<[Count]> = (0..workers).map(|_| Count::default()).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let senders: Arc<[_]> = senders.into();
        let addresses = Arc::<Addresses>::default();
        let share = |own| Self {
            own,
            counts: Arc::clone(&counts),
            addresses: Arc::clone(&addresses),
            workers: Arc::clone(&senders),
        };
        receivers.into_iter().enumerate().map(|(own, receiver)| (share(own), receiver)).collect()
    }

    /// Accepts for as long as this worker has fewer than `limit` connections. It never ends.
    pub(crate) async fn accept(&self, listener: &TcpListener, limit: usize, serve: &impl Fn(Accepted<TcpStream>)) {
        let mut is_short = false;
        let all = limit.saturating_mul(self.workers.len());
        let of_one_address = (all - all / 9).min(OF_ONE_ADDRESS);
        loop {
            self.falls_below(limit).await;
            match listener.accept().await {
                Ok((tcp, peer)) => {
                    if is_short {
                        info!("accepting connections again");
                        is_short = false;
                    }
                    let address = address::counted(peer.ip());
                    if self.addresses.enter(address, of_one_address) {
                        self.place(tcp, peer, address, serve);
                    } else {
                        debug!(%address, "closing a connection; its address has too many");
                    }
                }
                Err(error) if is_of_one(&error) => {}
                Err(error) => {
                    if !is_short {
                        error!(%error, "cannot accept connections; trying again");
                        is_short = true;
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn place(&self, tcp: TcpStream, peer: SocketAddr, address: IpAddr, serve: &impl Fn(Accepted<TcpStream>)) {
        let load = |worker: usize| self.counts[worker].connections.load(Ordering::Relaxed);
        let other = (0..self.counts.len()).min_by_key(|&worker| load(worker)).unwrap_or(self.own);
        // Giving it on costs more than a little more on one side.
        let tolerable = (load(other) / 4).min(MOST_UNEVEN);
        let worker = if load(self.own) > load(other) + tolerable { other } else { self.own };
        self.counts[worker].connections.fetch_add(1, Ordering::Relaxed);
        let (counts, addresses) = (Arc::clone(&self.counts), Arc::clone(&self.addresses));
        let place = Place { counts, worker, addresses, address };
        if worker == self.own {
            serve(Accepted { tcp, peer, place });
        } else if let Ok(tcp) = tcp.into_std() {
            // It fails only when that worker's thread has ended, and then the server is about to.
            let _ = self.workers[worker].send(Accepted { tcp, peer, place });
        }
    }

    /// Resolves when this worker has fewer than `limit` connections.
    pub(crate) async fn falls_below(&self, limit: usize) {
        let count = &self.counts[self.own];
        loop {
            // Before the look, so that nothing is missed that comes right after it.
            let fell = count.fell.notified();
            if count.connections.load(Ordering::Relaxed) < limit {
                return;
            }
            fell.await;
        }
    }
}

/// True if only this connection is lost (accept(2)).
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::Future;
    use std::net::TcpStream as Caller;

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);
    /// How long something is given that is not to happen.
    const MOMENT: Duration = Duration::from_millis(100);

    struct Scene {
        listener: TcpListener,
        served: RefCell<Vec<Accepted<TcpStream>>>,
        callers: Vec<Caller>,
    }

    impl Scene {
        async fn with(callers: usize) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let callers = (0..callers).map(|_| Caller::connect(address).unwrap()).collect();
            Self { listener, served: RefCell::default(), callers }
        }

        /// Accepts for as long as `until` takes; true if that came in time.
        async fn accept(
            &self,
            share: &Share,
            limit: usize,
            patience: Duration,
            until: impl Future<Output = ()>,
        ) -> bool {
            let serve = |accepted: Accepted<TcpStream>| self.served.borrow_mut().push(accepted);
            tokio::select! {
                () = share.accept(&self.listener, limit, &serve) => unreachable!("it never ends"),
                result = timeout(patience, until) => result.is_ok(),
            }
        }

        /// Has the first worker accept all callers; how many of them it keeps.
        async fn kept(&self, workers: &[(Share, mpsc::UnboundedReceiver<Given>)]) -> usize {
            let given = || workers.iter().map(|(_, given)| given.len()).sum::<usize>();
            let all = async {
                while self.served.borrow().len() + given() < self.callers.len() {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            assert!(self.accept(&workers[0].0, usize::MAX, PATIENCE, all).await);
            self.served.borrow().len()
        }

        async fn serves(&self, count: usize) {
            while self.served.borrow().len() < count {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test]
    async fn who_is_awake_gives_to_the_others() {
        let scene = Scene::with(9).await;
        let mut workers = Share::among(3);
        assert_eq!(scene.kept(&workers).await, 3);
        for (_, given) in &mut workers[1..] {
            let mut taken = Vec::new();
            while let Ok(accepted) = given.try_recv() {
                assert!(scene.callers.iter().any(|caller| caller.local_addr().unwrap() == accepted.peer));
                taken.push(accepted.taken_over().unwrap());
            }
            assert_eq!(taken.len(), 3);
        }
    }

    #[tokio::test]
    async fn many_connections_are_as_even_as_few() {
        let scene = Scene::with(100).await;
        let mut workers = Share::among(2);
        let kept = scene.kept(&workers).await;
        assert!((50..=50 + MOST_UNEVEN).contains(&kept), "{kept}");
        let given = std::iter::from_fn(|| workers[1].1.try_recv().ok()).count();
        assert_eq!(kept + given, 100);
    }

    #[tokio::test]
    async fn one_address_leaves_places_to_others() {
        let scene = Scene::with(12).await;
        let workers = Share::among(1);
        let share = &workers[0].0;
        // Twelve have come, and eight of nine places are one address's share.
        assert!(!scene.accept(share, 9, MOMENT, scene.serves(9)).await);
        assert_eq!(scene.served.borrow().len(), 8);
        let other = tokio::net::TcpSocket::new_v4().unwrap();
        other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let address = scene.listener.local_addr().unwrap();
        let (_other, served) = tokio::join!(other.connect(address), scene.accept(share, 9, PATIENCE, scene.serves(9)));
        assert!(served, "another address");
        scene.served.borrow_mut().clear();
        assert!(share.addresses.counts().is_empty(), "nothing is remembered of those who have left");
    }

    #[tokio::test]
    async fn what_is_beyond_the_limit_waits_for_a_place() {
        let scene = Scene::with(3).await;
        let workers = Share::among(1);
        let share = &workers[0].0;
        assert!(!scene.accept(share, 2, MOMENT, scene.serves(3)).await);
        assert_eq!(scene.served.borrow().len(), 2);
        assert!(timeout(MOMENT, share.falls_below(2)).await.is_err());

        let both = async { tokio::join!(share.falls_below(2), share.falls_below(2)) };
        let leave = async {
            sleep(MOMENT).await;
            drop(scene.served.borrow_mut().pop());
        };
        assert!(timeout(PATIENCE, async { tokio::join!(both, leave) }).await.is_ok(), "all who wait are told");
        assert!(scene.accept(share, 2, PATIENCE, scene.serves(2)).await);
        scene.served.borrow_mut().clear();
        assert!(timeout(PATIENCE, share.falls_below(1)).await.is_ok());
    }
}
