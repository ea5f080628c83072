//! The tests of `store.rs`.

use super::*;

fn store(uri: &str) -> ArtifactStore {
    ArtifactStore::parse(uri).expect(uri)
}

#[test]
fn stores_are_parsed_strictly() {
    for (uri, bucket, prefix) in [
        ("s3://my-bucket", "my-bucket", ""),
        ("s3://my-bucket/", "my-bucket", ""),
        ("s3://my.bucket.1/a/b", "my.bucket.1", "a/b/"),
        ("s3://abc/a b/ü/", "abc", "a b/ü/"),
    ] {
        let store = store(uri);
        assert_eq!((store.bucket(), store.prefix()), (bucket, prefix), "{uri}");
    }
    for (uri, expected) in [
        ("https://bucket/x", StoreError::Scheme),
        ("s3://", StoreError::Bucket),
        ("s3://ab", StoreError::Bucket),
        ("s3://Bucket", StoreError::Bucket),
        ("s3://-bucket", StoreError::Bucket),
        ("s3://bucket@evil", StoreError::Bucket),
        ("s3://bucket/a/../b", StoreError::Prefix(ArtifactPathError::DotSegment)),
        ("s3://bucket/a//b", StoreError::Prefix(ArtifactPathError::EmptySegment)),
    ] {
        assert_eq!(ArtifactStore::parse(uri), Err(expected), "{uri}");
    }
}

#[test]
fn uris_are_translated_both_ways_and_others_left_alone() {
    let prefixed = store("s3://bucket/team/mlflow");
    let whole = store("s3://bucket");
    for (store, real, public) in [
        (&prefixed, "s3://bucket/team/mlflow/1/run/artifacts", "mlflow-artifacts:/1/run/artifacts"),
        (&prefixed, "s3://bucket/team/mlflow", "mlflow-artifacts:/"),
        (&prefixed, "s3://bucket/team/mlflow/a b/ü", "mlflow-artifacts:/a b/ü"),
        (&whole, "s3://bucket/1/run", "mlflow-artifacts:/1/run"),
        (&whole, "s3://bucket", "mlflow-artifacts:/"),
    ] {
        assert_eq!(store.publish(real).as_deref(), Some(public));
        assert_eq!(store.resolve(public).as_deref(), Some(real));
    }
    assert_eq!(prefixed.resolve("mlflow-artifacts:///1/r").as_deref(), Some("s3://bucket/team/mlflow/1/r"));
    for foreign in [
        "s3://bucket/team/mlflow2/1",
        "s3://bucket/team",
        "s3://bucket2/team/mlflow/1",
        "s3://bucket.evil/team/mlflow/1",
        "s3://bucket/team/mlflow/../x",
        "https://bucket/team/mlflow/1",
        "models:/m-1",
        "",
    ] {
        assert_eq!(prefixed.publish(foreign), None, "{foreign}");
    }
    for foreign in ["mlflow-artifacts://host/1", "mlflow-artifacts:/../x", "mlflow-artifacts:", "s3://bucket/x"] {
        assert_eq!(prefixed.resolve(foreign), None, "{foreign}");
    }
}

#[test]
fn no_path_leads_out_of_the_prefix() {
    let store = store("s3://bucket/p");
    for (encoded, expected) in [
        ("..", ArtifactPathError::DotSegment),
        ("a/../b", ArtifactPathError::DotSegment),
        ("a%2F..%2Fb", ArtifactPathError::DotSegment),
        ("%2e%2e/b", ArtifactPathError::DotSegment),
        ("a/%2E/b", ArtifactPathError::DotSegment),
        ("a%5C..%5Cb", ArtifactPathError::DotSegment),
        ("..\\b", ArtifactPathError::DotSegment),
        ("s3://other/key", ArtifactPathError::EmptySegment),
        ("https:%2F%2Fevil/x", ArtifactPathError::EmptySegment),
        ("a//b", ArtifactPathError::EmptySegment),
        ("a%00b", ArtifactPathError::Unprintable),
        ("a%0Ab", ArtifactPathError::Unprintable),
        ("%FF", ArtifactPathError::Unprintable),
    ] {
        assert_eq!(ArtifactPath::decode(encoded), Err(expected), "{encoded}");
    }
    assert_eq!(ArtifactPath::parse(&"x".repeat(1025)), Err(ArtifactPathError::TooLong));
    for (encoded, key) in [
        ("a/b", "p/a/b"),
        ("/a/b/", "p/a/b"),
        ("a%2Fb", "p/a/b"),
        ("a%252e%252e/b", "p/a%2e%2e/b"),
        ("hash%23.txt", "p/hash#.txt"),
        ("pct%2541.txt", "p/pct%41.txt"),
        ("a+b%20c", "p/a+b c"),
        // Look-alikes of dots and slashes are letters like others.
        (
            "%E2%80%A4%E2%80%A4/%EF%BC%8E%EF%BC%8E%EF%BC%8F%E2%88%95",
            "p/\u{2024}\u{2024}/\u{ff0e}\u{ff0e}\u{ff0f}\u{2215}",
        ),
        ("...", "p/..."),
    ] {
        assert_eq!(ArtifactPath::decode(encoded).map(|path| store.key(&path)).as_deref(), Ok(key), "{encoded}");
    }
}

#[test]
fn locations_within_a_text_become_public_and_nothing_else_changes() {
    let store = ArtifactStore::parse("s3://bucket/team").expect("a store");
    for (text, expected) in [
        ("Invalid source: 's3://bucket/team/1/x'.", "Invalid source: 'mlflow-artifacts:/1/x'."),
        ("s3://bucket/team/1 s3://bucket/team/2", "mlflow-artifacts:/1 mlflow-artifacts:/2"),
        ("at s3://bucket/team", "at mlflow-artifacts:/"),
        ("s3://bucket/team2/1, s3://bucket/team/1", "s3://bucket/team2/1, mlflow-artifacts:/1"),
        ("\u{e9}s3://bucket/team/\u{e9}", "\u{e9}mlflow-artifacts:/\u{e9}"),
    ] {
        assert_eq!(store.publish_within(text).as_deref(), Some(expected), "{text}");
    }
    for text in ["", "no location", "s3://other/team/1", "s3://bucket/tea", "S3://bucket/team/1"] {
        assert_eq!(store.publish_within(text), None, "{text}");
    }
    assert_eq!(
        store.publish_within("s3://bucket/team2/1").as_deref().unwrap_or("s3://bucket/team2/1"),
        "s3://bucket/team2/1"
    );
    let bucket = ArtifactStore::parse("s3://bucket").expect("a store");
    assert_eq!(
        bucket.publish_within("s3://bucket/1 s3://bucket2/1").as_deref(),
        Some("mlflow-artifacts:/1 s3://bucket2/1")
    );
}
