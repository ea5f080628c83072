//! Templates of pages: HTML with named places, which values fill in one pass.

use std::fmt::Write as _;

/// A piece of HTML. Only [`fill`] and [`markup`] make one, so a text becomes HTML only after it was escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Markup(String);

/// The value of a place in a template.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// A text, which is escaped.
    Text(&'a str),
    /// HTML, which stays as it is.
    Markup(&'a Markup),
}

impl Markup {
    /// Returns the HTML as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromIterator<Markup> for Markup {
    fn from_iter<I: IntoIterator<Item = Self>>(pieces: I) -> Self {
        Self(pieces.into_iter().map(|piece| piece.0).collect())
    }
}

/// Takes a constant of the source for HTML.
pub(crate) fn markup(constant: &'static str) -> Markup {
    Markup(constant.to_owned())
}

/// Fills the places of a template, each of which is written as `{{name}}`.
///
/// SECURITY: the template is a constant, texts are escaped, and values are not searched for places. So no value can add
/// elements or attributes to a page, if the template has attributes in double quotes.
///
/// # Panics
/// If the template has a place without a value. The tests fill every template.
pub(crate) fn fill(template: &'static str, places: &[(&str, Place<'_>)]) -> Markup {
    let mut pieces = template.split("{{");
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").expect("a place ends");
        let value = places.iter().find(|(known, _)| *known == name).expect("every place has a value").1;
        match value {
            Place::Text(text) => escape(text, &mut filled),
            Place::Markup(markup) => filled.push_str(&markup.0),
        }
        filled.push_str(rest);
    }
    Markup(filled)
}

/// Writes a text in which code stands between backquotes, as in messages for terminals.
pub(crate) fn with_code(text: &str) -> Markup {
    let pieces: Vec<_> = text.split('`').collect();
    let written = pieces.iter().enumerate().map(|(index, piece)| {
        // A backquote without its partner begins no code.
        let template = match (index % 2, index + 1 == pieces.len()) {
            (0, _) => "{{piece}}",
            (_, false) => "<code>{{piece}}</code>",
            (_, true) => "`{{piece}}",
        };
        fill(template, &[("piece", Place::Text(piece))])
    });
    written.collect()
}

fn escape(text: &str, to: &mut String) {
    for character in text.chars() {
        match character {
            '&' | '<' | '>' | '"' | '\'' => {
                let _ = write!(to, "&#{};", u32::from(character));
            }
            other => to.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_no_value_becomes_a_place() {
        let inner = fill("<b>{{x}}</b>", &[("x", Place::Text("{{y}}"))]);
        let filled = fill(
            "<a title=\"{{x}}\">{{y}}</a>",
            &[("x", Place::Text("\"'<&>")), ("y", Place::Markup(&inner)), ("z", Place::Text("unused"))],
        );
        assert_eq!(filled.as_str(), "<a title=\"&#34;&#39;&#60;&#38;&#62;\"><b>{{y}}</b></a>");
    }

    #[test]
    fn code_stands_between_backquotes() {
        for (text, expected) in [
            ("`a<b` requires `c`.", "<code>a&#60;b</code> requires <code>c</code>."),
            ("a `b` c", "a <code>b</code> c"),
            ("it`s", "it`s"),
            ("a `b` c`d", "a <code>b</code> c`d"),
            ("", ""),
        ] {
            assert_eq!(with_code(text).as_str(), expected);
        }
    }
}
