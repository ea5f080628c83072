//! Limits for one caller and for one address: requests per second, and requests at a time.
//!
//! A caller is told apart by its name and by the means with which it proved it: a token, an OIDC user and a certificate
//! of one name are three callers. Those without a name are told apart by their address.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::address::counted;
use super::caller::{Caller, Means};

/// Callers and addresses of a kind that are remembered before those at rest are forgotten.
const REMEMBERED: usize = 10_000;
/// Requests that a caller may have running at a time by default. Two thousand connections, the most that a busy client
/// is known to use, stay well below it. A request with its connection takes 26 to 37 KiB, so these take 150 MiB at most.
const CONCURRENCY: NonZeroU32 = NonZeroU32::new(4000).expect("not zero");
/// Requests of one address that may run at a time, whoever sends them. A proxy that is not in `trusted-proxies` brings
/// all its users from one address, so this is far above what one caller may have.
const ADDRESS_CONCURRENCY: NonZeroU32 = NonZeroU32::new(8000).expect("not zero");
/// Requests of strangers at one address that may run at a time. Only a sign-in takes longer than its head.
const STRANGERS: NonZeroU32 = NonZeroU32::new(100).expect("not zero");
/// Requests per second of one address that may be rejected before their caller is known, and at once after a pause. It
/// bounds what a stranger writes to the logs; a browser whose session has ended asks for a few dozen things at once.
const REJECTIONS: (NonZeroU32, NonZeroU32) =
    (NonZeroU32::new(100).expect("not zero"), NonZeroU32::new(1000).expect("not zero"));

/// The limits, each for one caller at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests per second in the long run, and at once after a pause.
    pub rate: Option<(NonZeroU32, NonZeroU32)>,
    /// Requests at a time.
    pub concurrency: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rate: None, concurrency: CONCURRENCY }
    }
}

/// Why a request has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Too many per second; it makes sense to try again after this time.
    #[error("too many requests per second")]
    Rate(Duration),
    /// Too many at a time.
    #[error("too many requests at a time")]
    Concurrency,
}

/// Keeps count of what callers and addresses do. `A` is attached to each of them, to count more.
pub struct Meter<A> {
    limits: Limits,
    usages: Mutex<Usages<A>>,
}

struct Usages<A> {
    /// By name: holders of tokens, users of the load balancer, holders of certificates.
    named: [Known<String, A>; 3],
    /// Callers without a name.
    strangers: Known<IpAddr, A>,
    /// All who come from an address. Their rate is that of rejections.
    addresses: Known<IpAddr, A>,
}

/// Each request looks up two of them. The hash takes a tenth of the standard one's instructions, is seeded at random, and
/// [`REMEMBERED`] bounds what names that collide could cost.
type Known<K, A> = HashMap<K, Arc<Usage<A>>, RandomState>;

struct Usage<A> {
    rate: Option<DefaultDirectRateLimiter>,
    running: AtomicU32,
    attached: A,
}

/// A request that runs; it counts until this is dropped.
pub struct Permit<A> {
    caller: Option<Running<A>>,
    address: Option<Running<A>>,
}

struct Running<A>(Arc<Usage<A>>);

impl<A> Drop for Running<A> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<A> Permit<A> {
    /// The attachment of the caller.
    #[must_use]
    pub fn caller(&self) -> Option<&A> {
        self.caller.as_ref().map(|running| &running.0.attached)
    }

    /// The attachment of the address.
    #[must_use]
    pub fn address(&self) -> Option<&A> {
        self.address.as_ref().map(|running| &running.0.attached)
    }
}

