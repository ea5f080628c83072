//! The single values of TOML and JSON documents as text, and text as TOML. This module is pure.

use std::fmt::Write as _;

use serde_json::Value;
use toml::de::DeValue;

/// Returns a string, a number or a truth value of TOML as text; nothing for another value.
#[must_use]
pub fn from_toml(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Returns a string, a number or a truth value of JSON as text; nothing for another value.
#[must_use]
pub fn from_json(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns a text as a basic string of TOML, with its quotes.
#[must_use]
pub fn to_toml(text: &str) -> String {
    let mut quoted = String::from("\"");
    for one in text.chars() {
        match one {
            '"' | '\\' => quoted.extend(['\\', one]),
            one if one.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(one));
            }
            one => quoted.push(one),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_toml() {
        for text in ["", "/tmp/a b/ü", "a\"b\\c", "\u{7f}\u{1}\n\t", "日本語"] {
            let file = format!("key = {}", to_toml(text));
            let read: toml::Table = toml::from_str(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(read["key"].as_str(), Some(text));
        }
    }
}
