//! XML as a tree, which is small in the binary: a few answers of AWS's are read with it, none of them large.

use quick_xml::Reader;
use quick_xml::events::Event;
use quick_xml::events::attributes::AttrError;

/// An element: its name, the text directly in it, and what is below it.
#[derive(Clone, Debug, Default)]
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
    Form(#[from] quick_xml::Error),
    /// A character is written in a way that is not known.
    #[error("`&{0};` is no character")]
    Character(String),
    /// It ends too early.
    #[error("it is not complete")]
    Incomplete,
}

impl From<AttrError> for XmlError {
    fn from(error: AttrError) -> Self {
        Self::Form(error.into())
    }
}

impl Element {
    /// Reads a document; the element is the one that holds the root.
    ///
    /// # Errors
    /// [`XmlError`].
    pub(super) fn parse(text: &str) -> Result<Self, XmlError> {
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event()? {
                Event::Start(start) => open.push(Self::named(start.name().as_ref())),
                Event::Empty(start) => {
                    let child = Self::named(start.name().as_ref());
                    open.last_mut().ok_or(XmlError::Incomplete)?.children.push(child);
                }
                Event::End(_) => {
                    let child = open.pop().ok_or(XmlError::Incomplete)?;
                    open.last_mut().ok_or(XmlError::Incomplete)?.children.push(child);
                }
                Event::Text(text) => {
                    let text = text.decode().map_err(quick_xml::Error::from)?;
                    open.last_mut().ok_or(XmlError::Incomplete)?.text.push_str(&text);
                }
                Event::CData(text) => {
                    let text = text.decode().map_err(quick_xml::Error::from)?;
                    open.last_mut().ok_or(XmlError::Incomplete)?.text.push_str(&text);
                }
                Event::GeneralRef(reference) => {
                    let name = reference.decode().map_err(quick_xml::Error::from)?.into_owned();
                    let known = match name.as_str() {
                        "amp" => Some('&'),
                        "lt" => Some('<'),
                        "gt" => Some('>'),
                        "quot" => Some('"'),
                        "apos" => Some('\''),
                        _ => reference.resolve_char_ref()?,
                    };
                    let character = known.ok_or(XmlError::Character(name))?;
                    open.last_mut().ok_or(XmlError::Incomplete)?.text.push(character);
                }
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        let whole = open.pop().ok_or(XmlError::Incomplete)?;
        if open.is_empty() { Ok(whole) } else { Err(XmlError::Incomplete) }
    }

    fn named(name: &[u8]) -> Self {
        Self { name: String::from_utf8_lossy(name).into_owned(), ..Self::default() }
    }

    /// The first element of that name, at any depth.
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        self.children.iter().find_map(|child| if child.name == name { Some(child) } else { child.find(name) })
    }

    /// The text of an element directly below; nothing if there is none, or none in it.
    pub(super) fn some(&self, name: &str) -> Option<String> {
        let child = self.children.iter().find(|child| child.name == name)?;
        let text = child.text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The same, empty if there is none.
    pub(super) fn text(&self, name: &str) -> String {
        self.some(name).unwrap_or_default()
    }

    /// The members of a list directly below.
    pub(super) fn members(&self, name: &str) -> impl Iterator<Item = &Self> {
        let list = self.children.iter().find(|child| child.name == name);
        list.into_iter().flat_map(|list| list.children.iter().filter(|child| child.name == "member"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_texts_and_references_are_read() {
        let text = "<?xml version=\"1.0\"?><R xmlns=\"x\"><Stacks><member><Name> a &lt;b&gt; &#65; </Name><Tags/></member>\
                    <member><Name><![CDATA[<c>]]></Name></member></Stacks></R>";
        let root = Element::parse(text).unwrap();
        let names: Vec<String> = root.find("R").unwrap().members("Stacks").map(|one| one.text("Name")).collect();
        assert_eq!(names, ["a <b> A", "<c>"]);
        assert_eq!(root.find("member").unwrap().some("Tags"), None);
        assert!(
            Element::parse("<a><b></a>").is_err()
                && Element::parse("<a>").is_err()
                && Element::parse("<a>&x;</a>").is_err()
        );
    }
}