impl<A: Default> Meter<A> {
    /// A meter that nobody has used yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let usages = Usages { named: Default::default(), strangers: Known::default(), addresses: Known::default() };
        Self { limits, usages: Mutex::new(usages) }
    }

    /// Counts a request of a caller, from an address if that is known.
    ///
    /// # Errors
    /// [`Excess`].
    pub fn admit(&self, caller: &Caller, address: Option<IpAddr>) -> Result<Permit<A>, Excess> {
        let address = address.map(counted);
        let (caller, address) = self.with(|usages| {
            let by_name = |usages: &mut Usages<A>, kind: usize| {
                usage(&mut usages.named[kind], caller.name.as_str(), self.limits.rate)
            };
            let caller = match (caller.means, address) {
                (Means::Oidc, _) => by_name(usages, 1),
                (Means::Certificate, _) => by_name(usages, 2),
                (Means::Anonymous, Some(address)) => usage(&mut usages.strangers, &address, self.limits.rate),
                (Means::Token | Means::Session | Means::Anonymous, _) => by_name(usages, 0),
            };
            (caller, address.map(|address| self.address(usages, address)))
        });
        let permit = Permit {
            address: address.map(|address| run(address, ADDRESS_CONCURRENCY)).transpose()?,
            caller: Some(run(caller, self.limits.concurrency)?),
        };
        if let Some(caller) = &permit.caller {
            check(&caller.0)?;
        }
        Ok(permit)
    }

    /// Counts a request of somebody at an address whose name is still to be found out.
    ///
    /// # Errors
    /// [`Excess::Concurrency`].
    pub fn admit_stranger(&self, address: Option<IpAddr>) -> Result<Permit<A>, Excess> {
        let Some(address) = address.map(counted) else { return Ok(Permit { caller: None, address: None }) };
        let (stranger, address) = self
            .with(|usages| (usage(&mut usages.strangers, &address, self.limits.rate), self.address(usages, address)));
        Ok(Permit { caller: Some(run(stranger, STRANGERS)?), address: Some(run(address, ADDRESS_CONCURRENCY)?) })
    }

    /// Counts a request that was rejected before its caller was known. It never keeps out callers who are known.
    ///
    /// # Errors
    /// [`Excess::Rate`].
    pub fn reject(&self, address: IpAddr) -> Result<(), Excess> {
        check(&self.with(|usages| self.address(usages, counted(address))))
    }

    fn address(&self, usages: &mut Usages<A>, address: IpAddr) -> Arc<Usage<A>> {
        let rate =
            self.limits.rate.map_or(REJECTIONS, |(rate, burst)| (rate.min(REJECTIONS.0), burst.min(REJECTIONS.1)));
        usage(&mut usages.addresses, &address, Some(rate))
    }

    fn with<T>(&self, then: impl FnOnce(&mut Usages<A>) -> T) -> T {
        // Nothing can panic while it is held, so what a poisoned lock guards is sound.
        then(&mut self.usages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The usage of somebody, perhaps a new one.
fn usage<K, Q, A>(all: &mut Known<K, A>, who: &Q, rate: Option<(NonZeroU32, NonZeroU32)>) -> Arc<Usage<A>>
where
    K: Hash + Eq + Borrow<Q>,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    A: Default,
{
    if let Some(usage) = all.get(who) {
        return Arc::clone(usage);
    }
    if all.len() >= REMEMBERED {
        all.retain(|_, usage| usage.running.load(Ordering::Relaxed) > 0);
    }
    let rate = rate.map(|(rate, burst)| RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)));
    let usage = Arc::new(Usage { rate, running: AtomicU32::new(0), attached: A::default() });
    all.insert(who.to_owned(), Arc::clone(&usage));
    usage
}

fn run<A>(usage: Arc<Usage<A>>, limit: NonZeroU32) -> Result<Running<A>, Excess> {
    let before = usage.running.fetch_add(1, Ordering::Relaxed);
    let running = Running(usage);
    if before >= limit.get() { Err(Excess::Concurrency) } else { Ok(running) }
}

