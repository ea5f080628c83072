//! The header fields of a request to an upstream, in the order in which they are sent.
//!
//! A list: there are a dozen of them, each is looked at once or twice, and a map of them would take kilobytes to make
//! for every request.

use actix_web::http::header::{HeaderName, HeaderValue};

/// Fields, some of which may have the same name.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(HeaderName, HeaderValue)>);

impl Fields {
    /// Creates an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty list with room for `count` fields.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// The first field of a name.
    #[must_use]
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Adds a field, beside those of the same name.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Sets a field and replaces the one of that name, of which there is one at most.
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Removes all fields of a name.
    pub fn remove(&mut self, name: &HeaderName) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Iterates over all fields in order.
    pub fn iter(&self) -> std::slice::Iter<'_, (HeaderName, HeaderValue)> {
        self.0.iter()
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Fields {
    fn from_iter<T: IntoIterator<Item = (HeaderName, HeaderValue)>>(fields: T) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl IntoIterator for Fields {
    type Item = (HeaderName, HeaderValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = &'a (HeaderName, HeaderValue);
    type IntoIter = std::slice::Iter<'a, (HeaderName, HeaderValue)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header;

    use super::*;

    #[test]
    fn an_inserted_field_replaces_and_an_appended_field_repeats() {
        let value = HeaderValue::from_static;
        let mut fields = Fields::new();
        fields.append(header::ACCEPT, value("a"));
        fields.append(header::ACCEPT, value("b"));
        fields.insert(header::HOST, value("one"));
        fields.insert(header::HOST, value("two"));
        assert_eq!(fields.get(&header::HOST), Some(&value("two")));
        assert_eq!(fields.iter().map(|(_, value)| value).collect::<Vec<_>>(), ["a", "b", "two"]);
        fields.remove(&header::ACCEPT);
        assert_eq!(fields.iter().count(), 1);
    }
}
