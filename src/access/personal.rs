//! The rules of personal tokens: which a person may make, and which rights each has today. This module is pure.
//!
//! A token never has more rights than the person who makes it, and loses those that the person loses, as far as the appliance
//! can know that. Only the person's own sign-in makes tokens; a token makes none, so that it cannot prolong its own life.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::caller::{AuthMethod, Caller, OwnerSignIn, Role, Targets, is_target_name};
use super::caller_name::check_name;
use super::day::LastUse;
use super::token::Hash;
use super::token_entry::check_owner;
use super::tokens::{PersonalEntry, TokenEntry, Tokens};

/// The number of tokens that one person may have. Expired ones count until they are removed.
pub const PER_PERSON: usize = 20;
/// The time for which an expired token stays in the list, so that its owner finds out why a program has stopped.
const KEPT_EXPIRED: Duration = Duration::from_hours(24 * 7);
/// Seconds.
const DAY: u64 = 86_400;

/// A person, who signs in without a token of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The method of the sign-in.
    pub owner: OwnerSignIn,
    /// The name of the issuer, if the person signs in at one.
    pub issuer: Option<Arc<str>>,
    /// The role of today.
    pub role: Role,
    /// The targets of today.
    pub targets: Targets,
}

/// The token that a person asks for.
#[derive(Clone)]
pub struct Wanted {
    /// The id of the token.
    pub id: String,
    /// Its hash. The appliance need not know the token itself.
    pub hash: Hash,
    /// The person's name for it.
    pub label: String,
    /// Its role.
    pub role: Role,
    /// Its targets.
    pub targets: Targets,
    /// Its lifetime.
    pub lifetime: Duration,
}

/// The reason why a token is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMade {
    /// The name is not valid.
    #[error("Choose another name: {0}.")]
    Label(&'static str),
    /// The name of the person cannot be stored.
    #[error(
        "Your own name cannot be stored with a token: {0}. The operator can give you another with `[[caller]]` and `name`."
    )]
    Name(&'static str),
    /// The person has a token of this name.
    #[error("You have a token of this name already. Choose another name, or revoke that token first.")]
    Taken,
    /// There is a token with this id.
    #[error("There is a token with this id already. If you have confirmed it before, it works.")]
    TwoOfOneId,
    /// The person has too many.
    #[error("You have {PER_PERSON} tokens, which is the limit. Revoke one first.")]
    TooMany,
    /// The role is higher than the person's.
    #[error("A token cannot have a higher role than you, and yours is `{0}`.")]
    Role(Role),
    /// Targets that are not the person's.
    #[error("A token cannot use a target that you may not use.")]
    Targets,
    /// The lifetime is longer than the operator allows.
    #[error("A token can last for {} at most.", spoken(*.0))]
    Lifetime(Duration),
}

impl Person {
    /// Returns the person behind a request; nothing if a program could have sent it.
    #[must_use]
    pub fn of(caller: &Caller) -> Option<Self> {
        let owner = caller.owner()?;
        let (name, targets) = (caller.name.clone(), caller.targets.clone());
        Some(Self { name, owner, issuer: caller.issuer.clone(), role: caller.role, targets })
    }

    /// Returns true if this person made the token.
    #[must_use]
    pub fn owns(&self, entry: &TokenEntry) -> bool {
        let is_own = |personal: &PersonalEntry| personal.owner == self.owner && personal.issuer == self.issuer;
        entry.name == self.name && entry.personal.as_ref().is_some_and(is_own)
    }

    /// Returns the person's tokens.
    pub fn own<'a>(&'a self, tokens: &'a Tokens) -> impl Iterator<Item = &'a TokenEntry> {
        tokens.of_name(&self.name).filter(|entry| self.owns(entry))
    }