fn check<A>(usage: &Usage<A>) -> Result<(), Excess> {
    match usage.rate.as_ref().map(RateLimiter::check) {
        Some(Err(early)) => Err(Excess::Rate(early.wait_time_from(DefaultClock::default().now()))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::caller::{Role, Targets};
    use super::*;

    fn meter(rate: Option<(u32, u32)>, concurrency: Option<u32>) -> Meter<()> {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        let rate = rate.map(|(rate, burst)| (number(rate), number(burst)));
        Meter::new(Limits { rate, concurrency: concurrency.map_or(CONCURRENCY, number) })
    }

    fn caller(name: &str, means: Means) -> Caller {
        Caller { name: name.to_owned(), role: Role::Read, targets: Targets::All, means }
    }

    fn ci() -> Caller {
        caller("ci", Means::Token)
    }

    fn at(address: &str) -> IpAddr {
        address.parse().expect(address)
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate_holds() {
        let meter = meter(Some((1, 3)), None);
        for _ in 0..3 {
            assert!(meter.admit(&ci(), None).is_ok());
        }
        let Err(Excess::Rate(wait)) = meter.admit(&ci(), None) else { panic!("over the rate") };
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert!(meter.admit(&caller("ada", Means::Token), None).is_ok(), "others are not affected");
    }

    #[test]
    fn running_requests_count_until_they_end() {
        let meter = meter(None, Some(2));
        let first = meter.admit(&ci(), None).ok();
        let second = meter.admit(&ci(), None).ok();
        assert!(first.is_some() && second.is_some());
        assert_eq!(meter.admit(&ci(), None).err(), Some(Excess::Concurrency));
        assert_eq!(meter.admit(&ci(), None).err(), Some(Excess::Concurrency), "a refusal does not count as running");
        drop(first);
        assert!(meter.admit(&ci(), None).is_ok());
    }

    #[test]
    fn callers_are_told_apart_by_means_and_name_and_strangers_by_address() {
        let meter = meter(None, Some(1));
        let address = Some(at("192.0.2.1"));
        let held =
            [Means::Token, Means::Oidc, Means::Certificate].map(|means| meter.admit(&caller("ci", means), address));
        assert!(held.iter().all(Result::is_ok), "three callers of one name");
        let session = caller("ci", Means::Session);
        assert_eq!(meter.admit(&session, address).err(), Some(Excess::Concurrency), "a session is its token's");
        let stranger = caller("anonymous", Means::Anonymous);
        let held: Vec<_> = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"]
            .map(|text| meter.admit(&stranger, Some(at(text))).expect(text))
            .into();
        for text in ["192.0.2.1", "::ffff:192.0.2.2", "2001:db8::2", "2001:db8:0:1:ffff::1"] {
            assert_eq!(meter.admit(&stranger, Some(at(text))).err(), Some(Excess::Concurrency), "{text}");
        }
        drop(held);
    }

    #[test]
    fn rejections_are_limited_by_address_and_keep_no_known_caller_out() {
        for (meter, burst) in [(meter(Some((1, 5)), None), 5), (meter(None, None), 1000)] {
            let address = at("192.0.2.1");
            let accepted = (0..2 * burst).filter(|_| meter.reject(address).is_ok()).count();
            assert!((burst..burst + burst / 2).contains(&accepted), "{accepted}");
            assert!(matches!(meter.reject(address), Err(Excess::Rate(_))));
            assert!(meter.admit(&ci(), Some(address)).is_ok(), "a known caller at that address");
            assert!(meter.admit_stranger(Some(address)).is_ok(), "somebody who is about to sign in there");
            assert!(meter.reject(at("192.0.2.2")).is_ok(), "another address");
        }
    }

    #[test]
    fn callers_at_rest_are_forgotten() {
        let meter = meter(None, Some(1));
        let running = meter.admit(&ci(), Some(at("192.0.2.1"))).ok();
        for number in 0..=2 * REMEMBERED {
            let address = IpAddr::from(u32::try_from(number).expect("small").to_be_bytes());
            assert!(meter.admit(&caller(&number.to_string(), Means::Token), Some(address)).is_ok());
        }
        meter.with(|usages| {
            assert!(usages.named[0].len() <= REMEMBERED + 1 && usages.addresses.len() <= REMEMBERED + 1);
        });
        assert_eq!(meter.admit(&ci(), None).err(), Some(Excess::Concurrency), "but not those that run");
        drop(running);
    }
}
