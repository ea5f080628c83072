//! Limits for one caller and for one address: requests per second, and requests at a time.
//!
//! Callers differ by name and by method of authentication: a token, an OIDC user, a certificate and an AWS identity of one name
//! are four callers. A personal token counts as the person who made it. Callers without a name differ by address.

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
use super::caller::{AuthMethod, Caller, OwnerSignIn};

/// The number of callers or addresses that are remembered before idle ones are forgotten.
const REMEMBERED: usize = 10_000;
/// Requests that a caller may have running at a time by default. Two thousand connections, the most that a busy client
/// is known to use, stay well below it. A request with its connection takes 26 to 37 KiB, so these take 150 MiB at most.
const CONCURRENCY: NonZeroU32 = NonZeroU32::new(4000).expect("not zero");
/// Requests of one address that may run at a time, of all callers together. A proxy that is not in `trusted-proxies` brings
/// all its users from one address, so this is far above what one caller may have.
const ADDRESS_CONCURRENCY: NonZeroU32 = NonZeroU32::new(8000).expect("not zero");
/// Requests of unauthenticated clients at one address that may run at a time. Only a sign-in takes longer than its head.
const UNAUTHENTICATED: NonZeroU32 = NonZeroU32::new(100).expect("not zero");
/// Requests per second of one address that may be rejected before their caller is known, and at once after a pause. It
/// bounds what an unauthenticated client writes to the logs; a browser whose session has ended asks for a few dozen things at once.
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

/// The limit that a request exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Too many per second; it makes sense to try again after this time.
    #[error("too many requests per second")]
    Rate(Duration),
    /// Too many at a time.
    #[error("too many requests at a time")]
    Concurrency,
}

/// Counts the requests of callers and addresses. `A` is attached to each of them, for other counts.
pub struct Meter<A> {
    limits: Limits,
    usages: Mutex<Usages<A>>,
}

struct Usages<A> {
    /// The callers by name: holders of tokens, users of the load balancer, holders of certificates and JWTs, AWS identities.
    named: [UsageMap<String, A>; 5],
    /// Callers without a name.
    anonymous: UsageMap<IpAddr, A>,
    /// Clients that are not authenticated yet. They do not count together with anonymous callers, who may have many requests, and
    /// could otherwise not sign in.
    unauthenticated: UsageMap<IpAddr, A>,
    /// All requests of an address. Their rate is that of rejections.
    addresses: UsageMap<IpAddr, A>,
}

/// Each request looks up two of them. The hash takes a tenth of the standard one's instructions, is seeded at random, and
/// [`REMEMBERED`] bounds what names that collide could cost.
type UsageMap<K, A> = HashMap<K, Arc<Usage<A>>, RandomState>;

struct Usage<A> {
    rate: Option<DefaultDirectRateLimiter>,
    running: AtomicU32,
    attached: A,
}

/// A permit for a request, which counts until it is dropped.
pub struct Permit<A> {
    caller: Option<ConcurrencyPermit<A>>,
    address: Option<ConcurrencyPermit<A>>,
}

struct ConcurrencyPermit<A>(Arc<Usage<A>>);

impl<A> Drop for ConcurrencyPermit<A> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<A> Permit<A> {
    /// Returns the attachment of the caller.
    #[must_use]
    pub fn caller(&self) -> Option<&A> {
        self.caller.as_ref().map(|running| &running.0.attached)
    }

    /// Returns the attachment of the address.
    #[must_use]
    pub fn address(&self) -> Option<&A> {
        self.address.as_ref().map(|running| &running.0.attached)
    }
}

impl<A: Default> Meter<A> {
    /// Returns a meter without any counts.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let usages = Usages {
            named: Default::default(),
            anonymous: UsageMap::default(),
            unauthenticated: UsageMap::default(),
            addresses: UsageMap::default(),
        };
        Self { limits, usages: Mutex::new(usages) }
    }

    /// Counts a request of a caller, from an address if that is known.
    ///
    /// # Errors
    /// [`Excess`].
    pub fn count(&self, caller: &Caller, address: Option<IpAddr>) -> Result<Permit<A>, Excess> {
        let address = address.map(counted);
        let (caller, address) = self.with(|usages| {
            let by_name = |usages: &mut Usages<A>, kind: usize| {
                usage(&mut usages.named[kind], caller.name.as_str(), self.limits.rate)
            };
            let caller = match (caller.auth_method, address) {
                (AuthMethod::Oidc | AuthMethod::Personal(OwnerSignIn::Oidc), _) => by_name(usages, 1),
                (AuthMethod::Certificate | AuthMethod::Personal(OwnerSignIn::Certificate), _) => by_name(usages, 2),
                (AuthMethod::Jwt | AuthMethod::Personal(OwnerSignIn::Issuer), _) => by_name(usages, 3),
                // The person and the jobs of one name at an issuer share a limit.
                (AuthMethod::Session, _) if caller.issuer.is_some() => by_name(usages, 3),
                (AuthMethod::Aws, _) => by_name(usages, 4),
                (AuthMethod::Anonymous, Some(address)) => usage(&mut usages.anonymous, &address, self.limits.rate),
                (AuthMethod::Token | AuthMethod::Session | AuthMethod::Personal(OwnerSignIn::Token), _) => {
                    by_name(usages, 0)
                }
                (AuthMethod::Anonymous, None) => by_name(usages, 0),
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

    /// Counts a request from an address whose caller is not authenticated yet.
    ///
    /// # Errors
    /// [`Excess::Concurrency`].
    pub fn count_unauthenticated(&self, address: Option<IpAddr>) -> Result<Permit<A>, Excess> {
        let Some(address) = address.map(counted) else { return Ok(Permit { caller: None, address: None }) };
        let (unauthenticated, address) =
            self.with(|usages| (usage(&mut usages.unauthenticated, &address, None), self.address(usages, address)));
        Ok(Permit {
            caller: Some(run(unauthenticated, UNAUTHENTICATED)?),
            address: Some(run(address, ADDRESS_CONCURRENCY)?),
        })
    }

    /// Counts a request that was rejected before its caller was authenticated. It never limits authenticated callers.
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
        // Nothing can panic while the lock is held, so the value behind a poisoned lock is valid.
        then(&mut self.usages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the usage of a caller or an address, perhaps a new one.
fn usage<K, Q, A>(all: &mut UsageMap<K, A>, who: &Q, rate: Option<(NonZeroU32, NonZeroU32)>) -> Arc<Usage<A>>
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

fn run<A>(usage: Arc<Usage<A>>, limit: NonZeroU32) -> Result<ConcurrencyPermit<A>, Excess> {
    let before = usage.running.fetch_add(1, Ordering::Relaxed);
    let running = ConcurrencyPermit(usage);
    if before >= limit.get() { Err(Excess::Concurrency) } else { Ok(running) }
}

fn check<A>(usage: &Usage<A>) -> Result<(), Excess> {
    match usage.rate.as_ref().map(RateLimiter::check) {
        Some(Err(early)) => Err(Excess::Rate(early.wait_time_from(DefaultClock::default().now()))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