    /// Adds a token to the others.
    ///
    /// # Errors
    /// [`NotMade`].
    pub fn make(&self, tokens: &mut Tokens, wanted: &Wanted, limit: Duration, now: SystemTime) -> Result<(), NotMade> {
        check_name(&wanted.label).map_err(NotMade::Label)?;
        check_owner(Some(self.owner), &self.name).map_err(NotMade::Name)?;
        if wanted.role > self.role {
            return Err(NotMade::Role(self.role));
        }
        let is_empty = matches!(&wanted.targets, Targets::Named(names) if names.is_empty());
        if is_empty || !wanted.targets.are_within(&self.targets) {
            return Err(NotMade::Targets);
        }
        if let Targets::Named(names) = &wanted.targets
            && !names.iter().all(|name| is_target_name(name))
        {
            return Err(NotMade::Targets);
        }
        let expires =
            now.checked_add(wanted.lifetime).filter(|_| wanted.lifetime <= limit && !wanted.lifetime.is_zero());
        let expires = expires.ok_or(NotMade::Lifetime(limit))?;
        forget_expired(tokens, now);
        let own = || self.own(tokens).filter_map(|entry| entry.personal.as_ref());
        if own().any(|personal| personal.label == wanted.label) {
            return Err(NotMade::Taken);
        }
        if own().count() >= PER_PERSON {
            return Err(NotMade::TooMany);
        }
        let entry = TokenEntry {
            id: wanted.id.clone(),
            name: self.name.clone(),
            role: wanted.role,
            targets: wanted.targets.clone(),
            created: now,
            expires: Some(expires),
            hash: wanted.hash,
            personal: Some(PersonalEntry {
                owner: self.owner,
                issuer: self.issuer.clone(),
                label: wanted.label.clone(),
                used: LastUse::new(None),
            }),
        };
        tokens.add(entry).map_err(|_| NotMade::TwoOfOneId)
    }

    /// Returns true if one of the person's tokens has more rights than the person.
    #[must_use]
    pub fn is_exceeded(&self, tokens: &Tokens) -> bool {
        self.own(tokens).any(|entry| entry.role > self.role || !entry.targets.are_within(&self.targets))
    }

    /// Takes from the person's tokens the rights that the person has lost. A token without any target is removed.
    pub fn lower(&self, tokens: &mut Tokens) {
        let gone = tokens.remove(|entry| {
            self.owns(entry) && matches!(entry.targets.and(&self.targets), Targets::Named(names) if names.is_empty())
        });
        drop(gone);
        tokens.change_all(|entry| {
            if self.owns(entry) {
                entry.role = entry.role.min(self.role);
                entry.targets = entry.targets.and(&self.targets);
            }
        });
    }
}

/// Returns the caller that a personal token stands for, whose owner has these rights today.
#[must_use]
pub fn caller(entry: &TokenEntry, personal: &PersonalEntry, (role, targets): (Role, &Targets)) -> Caller {
    Caller {
        name: entry.name.clone(),
        role: entry.role.min(role),
        targets: entry.targets.and(targets),
        auth_method: AuthMethod::Personal(personal.owner),
        issuer: personal.issuer.clone(),
        expires: entry.expires,
    }
}

/// Returns the rights of the person with this name, who signs in with tokens of operators: those of the valid token with the
/// highest role. Returns nothing if there is no such token any more.
#[must_use]
pub fn rights_by_tokens<'a>(tokens: &'a Tokens, name: &'a str, now: SystemTime) -> Option<(Role, &'a Targets)> {
    let valid = tokens.of_name(name).filter(|entry| entry.personal.is_none() && entry.is_valid(now));
    valid.max_by_key(|entry| entry.role).map(|entry| (entry.role, &entry.targets))
}

/// Returns the rights of a person who may have either these or those.
#[must_use]
pub fn either(some: Option<(Role, Targets)>, (role, targets): (Role, &Targets)) -> Option<(Role, Targets)> {
    let Some((other_role, others)) = some else { return Some((role, targets.clone())) };
    Some((role.max(other_role), others.or(targets)))
}

/// Writes a lifetime in days if it is a number of days. `humantime` would write 90 days as months of 30.44 days.
#[must_use]
pub fn spoken(lifetime: Duration) -> String {
    let seconds = lifetime.as_secs();
    match (seconds / DAY, seconds % DAY) {
        (1, 0) => "1 day".to_owned(),
        (days @ 2.., 0) => format!("{days} days"),
        _ => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    }
}

/// Removes the tokens that expired some time ago.
fn forget_expired(tokens: &mut Tokens, now: SystemTime) {
    let is_old = |end: SystemTime| end.checked_add(KEPT_EXPIRED).is_some_and(|forgotten| forgotten <= now);
    let is_forgotten = |entry: &TokenEntry| entry.personal.is_some() && entry.expires.is_some_and(is_old);
    if tokens.entries().iter().any(is_forgotten) {
        tokens.remove(is_forgotten);
    }
}

#[cfg(test)]
mod tests;
