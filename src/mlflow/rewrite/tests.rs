//! The tests of `rewrite.rs`.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::json_paths::JsonPath;
use super::*;

const PATHS: &[JsonPath] = &[
    JsonPath::at(&["run", "info", "uri"]),
    JsonPath::at(&["runs", "info", "uri"]),
    JsonPath::at(&["data", "*", "uri"]),
    JsonPath::at(&["tags", "loc.ation"]),
    JsonPath { path: &["tags", "value"], if_key: &["loc.ation"], kind: StringKind::Location },
    JsonPath::at(&["uri"]),
];

fn replaced(_: StringKind, value: &str) -> Option<String> {
    value.strip_prefix("s3:").map(|rest| format!("public:\"{rest}"))
}

/// Rewrites in pieces of `size` bytes.
fn rewrite(text: &str, size: usize) -> String {
    let mut rewriter = Rewriter::new(PATHS, replaced);
    let mut out = Vec::new();
    for piece in text.as_bytes().chunks(size) {
        out.extend_from_slice(&rewriter.push(Bytes::copy_from_slice(piece)));
    }
    out.extend_from_slice(&rewriter.finish());
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn strings_at_known_paths_are_replaced_however_the_text_is_split() {
    for (text, expected) in [
        (r#"{"run":{"info":{"uri":"s3:a"}}}"#, r#"{"run":{"info":{"uri":"public:\"a"}}}"#),
        (
            r#"{"runs": [ {"info":{"x":1e3,"uri" : "s3:\u0061"}},{}]}"#,
            r#"{"runs": [ {"info":{"x":1e3,"uri" : "public:\"a"}},{}]}"#,
        ),
        (r#"{"data":{"any":[{"uri":"s3:"}]}}"#, r#"{"data":{"any":[{"uri":"public:\""}]}}"#),
        (r#"{"tags":{"loc.ation":"s3:a","b":"s3:b"}}"#, r#"{"tags":{"loc.ation":"public:\"a","b":"s3:b"}}"#),
        (
            r#"{"tags":[{"key":"loc.ation","value":"s3:a"},{"key":"x","value":"s3:b"},{"value":"s3:c"}]}"#,
            r#"{"tags":[{"key":"loc.ation","value":"public:\"a"},{"key":"x","value":"s3:b"},{"value":"s3:c"}]}"#,
        ),
        (r#"{"uri":"s3:a","run":{"uri":"s3:b"}}"#, r#"{"uri":"public:\"a","run":{"uri":"s3:b"}}"#),
    ] {
        for size in 1..=text.len() {
            assert_eq!(rewrite(text, size), expected, "in pieces of {size}");
        }
    }
}

#[test]
fn keys_are_compared_without_their_escapes() {
    for (text, expected) in [
        (r#"{"\u0075r\u0069":"s3:a"}"#, r#"{"\u0075r\u0069":"public:\"a"}"#),
        (
            r#"{"tags":[{"k\u0065y":"loc\u002eation","value":"s3:a"}]}"#,
            r#"{"tags":[{"k\u0065y":"loc\u002eation","value":"public:\"a"}]}"#,
        ),
    ] {
        for size in 1..=text.len() {
            assert_eq!(rewrite(text, size), expected, "in pieces of {size}");
        }
    }
}

#[test]
fn a_location_that_cannot_be_replaced_is_reported() {
    let long = format!(r#"{{"uri":"{}"}}"#, "x".repeat(STRING_LIMIT + 10));
    for (text, expected) in [
        (r#"{"tags":[{"value":"s3:a","key":"loc.ation"}]}"#, true),
        (r#"{"tags":[{"key":"x","value":"s3:a","key":"loc.ation"}]}"#, true),
        (&long, true),
        (r#"{"uri":"s3:\ud800"}"#, true),
        (r#"{"uri":"s3:\x"}"#, true),
        (r#"{"tags":[{"value":"s3:a","key":"x"},{"key":"loc.ation"}]}"#, false),
        (r#"{"tags":[{"key":"loc.ation","value":"s3:a"}]}"#, false),
    ] {
        let mut missed = false;
        let mut rewriter = Rewriter::new(PATHS, |kind, _: &str| {
            missed |= kind == StringKind::Missed;
            None
        });
        let _ = rewriter.push(Bytes::copy_from_slice(text.as_bytes()));
        drop(rewriter);
        assert_eq!(missed, expected, "{}", &text[..text.len().min(80)]);
    }
}

#[test]
fn a_message_that_cannot_be_read_is_left_out() {
    const PATHS: &[JsonPath] = &[JsonPath::of(StringKind::Message, &["message"])];
    let long = format!("{}\\\"", "x".repeat(STRING_LIMIT));
    let expected = format!(r#"{{"message":{}","code":1}}"#, std::str::from_utf8(LEFT_OUT).expect("text"));
    for (message, size) in [(&*long, 1), (&long, 7), (&long, 40_000), (r"s3:\ud800", 1), (r"s3:\ud800", 100)] {
        let text = format!(r#"{{"message":"{message}","code":1}}"#);
        let mut rewriter = Rewriter::new(PATHS, replaced);
        let pieces = text.as_bytes().chunks(size).map(|piece| rewriter.push(Bytes::copy_from_slice(piece)));
        let mut out = pieces.collect::<Vec<_>>().concat();
        out.extend_from_slice(&rewriter.finish());
        assert_eq!(String::from_utf8_lossy(&out), expected, "in pieces of {size}");
    }
}

#[test]
fn everywhere_is_every_string() {
    let mut rewriter = Rewriter::new(JsonPaths::Everywhere, replaced);
    let out = rewriter.push(Bytes::from_static(br#"["s3:a",{"x":[["s3:b"]],"s3":1,"y":"z"}]"#));
    assert_eq!(out, br#"["public:\"a",{"x":[["public:\"b"]],"s3":1,"y":"z"}]"#.as_slice());
}

#[test]
fn everything_else_is_left_byte_for_byte() {
    let long = format!(r#"{{"uri":"s3:{}"}}"#, "x".repeat(STRING_LIMIT + 10));
    let deep = format!("{}{}", "[{\"run\":".repeat(5000), "x");
    for text in [
        r#"{"uri":"https:a"}"#,
        r#"{"run":{"info":{"other":"s3:a","nested":{"uri":"s3:a"}},"data":{"uri":"s3:a"}}}"#,
        r#"{"x":"{\"uri\":\"s3:a\"}","\\":"\\\"","uri":{"uri":"s3:a"}}"#,
        r#"["s3:a",{"info":{"uri":"s3:a"}}]"#,
        r#"{"uri":123.4500e+10,"data":[1,2,{"uri":"s3:a"}]}"#,
        r#"{"uri":"s3:never closed"#,
        r#"}}]]{"run":}]"uri":"s3:a""#,
        "",
        "not json at all: \"uri\": {",
        &long,
        &deep,
    ] {
        for size in [1, 2, 7, text.len().max(1)] {
            assert_eq!(rewrite(text, size), text, "in pieces of {size}");
        }
    }
}

/// Replaces the strings by parsing the whole text; the streaming scanner must agree with the result.
fn expected(value: &mut Value, path: &mut Vec<String>, key_member: Option<&str>) {
    match value {
        Value::Object(object) => {
            let key = object.get("key").and_then(Value::as_str).map(ToOwned::to_owned);
            for (name, member) in object.iter_mut() {
                path.push(name.clone());
                expected(member, path, key.as_deref());
                path.pop();
            }
        }
        // A path ends at a member of an object, and not at a string in an array.
        Value::Array(array) => {
            array.iter_mut().filter(|item| !item.is_string()).for_each(|item| expected(item, path, None));
        }
        Value::String(text) => {
            let is_place = |path_index: &JsonPath| {
                path_index.path.len() == path.len()
                    && path_index.path.iter().zip(path.iter()).all(|(key, name)| *key == "*" || key == name)
                    && (path_index.if_key.is_empty() || key_member.is_some_and(|key| path_index.if_key.contains(&key)))
            };
            if let Some(new) = PATHS.iter().any(is_place).then(|| replaced(StringKind::Location, text)).flatten() {
                *text = new;
            }
        }
        _ => {}
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!("s3:a")),
        Just(json!("loc.ation")),
        Just(json!("\\\"s3:{}[],:")),
        Just(json!(1.5)),
        Just(json!(null)),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let keys =
            prop::sample::select(vec!["run", "runs", "info", "uri", "data", "tags", "key", "value", "loc.ation", "\""]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys.prop_map(ToOwned::to_owned), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_rewritten_as_if_it_had_been_parsed(value in values(), size in 1_usize..40) {
        let mut parsed = value.clone();
        expected(&mut parsed, &mut Vec::new(), None);
        let rewritten: Value = serde_json::from_str(&rewrite(&value.to_string(), size)).expect("still JSON");
        prop_assert_eq!(rewritten, parsed);
    }

    /// SECURITY: 48 bytes for each `[` of a caller's body are 5 GiB for a body of 100 MiB.
    #[test]
    fn memory_depends_only_on_the_longest_path(
        unit in "(\\[|\\{|\\]|\\}|,|:|\"|\\\\|\"run\":|\"info\":|\"uri\":|\"data\":|\"tags\":|\"key\":|\"loc.ation\"|\"value\":|1| ){1,12}",
        tail in "[a-z\\[{]{0,20}",
    ) {
        let text = unit.repeat(100_000 / unit.len()) + &tail.repeat(2_000);
        for paths in [JsonPaths::Known(PATHS), JsonPaths::Requested(vec![(vec!["run".into(), "uri".into()], StringKind::Message)]), JsonPaths::Everywhere] {
            let mut rewriter = Rewriter::new(paths, replaced);
            let mut most = 0;
            for piece in text.as_bytes().chunks(1000) {
                let _ = rewriter.push(Bytes::copy_from_slice(piece));
                most = most.max(rewriter.held());
            }
            prop_assert!(most <= 2 * STRING_LIMIT + 16 * 1024, "{} bytes for {unit:?}", most);
        }
    }

    #[test]
    fn no_bytes_make_it_fail_and_without_a_replacement_none_change(text in "[\\[\\]{}:,\"\\\\ a-z.]{0,80}", size in 1_usize..20) {
        prop_assert_eq!(rewrite(&text, size), text);
    }
}
