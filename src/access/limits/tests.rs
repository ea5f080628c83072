//! The tests of `limits.rs`.

use super::super::caller::{Role, Targets};
use super::*;

fn meter(rate: Option<(u32, u32)>, concurrency: Option<u32>) -> Meter<()> {
    let number = |number| NonZeroU32::new(number).expect("not zero");
    let rate = rate.map(|(rate, burst)| (number(rate), number(burst)));
    Meter::new(Limits { rate, concurrency: concurrency.map_or(CONCURRENCY, number) })
}

fn caller(name: &str, auth_method: AuthMethod) -> Caller {
    Caller { name: name.to_owned(), role: Role::Read, targets: Targets::All, auth_method, issuer: None, expires: None }
}

fn ci() -> Caller {
    caller("ci", AuthMethod::Token)
}

fn at(address: &str) -> IpAddr {
    address.parse().expect(address)
}

#[test]
fn a_burst_passes_and_then_the_rate_applies() {
    let meter = meter(Some((1, 3)), None);
    for _ in 0..3 {
        assert!(meter.count(&ci(), None).is_ok());
    }
    let Err(Excess::Rate(wait)) = meter.count(&ci(), None) else { panic!("over the rate") };
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
    assert!(meter.count(&caller("ada", AuthMethod::Token), None).is_ok(), "others are not affected");
}

#[test]
fn running_requests_count_until_they_end() {
    let meter = meter(None, Some(2));
    let first = meter.count(&ci(), None).ok();
    let second = meter.count(&ci(), None).ok();
    assert!(first.is_some() && second.is_some());
    assert_eq!(meter.count(&ci(), None).err(), Some(Excess::Concurrency));
    assert_eq!(meter.count(&ci(), None).err(), Some(Excess::Concurrency), "a rejection does not count as running");
    drop(first);
    assert!(meter.count(&ci(), None).is_ok());
}

#[test]
fn callers_differ_by_method_and_name_and_anonymous_ones_by_address() {
    let meter = meter(None, Some(1));
    let address = Some(at("192.0.2.1"));
    let held = [AuthMethod::Token, AuthMethod::Oidc, AuthMethod::Certificate, AuthMethod::Aws]
        .map(|auth_method| meter.count(&caller("ci", auth_method), address));
    assert!(held.iter().all(Result::is_ok), "four callers of one name");
    let session = caller("ci", AuthMethod::Session);
    assert_eq!(meter.count(&session, address).err(), Some(Excess::Concurrency), "a session is its token's");
    let unauthenticated = caller("anonymous", AuthMethod::Anonymous);
    let held: Vec<_> = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"]
        .map(|text| meter.count(&unauthenticated, Some(at(text))).expect(text))
        .into();
    for text in ["192.0.2.1", "::ffff:192.0.2.2", "2001:db8::2", "2001:db8:0:1:ffff::1"] {
        assert_eq!(meter.count(&unauthenticated, Some(at(text))).err(), Some(Excess::Concurrency), "{text}");
    }
    drop(held);
}

#[test]
fn anonymous_callers_leave_room_to_sign_in() {
    let (meter, address) = (meter(None, None), Some(at("192.0.2.1")));
    let anonymous = caller("anonymous", AuthMethod::Anonymous);
    let many = 2 * UNAUTHENTICATED.get();
    let held: Vec<_> = (0..many).map(|_| meter.count(&anonymous, address).expect("below the limit")).collect();
    let waiting: Vec<_> = (0..many).map_while(|_| meter.count_unauthenticated(address).ok()).collect();
    assert_eq!((held.len(), waiting.len()), (many as usize, UNAUTHENTICATED.get() as usize));
    assert!(meter.count(&anonymous, address).is_ok(), "and those who sign in leave room to them");
}

#[test]
fn rejections_are_limited_by_address_and_do_not_limit_authenticated_callers() {
    for (meter, burst) in [(meter(Some((1, 5)), None), 5), (meter(None, None), 1000)] {
        let address = at("192.0.2.1");
        let accepted = (0..2 * burst).filter(|_| meter.reject(address).is_ok()).count();
        assert!((burst..burst + burst / 2).contains(&accepted), "{accepted}");
        assert!(matches!(meter.reject(address), Err(Excess::Rate(_))));
        assert!(meter.count(&ci(), Some(address)).is_ok(), "a known caller at that address");
        assert!(meter.count_unauthenticated(Some(address)).is_ok(), "a client that is about to sign in there");
        assert!(meter.reject(at("192.0.2.2")).is_ok(), "another address");
    }
}

#[test]
fn idle_callers_are_forgotten() {
    let meter = meter(None, Some(1));
    let running = meter.count(&ci(), Some(at("192.0.2.1"))).ok();
    for number in 0..=2 * REMEMBERED {
        let address = IpAddr::from(u32::try_from(number).expect("small").to_be_bytes());
        assert!(meter.count(&caller(&number.to_string(), AuthMethod::Token), Some(address)).is_ok());
    }
    meter.with(|usages| {
        assert!(usages.named[0].len() <= REMEMBERED + 1 && usages.addresses.len() <= REMEMBERED + 1);
    });
    assert_eq!(meter.count(&ci(), None).err(), Some(Excess::Concurrency), "but not those that run");
    drop(running);
}
