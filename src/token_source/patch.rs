//! The difference between two sets of tokens, and its application to a third. This module is pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::access::tokens::{TokenEntry, Tokens};

/// A change of tokens, by their ids: the new entry, or nothing for a token that is revoked.
#[derive(Clone, Default)]
pub(super) struct TokenPatch(BTreeMap<String, Option<TokenEntry>>);

impl TokenPatch {
    /// The change that makes the new tokens of the old ones.
    #[must_use]
    pub(super) fn between(old: &Tokens, new: &Tokens) -> Self {
        let by_id = |tokens: &Tokens| -> BTreeMap<String, TokenEntry> {
            tokens.entries().iter().map(|entry| (entry.id.clone(), entry.clone())).collect()
        };
        let (mut old, mut changes) = (by_id(old), BTreeMap::new());
        for (id, entry) in by_id(new) {
            if old.remove(&id).as_ref() != Some(&entry) {
                changes.insert(id, Some(entry));
            }
        }
        changes.extend(old.into_keys().map(|id| (id, None)));
        Self(changes)
    }

    /// This change after an earlier one. Where both change a token, this one counts.
    #[must_use]
    pub(super) fn after(mut self, earlier: Self) -> Self {
        for (id, change) in earlier.0 {
            self.0.entry(id).or_insert(change);
        }
        self
    }

    /// The tokens with the change.
    #[must_use]
    pub(super) fn applied(&self, tokens: &Tokens) -> Tokens {
        let mut changes = self.0.clone();
        let mut result = Tokens::default();
        let kept = tokens.entries().iter().filter_map(|entry| match changes.remove(&entry.id) {
            None => Some(entry.clone()),
            Some(change) => change,
        });
        let kept: Vec<_> = kept.collect();
        let new = changes.into_values().flatten();
        for entry in kept.into_iter().chain(new) {
            result.add(entry).expect("each id comes once");
        }
        result
    }

    /// This change of another writer, as far as it says what that writer wanted. A token that is missing there may only be
    /// unknown to the writer, unless it is among the revoked ones, and a revoked one that is there is a stale copy.
    #[must_use]
    pub(super) fn intended(mut self, revoked: &BTreeSet<String>) -> Self {
        self.0.retain(|id, change| change.is_none() == revoked.contains(id));
        self
    }

    /// The ids of the tokens that the change revokes.
    pub(super) fn revoked(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, change)| change.is_none()).map(|(id, _)| id.as_str())
    }

    /// True if nothing changes.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::access::caller::{Role, Targets};
    use crate::access::token::Hash;

    fn tokens(ids: &[(&str, Role)]) -> Tokens {
        let mut tokens = Tokens::default();
        for (id, role) in ids {
            let entry = TokenEntry {
                id: (*id).to_owned(),
                name: "ci".to_owned(),
                role: *role,
                targets: Targets::All,
                created: SystemTime::UNIX_EPOCH,
                expires: None,
                hash: Hash::of(id),
                personal: None,
            };
            tokens.add(entry).expect(id);
        }
        tokens
    }

    fn ids(tokens: &Tokens) -> Vec<String> {
        tokens.entries().iter().map(|entry| format!("{}:{}", entry.id, entry.role)).collect()
    }

    #[test]
    fn a_change_applies_to_other_tokens_as_well() {
        let (old, new) = (
            tokens(&[("a", Role::Read), ("b", Role::Read), ("c", Role::Read)]),
            tokens(&[("a", Role::Read), ("c", Role::Admin), ("d", Role::Read)]),
        );
        let patch = TokenPatch::between(&old, &new);
        assert_eq!(ids(&patch.applied(&old)), ids(&new));
        let other = tokens(&[("x", Role::Read), ("b", Role::Read), ("c", Role::Read)]);
        assert_eq!(ids(&patch.applied(&other)), ["x:read", "c:admin", "d:read"]);
        assert_eq!(ids(&patch.applied(&new)), ids(&new), "a second application changes nothing");
        assert!(TokenPatch::between(&new, &patch.applied(&new)).is_empty());
    }

    #[test]
    fn a_stale_writer_neither_revokes_nor_brings_back_a_token() {
        let revoked = BTreeSet::from(["gone".to_owned()]);
        let ours = tokens(&[("a", Role::Read), ("new", Role::Read)]);
        let stale = tokens(&[("a", Role::Read), ("gone", Role::Read), ("other", Role::Read)]);
        let patch = TokenPatch::between(&ours, &stale).intended(&revoked);
        assert_eq!(ids(&patch.applied(&ours)), ["a:read", "new:read", "other:read"]);
        let patch = TokenPatch::between(&stale, &ours).intended(&revoked);
        assert_eq!(patch.revoked().collect::<Vec<_>>(), ["gone"]);
    }

    #[test]
    fn of_two_changes_of_one_token_the_later_counts() {
        let (with, without) = (tokens(&[("a", Role::Read)]), tokens(&[]));
        let (adds, removes) = (TokenPatch::between(&without, &with), TokenPatch::between(&with, &without));
        assert_eq!(ids(&removes.clone().after(adds.clone()).applied(&without)), Vec::<String>::new());
        assert_eq!(ids(&adds.after(removes).applied(&with)), ["a:read"]);
    }
}
