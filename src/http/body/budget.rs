//! Bytes that all requests share, and how much of them one caller and one address may hold.
//!
//! A share is a multiple of the bytes that are left free. One caller alone reaches two thirds of a budget; several share
//! more of it between them, and however many they are, they leave something for the next. A fixed fraction would either
//! waste most of the budget when there is one caller or be used up by a few.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A caller may hold this many times the bytes that it leaves free: two thirds of a budget without other users.
const CALLER_FACTOR: u64 = 2;
/// An address may hold this many times the bytes that it leaves free, which is eight ninths. Many callers can share one
/// address, and someone with many tokens must not shut out the others there.
const ADDRESS_FACTOR: u64 = 8;
/// A body up to this size counts as small: calls such as `log-metric`, which carry a few hundred bytes. Bytes.
const SMALL: u64 = 64 * 1024;

/// The resources that have a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetKind {
    /// Memory for bodies that stay in memory. A quarter of it is for small bodies only.
    Memory,
    /// Memory for pieces of bodies on their way to and from the disk.
    Gathering,
    /// Memory that the listener may hold of large bodies while they arrive.
    Arriving,
    /// Disk.
    Disk,
}

const RESOURCES: usize = 4;

/// The bytes that one caller, or one address, holds of each budget.
#[derive(Debug, Default)]
pub struct Holdings([AtomicU64; RESOURCES]);

/// The caller and the address that a body counts against. Without either, no share limits it.
#[derive(Clone, Debug, Default)]
pub struct BodyOwner {
    caller: Option<Arc<Holdings>>,
    address: Option<Arc<Holdings>>,
}

impl BodyOwner {
    /// The owner of a body: a caller and an address, as far as they are known.
    #[must_use]
    pub fn new(caller: Option<Arc<Holdings>>, address: Option<Arc<Holdings>>) -> Self {
        Self { caller, address }
    }

    fn parties(&self) -> impl Iterator<Item = (&Holdings, u64)> {
        let caller = self.caller.as_deref().map(|holdings| (holdings, CALLER_FACTOR));
        caller.into_iter().chain(self.address.as_deref().map(|holdings| (holdings, ADDRESS_FACTOR)))
    }
}

/// Counts the bytes that all requests hold, and keeps them below a limit. A clone shares the count.
#[derive(Clone, Debug)]
pub struct Budget {
    resource: BudgetKind,
    limit: u64,
    used: Arc<AtomicU64>,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(resource: BudgetKind, limit: u64) -> Self {
        Self { resource, limit, used: Arc::default() }
    }

    /// Bytes that may be held.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes held now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// A reservation that holds nothing yet.
    #[must_use]
    pub fn open(&self, body_owner: &BodyOwner) -> Reservation {
        Reservation { budget: self.clone(), body_owner: body_owner.clone(), bytes: 0 }
    }

    /// Takes `bytes` out of the budget. Returns nothing if the budget, or the owner's share of it, has fewer left.
    #[must_use]
    pub fn reserve(&self, bytes: u64, body_owner: &BodyOwner) -> Option<Reservation> {
        let mut reservation = self.open(body_owner);
        reservation.grow(bytes).then_some(reservation)
    }

    /// True if `bytes` could be reserved now. It reserves nothing, since an announcement alone must not hold anything.
    #[must_use]
    pub fn has_room(&self, bytes: u64, body_owner: &BodyOwner) -> bool {
        let Some(free) = self.used().checked_add(bytes).and_then(|total| self.limit_for(bytes).checked_sub(total))
        else {
            return false;
        };
        body_owner.parties().all(|(holdings, factor)| {
            let held = holdings.0[self.resource as usize].load(Ordering::Relaxed);
            held.saturating_add(bytes) <= free.saturating_mul(factor)
        })
    }

    /// The limit up to which a reservation that has grown to `bytes` may fill the budget.
    fn limit_for(&self, bytes: u64) -> u64 {
        if self.resource == BudgetKind::Memory && bytes > SMALL { self.limit / 4 * 3 } else { self.limit }
    }
}

/// Bytes taken out of a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    body_owner: BodyOwner,
    bytes: u64,
}

