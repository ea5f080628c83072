//! The callers of the sandbox: one for each role, each with a token.

use std::time::Duration;

use ring::rand::SystemRandom;
use secrecy::SecretString;

use crate::access::caller::{Role, Targets};
use crate::access::token::{self, NoRandomness};
use crate::access::tokens::{TokenEntry, Tokens};
use crate::clock;

/// Longer than a sandbox runs; the status page and `appliance token list` show an expiry.
const LIFETIME: Duration = Duration::from_hours(24 * 30);

/// A role, and the token of the caller who has it.
#[derive(Debug)]
pub struct RoleToken {
    /// The role.
    pub role: Role,
    /// The token.
    pub text: SecretString,
}

/// Makes a token for each role, and the token file that has their hashes.
pub(super) fn make() -> Result<(Vec<RoleToken>, Tokens), NoRandomness> {
    let (mut made, mut file) = (Vec::new(), Tokens::default());
    let now = clock::now();
    for (role, name) in [(Role::Read, "reader"), (Role::Write, "writer"), (Role::Admin, "administrator")] {
        let new = token::generate(&SystemRandom::new())?;
        let entry = TokenEntry {
            id: new.id,
            name: name.to_owned(),
            role,
            targets: Targets::All,
            created: now,
            expires: Some(now + LIFETIME),
            hash: new.hash,
            personal: None,
        };
        // Ids are random. The function would reject a second one that is the same.
        if file.add(entry).is_ok() {
            made.push(RoleToken { role, text: new.text });
        }
    }
    Ok((made, file))
}
