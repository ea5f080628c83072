//! XML as a tree, which takes little of the binary: AWS's Query services and S3's errors answer with small documents.

use std::mem;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// AWS nests less than ten elements. A tree is dropped by recursion, so a deeper one could use up the stack.
const DEPTH_LIMIT: usize = 64;

/// An element: its name, the text directly in it, and what is below it.
#[derive(Debug, Default)]
pub(crate) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

/// The reason why a text is not XML.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// The form is broken.
    #[error(transparent)]
    Form(#[from] quick_xml::Error),
    /// A character is written in a way that is not known.
    #[error("`&{0};` is no character")]
    Character(String),
    /// The document ends too early.
    #[error("it is not complete")]
    Incomplete,
    /// Elements are nested more than 64 deep.
    #[error("its elements are nested too deeply")]
    Depth,
}

impl Element {
    /// Reads a document; the element is the one that holds the root.
    ///
    /// # Errors
    /// [`XmlError`].
    pub(crate) fn parse(text: &str) -> Result<Self, XmlError> {
        let mut reader = Reader::from_str(text);
        let (mut around, mut here) = (Vec::new(), Self::default());
        loop {
            match reader.read_event()? {
                Event::Start(_) if around.len() >= DEPTH_LIMIT => return Err(XmlError::Depth),
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

    /// Returns the first element of that name, at any depth.
    pub(crate) fn find(&self, name: &str) -> Option<&Self> {
        self.children.iter().find_map(|child| if child.name == name { Some(child) } else { child.find(name) })
    }

    /// Returns the text of the first element of that name, at any depth; nothing if there is none, or no text in it.
    pub(crate) fn text_of(&self, name: &str) -> Option<String> {
        let text = self.find(name)?.text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(feature = "deploy")]
impl Element {
    /// Returns the same element without the rest of the tree.
    pub(crate) fn take(self, name: &str) -> Option<Self> {
        self.children.into_iter().find_map(|child| if child.name == name { Some(child) } else { child.take(name) })
    }

    /// Returns the text of an element directly below; nothing if there is none, or no text in it.
    pub(crate) fn some(&self, name: &str) -> Option<String> {
        let child = self.children.iter().find(|child| child.name == name)?;
        let text = child.text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Returns the text of an element directly below; an empty one if there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        self.some(name).unwrap_or_default()
    }

    /// Returns the text directly in the element, without white space around it.
    pub(crate) fn content(&self) -> &str {
        self.text.trim()
    }

    /// Returns the members of a list directly below, which EC2 calls items.
    pub(crate) fn members(&self, name: &str) -> impl Iterator<Item = &Self> {
        let list = self.children.iter().find(|child| child.name == name);
        list.into_iter()
            .flat_map(|list| list.children.iter().filter(|child| child.name == "member" || child.name == "item"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "deploy")]
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

    #[test]
    fn a_text_is_found_at_any_depth_but_not_below_too_many_elements() {
        let nested = |depth: usize| Element::parse(&format!("{}x{}", "<a>".repeat(depth), "</a>".repeat(depth)));
        assert_eq!(
            Element::parse("<r><E><Code> Slow&amp;Down </Code></E></r>").unwrap().text_of("Code").unwrap(),
            "Slow&Down"
        );
        assert_eq!(Element::parse("<r><Code/></r>").unwrap().text_of("Code"), None);
        assert!(nested(DEPTH_LIMIT).is_ok());
        assert!(matches!(nested(DEPTH_LIMIT + 1), Err(XmlError::Depth)));
        assert!(matches!(nested(1_000_000), Err(XmlError::Depth)));
    }
}
