//! XML as a tree, which is small in the binary: a few answers of AWS's are read with it, none of them large.

use std::mem;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

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
    Form(#[from] quick_xml::Error),
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
        let mut reader = Reader::from_str(text);
        let (mut around, mut here) = (Vec::new(), Self::default());
        loop {
            match reader.read_event()? {
                Event::Start(start) => around.push(mem::replace(&mut here, Self::named(start.name().as_ref()))),
                Event::Empty(start) => here.children.push(Self::named(start.name().as_ref())),
                Event::End(_) => {
                    let parent = around.pop().ok_or(XmlError::Incomplete)?;
                    let child = mem::replace(&mut here, parent);
                    here.children.push(child);
                }
                Event::Text(text) => here.text.push_str(&text.decode().map_err(quick_xml::Error::from)?),
                Event::CData(text) => here.text.push_str(&text.decode().map_err(quick_xml::Error::from)?),
                Event::GeneralRef(reference) => {
                    let name = reference.decode().map_err(quick_xml::Error::from)?;
                    match (resolve_predefined_entity(&name), reference.resolve_char_ref()?) {
                        (Some(text), _) => here.text.push_str(text),
                        (None, Some(character)) => here.text.push(character),
                        (None, None) => return Err(XmlError::Character(name.into_owned())),
                    }
                }
                Event::Eof if around.is_empty() => return Ok(here),
                Event::Eof => return Err(XmlError::Incomplete),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
    }

    fn named(name: &[u8]) -> Self {
        Self { name: String::from_utf8_lossy(name).into_owned(), ..Self::default() }
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
    pub(super) fn text(&self, name: &str) -> String {
        self.some(name).unwrap_or_default()
    }

    /// The text directly in it, without white space around it.
    pub(super) fn content(&self) -> &str {
        self.text.trim()
    }

    /// The members of a list directly below, which EC2 calls items.
    pub(super) fn members(&self, name: &str) -> impl Iterator<Item = &Self> {
        let list = self.children.iter().find(|child| child.name == name);
        list.into_iter()
            .flat_map(|list| list.children.iter().filter(|child| child.name == "member" || child.name == "item"))
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
