//! Faults, injected one at a time and counted: the appliance recovers when they are over.
//!
//! `tests/system/soak` has the faults that last longer than a test may. Other files already make these faults: a
//! caller who drips (`hostile::slow`), an outage of STS (`credentials`), an answer that breaks off (`upstream_failures`).

mod addresses;
mod callers;
mod certificates;
mod circuit;
mod clocks;
mod descriptors;
mod dials;
mod disk;
mod identity;
mod overload;
mod resets;
mod signals;
mod slow_answers;
mod storms;

/// The command that gives another command mounts of its own, for root and for others.
const OWN_MOUNTS: &[&str] = &["unshare", "--mount", "--map-root-user", "--propagation", "private"];
