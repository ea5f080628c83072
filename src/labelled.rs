//! Defines enums whose variants have labels, so that a label stands in one place, beside its variant.

/// Defines an enum. `ALL` and `LABELS` are in the order of the variants' indices, `as_str` returns a variant's label, and `parse` the
/// variant of a label.
macro_rules! labelled {
    ($(#[$about:meta])* $visibility:vis enum $name:ident { $($(#[$meaning:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $name { $($(#[$meaning])* $variant,)+ }

        #[allow(dead_code, reason = "some enums need only a part of it")]
        impl $name {
            /// The labels, in the order of the indices.
            $visibility const LABELS: [&'static str; [$($label),+].len()] = [$($label),+];
            /// All variants, in the order of their indices.
            $visibility const ALL: [Self; Self::LABELS.len()] = [$(Self::$variant),+];

            /// Returns the label.
            #[must_use]
            $visibility const fn as_str(self) -> &'static str {
                Self::LABELS[self as usize]
            }

            /// Returns the variant with this label, if there is one.
            #[must_use]
            $visibility fn parse(text: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|one| one.as_str() == text)
            }
        }
    };
}

pub(crate) use labelled;

#[cfg(test)]
mod tests {
    labelled! {
        /// Two letters.
        enum Letter {
            A = "a",
            B = "b",
        }
    }

    #[test]
    fn a_variant_has_its_index_and_its_label() {
        for (index, letter) in Letter::ALL.into_iter().enumerate() {
            assert_eq!(
                (letter as usize, letter.as_str(), Letter::parse(letter.as_str())),
                (index, Letter::LABELS[index], Some(letter))
            );
        }
        assert_eq!(Letter::LABELS, ["a", "b"]);
        assert_eq!((Letter::parse("b"), Letter::parse("c")), (Some(Letter::B), None));
    }
}
