//! Random bytes.

use ring::rand::{SecureRandom, SystemRandom};

/// Random bytes of the operating system; none if it has no source of them.
pub(super) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).ok().map(|()| bytes)
}
