//! XML as a tree, which is small in the binary: a few answers of AWS's are read with it, none of them large.

use std::mem;

use xmlparser::{ElementEnd, Token, Tokenizer};

/// An element: its name, the text directly in it, and what is below it.
#[derive(Debug, Default)]
pub(super) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

/// Why it is no XML.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// The form is broken.
    #[error(transparent)]
    Form(#[from] xmlparser::Error),
    /// An element ends within another one.
    #[error("`{0}` does not end where it should")]
    Nesting(String),
    /// A character is written in a way that is not known.
    #[error("`&{0};` is no character")]
    Character(String),
    /// It ends too early.
    #[error("it is not complete")]
    Incomplete,
}

impl Element {
    /// Reads a document; the element is the one that holds the root.
    ///
    /// # Errors
    /// [`XmlError`].
    pub(super) fn parse(text: &str) -> Result<Self, XmlError> {
        let (mut around, mut here) = (Vec::new(), Self::default());
        for token in Tokenizer::from(text) {
            match token? {
                Token::ElementStart { local, .. } => {
                    let element = Self { name: local.as_str().to_owned(), ..Self::default() };
                    around.push(mem::replace(&mut here, element));
                }
                Token::ElementEnd { end: ElementEnd::Open, .. } => {}
                Token::ElementEnd { end: ElementEnd::Close(_, name), .. } if name.as_str() != here.name => {
                    return Err(XmlError::Nesting(here.name));
                }
                Token::ElementEnd { .. } => {
                    let parent = around.pop().ok_or(XmlError::Incomplete)?;
                    let child = mem::replace(&mut here, parent);
                    here.children.push(child);
                }
                Token::Text { text } => push_unescaped(&mut here.text, text.as_str())?,
                Token::Cdata { text, .. } => here.text.push_str(text.as_str()),
                // Declarations, comments and attributes.
                _ => {}
            }
        }
        if around.is_empty() { Ok(here) } else { Err(XmlError::Incomplete) }
    }

    /// The first element of that name, at any depth.
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        self.children.iter().find_map(|child| if child.name == name { Some(child) } else { child.find(name) })
    }

    /// The same, without the rest of the tree.
    pub(super) fn take(self, name: &str) -> Option<Self> {
        self.children.into_iter().find_map(|child| if child.name == name { Some(child) } else { child.take(name) })
    }

    /// The text of an element directly below; nothing if there is none, or none in it.
    pub(super) fn some(&self, name: &str) -> Option<String> {
        let child = self.children.iter().find(|child| child.name == name)?;
        let text = child.text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The same, empty if there is none.
    #[cfg(any(feature = "deploy", test))]
    pub(super) fn text(&self, name: &str) -> String {
        self.some(name).unwrap_or_default()
    }

    /// The text directly in it, without white space around it.
    #[cfg(any(feature = "deploy", test))]
    pub(super) fn content(&self) -> &str {
        self.text.trim()
    }

    /// The members of a list directly below, which EC2 calls items.
    #[cfg(any(feature = "deploy", test))]
    pub(super) fn members(&self, name: &str) -> impl Iterator<Item = &Self> {
        let list = self.children.iter().find(|child| child.name == name);
        list.into_iter()
            .flat_map(|list| list.children.iter().filter(|child| child.name == "member" || child.name == "item"))
    }
}

/// Appends a text with its references resolved.
fn push_unescaped(to: &mut String, text: &str) -> Result<(), XmlError> {
    let mut parts = text.split('&');
    to.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once(';').ok_or_else(|| XmlError::Character(part.to_owned()))?;
        to.push(referenced(name).ok_or_else(|| XmlError::Character(name.to_owned()))?);
        to.push_str(rest);
    }
    Ok(())
}

/// The character that a reference such as `lt`, `#65` or `#x41` stands for.
fn referenced(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => digits.parse(),
            };
            code.ok().and_then(char::from_u32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_texts_and_references_are_read() {
        let text = "<?xml version=\"1.0\"?><R xmlns=\"x\"><Stacks><member><Name> a &lt;b&gt; &#65;&#x42;&amp;&quot;&apos; </Name><Tags/></member>\
                    <member><Name><![CDATA[<c>]]></Name></member></Stacks></R>";
        let root = Element::parse(text).unwrap();
        let names: Vec<String> = root.find("R").unwrap().members("Stacks").map(|one| one.text("Name")).collect();
        assert_eq!(names, ["a <b> AB&\"'", "<c>"]);
        assert_eq!(root.find("member").unwrap().some("Tags"), None);
        for text in ["<a><b></a>", "<a>", "<a>&x;</a>", "<a>&amp</a>", "<a><b></a></b>", "no XML"] {
            assert!(Element::parse(text).is_err(), "{text}");
        }
    }
}
