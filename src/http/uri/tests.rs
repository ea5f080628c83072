//! The normal form of paths and queries, by example and by property.

use super::*;
use proptest::prelude::*;

#[test]
fn paths_are_written_in_normal_form() {
    for (raw, expected) in [
        ("/", "/"),
        ("/api/2.0/mlflow/runs/search", "/api/2.0/mlflow/runs/search"),
        ("/api/2.0mlflow/experiments/search-datasets", "/api/2.0mlflow/experiments/search-datasets"),
        ("/a%20b/c+d", "/a%20b/c%2Bd"),
        ("/a%2Fb/c%2fd", "/a%2Fb/c%2Fd"),
        ("/skills/@org/name", "/skills/%40org/name"),
        ("/models/x:generateContent", "/models/x%3AgenerateContent"),
        ("/k=v,w;x&y", "/k%3Dv%2Cw%3Bx%26y"),
        ("/é/%c3%a9/%E2%82%AC", "/%C3%A9/%C3%A9/%E2%82%AC"),
        ("/%41%7e%5f", "/A~_"),
        ("/100%/%zz/%4", "/100%25/%25zz/%254"),
        ("/a%2520b", "/a%2520b"),
        ("//a///b/", "//a///b/"),
        ("/a%0d%0ahost:x", "/a%0D%0Ahost%3Ax"),
        ("/.../a..b/.hidden/..x", "/.../a..b/.hidden/..x"),
    ] {
        assert_eq!(normalize_path(raw).as_deref(), Ok(expected), "{raw}");
    }
}

#[test]
fn dot_segments_are_rejected_in_every_spelling() {
    for raw in [
        "/.",
        "/..",
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/%2e",
        "/%2E%2e/x",
        "/.%2e/x",
        "/a/%2e%2E",
        "/a%2F..%2Fb",
        "/..%2fetc",
        "/a%2f.",
        "/..%5Cx",
        "/a%5c..%2fb",
        "/a/..\\b",
        "/..;/b",
        "/a/..%3Bx=1/b",
        "/a/.;",
    ] {
        assert_eq!(normalize_path(raw), Err(RequestPathError::DotSegment), "{raw}");
    }
    assert_eq!(normalize_path("*"), Err(RequestPathError::NotAbsolute));
    assert_eq!(normalize_path(""), Err(RequestPathError::NotAbsolute));
}

#[test]
fn queries_are_written_in_normal_form() {
    for (raw, expected) in [
        ("", ""),
        ("a=1&b=2", "a=1&b=2"),
        ("filter=a+b", "filter=a%20b"),
        ("filter=a%2Bb", "filter=a%2Bb"),
        ("p=a%2fb%3ac", "p=a%2Fb%3Ac"),
        ("b=2&a=1&a=0&c=&d", "b=2&a=1&a=0&c=&d"),
        ("f=a=b==c&g=h", "f=a%3Db%3D%3Dc&g=h"),
        ("filter=name='a'(b)*!", "filter=name%3D%27a%27%28b%29%2A%21"),
        ("&&a=1&&", "a=1"),
        ("&", ""),
        ("a=/?:@", "a=%2F%3F%3A%40"),
        ("a%3Db=c", "a%3Db=c"),
        ("x=100%", "x=100%25"),
        ("x=é", "x=%C3%A9"),
    ] {
        assert_eq!(normalize_query(raw), expected, "{raw}");
    }
}

#[test]
fn normal_input_is_borrowed() {
    assert!(matches!(normalize_path("/api/2.0/a%20b"), Ok(Cow::Borrowed(_))));
    assert!(matches!(normalize_query("a=1&b=%2F"), Cow::Borrowed(_)));
}

/// A decoder that shares nothing with the code above.
fn decoded(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

proptest! {
    #[test]
    fn path_meaning_is_kept_and_the_form_is_stable(raw in "/[ -~é€]{0,40}") {
        if let Ok(normal) = normalize_path(&raw) {
            let segments = |text: &str| text.split('/').map(decoded).collect::<Vec<_>>();
            prop_assert_eq!(segments(&raw), segments(&normal));
            prop_assert_eq!(normalize_path(&normal).unwrap(), normal.as_ref());
            prop_assert!(normal.bytes().all(|byte| is_unreserved(byte) || byte == b'/' || byte == b'%'));
        }
    }

    #[test]
    fn a_path_that_passes_has_no_dot_segment(raw in "/(\\.|%2e|%2E|/|%2f|a|%5c){0,12}") {
        if let Ok(normal) = normalize_path(&raw) {
            let decoded = String::from_utf8(decoded(&normal)).unwrap();
            prop_assert!(!decoded.split(['/', '\\']).any(|part| matches!(part, "." | "..")));
        }
    }

    #[test]
    fn query_meaning_is_kept_and_the_form_is_stable(raw in "[ -~é]{0,40}") {
        let normal = normalize_query(&raw);
        let pairs = |text: &str| {
            text.split('&').filter(|pair| !pair.is_empty())
                .map(|pair| { let (key, value) = pair.split_once('=').unwrap_or((pair, "")); (decoded(key), decoded(value)) })
                .collect::<Vec<_>>()
        };
        prop_assert_eq!(pairs(&raw.replace('+', " ")), pairs(&normal));
        prop_assert_eq!(normalize_query(&normal), normal.as_ref());
    }
}
