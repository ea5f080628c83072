//! Locations as operands of searches: `attributes.artifact_uri = 'mlflow-artifacts:/…'`.
//!
//! MLflow compares them with what its store holds, so an operand has to be the real location. The grammar is that of
//! MLflow's `search_utils.py`: comparisons of a key with a value, joined by AND. Everything else stays as it is.

use super::store::ArtifactStore;

/// The keys whose values are locations: of runs, of model versions, of logged models.
const KEYS: [&str; 3] = ["artifact_uri", "source_path", "artifact_location"];
/// The words that MLflow accepts before a key that is an attribute of the entity itself.
const ENTITIES: [&str; 4] = ["attribute", "attributes", "attr", "run"];
/// Comparisons with a pattern.
const PATTERNS: [&str; 3] = ["LIKE", "ILIKE", "RLIKE"];

/// Returns the filter with real locations; nothing if there are none to translate in it.
#[must_use]
pub fn resolved(filter: &str, store: &ArtifactStore) -> Option<String> {
    let mut scan = Scan { rest: filter, is_adjacent: false, key: String::new(), comparison: None };
    let (mut text, mut from) = (String::new(), 0);
    while let Some(token) = scan.token() {
        let end = filter.len() - scan.rest.len();
        if let Some((comparison, quoted)) = scan.operand(token)
            && let Some(value) = resolve(quoted, comparison, store)
        {
            let start = end - token.len();
            text.push_str(&filter[from..=start]);
            text.push_str(&value);
            from = end - 1;
        }
    }
    (from > 0).then(|| text + &filter[from..])
}

/// Returns true if a text can contain a comparison with a location.
#[must_use]
pub fn may_have_locations(text: &str) -> bool {
    KEYS.iter().any(|key| text.contains(key))
}

fn resolve(value: &str, comparison: &str, store: &ArtifactStore) -> Option<String> {
    if PATTERNS.contains(&comparison) {
        store.resolve_pattern(value, comparison == "ILIKE")
    } else {
        store.resolve(value)
    }
}

struct Scan<'a> {
    rest: &'a str,
    /// If this is true, the last token followed the one before it without white space.
    is_adjacent: bool,
    /// This is the part of the comparison's key that has been read, without quotes.
    key: String,
    /// This is the comparison's operator, once it has been read.
    comparison: Option<String>,
}

impl<'a> Scan<'a> {
    /// Returns the next word, quoted text or other character.
    fn token(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        self.is_adjacent = rest.len() == self.rest.len();
        self.rest = rest;
        let first = self.rest.chars().next()?;
        let length = match first {
            '\'' | '"' | '`' => quoted(self.rest, first),
            _ if is_word(first) => self.rest.find(|next| !is_word(next)).unwrap_or(self.rest.len()),
            _ => first.len_utf8(),
        };
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(token)
    }

    /// Returns the operator and the operand if this token is the operand of a comparison with a location.
    fn operand(&mut self, token: &'a str) -> Option<(&str, &'a str)> {
        let first = token.chars().next()?;
        match first {
            '\'' | '"' | '`' => {
                let inner = token.get(1..token.len() - 1).filter(|_| token.len() > 1 && token.ends_with(first))?;
                if self.comparison.is_none() {
                    self.extend_key(inner, self.key.ends_with('.'));
                    return None;
                }
                let is_location = self.is_location();
                self.comparison.as_deref().filter(|_| is_location).map(|comparison| (comparison, inner))
            }
            '=' | '!' | '<' | '>' => {
                self.comparison = Some(first.into());
                None
            }
            _ if is_word(first) => {
                let word = token.to_ascii_uppercase();
                if word == "AND" || word == "OR" {
                    self.key.clear();
                    self.comparison = None;
                } else if word == "IN" || PATTERNS.contains(&word.as_str()) {
                    self.comparison = Some(word);
                } else if self.comparison.is_none() && word != "NOT" {
                    // The entity in front of a dot may be quoted as well.
                    self.extend_key(token, first == '.' && self.is_adjacent);
                }
                None
            }
            '(' | ')' | ',' => None,
            _ if self.comparison.is_none() => {
                self.extend_key(token, false);
                None
            }
            _ => None,
        }
    }