impl Reservation {
    /// Takes `more` bytes. If the budget, or the owner's share of it, has fewer left, this returns false and takes none.
    #[must_use]
    pub fn grow(&mut self, more: u64) -> bool {
        let Budget { resource, used, .. } = &self.budget;
        let Some(bytes) = self.bytes.checked_add(more) else { return false };
        let limit = self.budget.limit_for(bytes);
        // Relaxed: the counts guard no other memory.
        let fits = |used: u64| used.checked_add(more).filter(|total| *total <= limit);
        let Ok(before) = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) else { return false };
        let free = limit - before - more;
        let mut is_within = true;
        for (holdings, factor) in self.body_owner.parties() {
            let held = holdings.0[*resource as usize].fetch_add(more, Ordering::Relaxed) + more;
            is_within &= held <= free.saturating_mul(factor);
        }
        self.bytes = bytes;
        if !is_within {
            self.shrink(more);
        }
        is_within
    }

    /// Gives `bytes` of it back.
    fn shrink(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
        for (holdings, _) in self.body_owner.parties() {
            holdings.0[self.budget.resource as usize].fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Bytes held by this reservation.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The owner that it counts against.
    #[must_use]
    pub fn body_owner(&self) -> &BodyOwner {
        &self.body_owner
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> BodyOwner {
        BodyOwner::new(Some(Arc::default()), None)
    }

    #[test]
    fn reservations_never_exceed_the_limit_and_are_returned() {
        let budget = Budget::new(BudgetKind::Disk, 10);
        let nobody = BodyOwner::default();
        let mut first = budget.reserve(6, &nobody).expect("6 of 10");
        assert!(budget.reserve(5, &nobody).is_none() && !budget.has_room(5, &nobody));
        assert!(budget.has_room(4, &nobody) && first.grow(4));
        assert!(!first.grow(1));
        assert_eq!((budget.used(), first.bytes()), (10, 10));
        drop(first);
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(u64::MAX, &nobody).is_none());
    }

    #[test]
    fn a_part_of_the_budget_is_left_however_many_callers_take_their_share() {
        let budget = Budget::new(BudgetKind::Disk, 1_000_000);
        let mut held = Vec::new();
        for others in 0..8 {
            let mut reservation = budget.open(&caller());
            while reservation.grow(100) {}
            assert!(reservation.bytes() >= 600_000 / 3_u64.pow(others), "caller {others}: {reservation:?}");
            assert!(budget.used() < budget.limit(), "caller {others}");
            held.push(reservation);
        }
        assert!((666_000..=666_667).contains(&held[0].bytes()), "one caller takes two thirds: {:?}", held[0]);
        held.clear();
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_rejected_reservation_reserves_nothing() {
        let budget = Budget::new(BudgetKind::Disk, 900);
        let body_owner = caller();
        let mut reservation = budget.open(&body_owner);
        assert!(reservation.grow(600) && !reservation.grow(1) && !reservation.grow(300));
        assert_eq!((budget.used(), reservation.bytes()), (600, 600));
        assert!(budget.reserve(200, &caller()).is_some());
        assert!(!budget.has_room(1, &body_owner) && budget.has_room(200, &caller()));
        drop(reservation);
        assert!(budget.has_room(600, &body_owner) && !budget.has_room(601, &body_owner));
    }

    #[test]
    fn one_address_with_many_callers_leaves_a_part_of_the_budget() {
        let budget = Budget::new(BudgetKind::Disk, 9_000_000);
        let address = Arc::<Holdings>::default();
        let mut held = Vec::new();
        for _ in 0..100 {
            let mut reservation = budget.open(&BodyOwner::new(Some(Arc::default()), Some(Arc::clone(&address))));
            while reservation.grow(1000) {}
            held.push(reservation);
        }
        assert!((7_990_000..=8_000_000).contains(&budget.used()), "{}", budget.used());
        assert!(budget.reserve(100_000, &BodyOwner::new(Some(Arc::default()), Some(Arc::default()))).is_some());
    }

    #[test]
    fn a_quarter_of_the_memory_is_for_small_bodies() {
        let budget = Budget::new(BudgetKind::Memory, 64 * SMALL);
        let nobody = BodyOwner::default();
        let large = budget.reserve(48 * SMALL, &nobody).expect("three quarters");
        assert!(budget.reserve(SMALL + 1, &nobody).is_none() && !budget.has_room(SMALL + 1, &nobody));
        let small: Vec<_> = (0..16).map_while(|_| budget.reserve(SMALL, &nobody)).collect();
        assert_eq!((small.len(), budget.used()), (16, budget.limit()));
        drop((large, small));

        // A caller's own uploads leave room for its small calls as well.
        let body_owner = caller();
        let mut uploads = Vec::new();
        while let Some(upload) = budget.reserve(4 * SMALL, &body_owner) {
            uploads.push(upload);
        }
        assert!(
            budget.used() >= budget.limit() / 3 && budget.reserve(SMALL, &body_owner).is_some(),
            "{}",
            budget.used()
        );
    }
}
