//! Listings of the sandbox's S3: ordered, grouped by a delimiter, and in pages. This module is pure.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Included, Unbounded};

/// A page of a listing: keys, common prefixes, and the entry after which the next page begins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ListingPage {
    pub(super) keys: Vec<String>,
    pub(super) prefixes: Vec<String>,
    pub(super) next: Option<String>,
}

/// Returns the page of a listing that begins after this entry.
pub(super) fn page(keys: &BTreeSet<String>, prefix: &str, delimiter: &str, after: &str, limit: usize) -> ListingPage {
    let mut page = ListingPage::default();
    let is_prefix = !delimiter.is_empty() && after.ends_with(delimiter) && after.len() > prefix.len();
    let mut from = match after {
        "" => Included(prefix.to_owned()),
        after if after < prefix => Included(prefix.to_owned()),
        after if is_prefix => Excluded(format!("{after}{}", char::MAX)),
        after => Excluded(after.to_owned()),
    };
    let mut last = None;
    while let Some(key) = keys.range((from, Unbounded)).next().filter(|key| key.starts_with(prefix)) {
        if page.keys.len() + page.prefixes.len() == limit {
            page.next = last;
            break;
        }
        let end = (!delimiter.is_empty()).then(|| key[prefix.len()..].find(delimiter)).flatten();
        if let Some(end) = end {
            let common = &key[..prefix.len() + end + delimiter.len()];
            page.prefixes.push(common.to_owned());
            last = Some(common.to_owned());
            from = Excluded(format!("{common}{}", char::MAX));
        } else {
            page.keys.push(key.clone());
            last = Some(key.clone());
            from = Excluded(key.clone());
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_ordered_grouped_and_paged_as_by_s3() {
        let keys: BTreeSet<String> =
            ["a", "a/b", "a/c/d", "a/c/e", "ab", "b/", "b/x", "\u{fc}/\u{fc}"].map(String::from).into();
        for (prefix, delimiter, expected) in [
            ("", "", vec!["a", "a/b", "a/c/d", "a/c/e", "ab", "b/", "b/x", "\u{fc}/\u{fc}"]),
            ("", "/", vec!["a", "a/", "ab", "b/", "\u{fc}/"]),
            ("a/", "/", vec!["a/b", "a/c/"]),
            ("a", "/", vec!["a", "a/", "ab"]),
            ("b/", "/", vec!["b/", "b/x"]),
            ("nothing", "/", vec![]),
        ] {
            for limit in 1..=8 {
                let (mut found, mut after) = (Vec::new(), String::new());
                loop {
                    let page = page(&keys, prefix, delimiter, &after, limit);
                    assert!(page.keys.len() + page.prefixes.len() <= limit);
                    found.extend(page.keys);
                    found.extend(page.prefixes);
                    match page.next {
                        Some(next) => after = next,
                        None => break,
                    }
                }
                found.sort();
                assert_eq!(found, expected, "{prefix} {delimiter} by {limit}");
            }
        }
    }
}