    /// Adds to the key. Parts that MLflow does not take for one key are kept apart, so that they name none of ours.
    fn extend_key(&mut self, part: &str, continues: bool) {
        if !self.key.is_empty() && !continues {
            self.key.push(' ');
        }
        self.key.push_str(part);
    }

    fn is_location(&self) -> bool {
        let (entity, key) = self.key.split_once('.').unwrap_or(("attributes", &self.key));
        ENTITIES.contains(&entity) && KEYS.contains(&key)
    }
}

/// Returns the number of bytes of the quoted text that begins here. A quote is doubled or behind a backslash where it does not end it.
fn quoted(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '.' | '-' | '/' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_that_are_locations_are_made_real_and_nothing_else_is() {
        let store = ArtifactStore::parse("s3://bucket/team").expect("a store");
        for (filter, expected) in [
            ("attributes.artifact_uri = 'mlflow-artifacts:/1/r'", "attributes.artifact_uri = 's3://bucket/team/1/r'"),
            ("artifact_uri='mlflow-artifacts:/1'", "artifact_uri='s3://bucket/team/1'"),
            ("attr.`artifact_uri` != \"mlflow-artifacts:/1\"", "attr.`artifact_uri` != \"s3://bucket/team/1\""),
            ("run.\"artifact_uri\" = 'mlflow-artifacts:/1'", "run.\"artifact_uri\" = 's3://bucket/team/1'"),
            ("source_path = 'mlflow-artifacts:/m' AND name = 'x'", "source_path = 's3://bucket/team/m' AND name = 'x'"),
            (
                "name = 'x' and source_path LIKE 'mlflow-artifacts:/1/%'",
                "name = 'x' and source_path LIKE 's3://bucket/team/1/%'",
            ),
            ("source_path ILIKE 'MLFLOW-artifacts:/A%'", "source_path ILIKE 's3://bucket/team/A%'"),
            ("source_path LIKE 'mlflow-art%'", "source_path LIKE 's3://bucket/team%'"),
            (
                "artifact_uri NOT IN ('mlflow-artifacts:/1', 'x', \"mlflow-artifacts:/2\")",
                "artifact_uri NOT IN ('s3://bucket/team/1', 'x', \"s3://bucket/team/2\")",
            ),
            ("é = 'ü' AND artifact_uri = 'mlflow-artifacts:/é'", "é = 'ü' AND artifact_uri = 's3://bucket/team/é'"),
            ("`attributes`.artifact_uri = 'mlflow-artifacts:/1'", "`attributes`.artifact_uri = 's3://bucket/team/1'"),
            ("`run`.`artifact_uri` LIKE 'mlflow-artifacts:/%'", "`run`.`artifact_uri` LIKE 's3://bucket/team/%'"),
            ("artifact_location = 'mlflow-artifacts:///1'", "artifact_location = 's3://bucket/team/1'"),
        ] {
            assert_eq!(resolved(filter, &store).as_deref(), Some(expected), "{filter}");
        }
        for filter in [
            "",
            "'",
            "artifact_uri = 'mlflow-artifacts:/1",
            "artifact_uri = 's3://bucket/team/1'",
            "artifact_uri = 'mlflow-artifacts://host/1'",
            "artifact_uri LIKE '%/1/artifacts'",
            "params.artifact_uri = 'mlflow-artifacts:/1'",
            "source_?path = 'mlflow-artifacts:/1'",
            "source_ path = 'mlflow-artifacts:/1'",
            "`tags`.artifact_uri = 'mlflow-artifacts:/1'",
            "`run` .artifact_uri = 'mlflow-artifacts:/1'",
            "\"source\"`_path` = 'mlflow-artifacts:/1'",
            "tags.`source_path` = 'mlflow-artifacts:/1'",
            "tags.x = 'artifact_uri = ''mlflow-artifacts:/1'''",
            "tags.x = 'artifact_uri = \\'mlflow-artifacts:/1\\''",
            "tags.`artifact_uri = 'mlflow-artifacts:/1'` = 'x'",
            "name = 'mlflow-artifacts:/1' AND artifact_uri = 'x'",
        ] {
            assert_eq!(resolved(filter, &store), None, "{filter}");
        }
    }
}
