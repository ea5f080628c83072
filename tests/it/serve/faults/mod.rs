//! Faults, made one at a time and counted, and that the appliance is itself again when they are over.
//!
//! What lasts longer than a test may is in `tests/soak`. Faults that other files are about are not made again here: a
//! caller who drips (`hostile::slow`), an outage of STS (`credentials`), an answer that breaks off (`upstream_failures`).

mod addresses;
mod callers;
mod certificates;
mod circuit;
mod clocks;
mod descriptors;
mod disk;
mod identity;
mod overload;
mod resets;
mod signals;
mod storms;

use std::process::Command;

/// True if a command runs in a mount namespace of its own; else says loudly that a test is skipped.
fn may_mount(test: &str) -> bool {
    let probe = [OWN_MOUNTS, &["sh", "-c", "mount -t tmpfs none /mnt"]].concat();
    let may = Command::new(probe[0]).args(&probe[1..]).output().is_ok_and(|output| output.status.success());
    if !may {
        let reason = "this machine makes no mount namespace";
        assert!(std::env::var_os("APPLIANCE_TEST_REQUIRE_ALL").is_none(), "{test} cannot be skipped: {reason}");
        eprintln!("SKIPPED {test}: {reason}");
    }
    may
}

/// What runs a command with mounts that nobody else sees, for root and for others.
const OWN_MOUNTS: &[&str] = &["unshare", "--mount", "--map-root-user", "--propagation", "private"];
