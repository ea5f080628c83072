//! The properties that are fuzzed, tried on random input and on all that fuzzing has collected.

#[path = "../system/fuzz/properties.rs"]
mod fuzzed;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A seed, and requests of each kind: without a body, with a length, in chunks, to the connection's end, and with lines that
/// may be or become any of these.
const REQUESTS: &str = concat!(
    "[\\x00-\\x7f](",
    "(\r?\n){0,2}(GET|HEAD|OPTIONS) /[a-z]{0,30} HTTP/1\\.[01]\r\nHost: h\r\n([A-Za-z-]{1,20}:[ -~]{0,40}\r?\n){0,3}\r?\n",
    "|POST /x HTTP/1\\.[01]\r\nhost:h\r\n(Expect: 100-continue\r\n)?[Cc]ontent-[Ll]ength:[ \t]{0,12}0{0,30}5[ \t]{0,3}\r\n\r\n[a-z\r\n]{5}",
    "|(POST|CONNECT) /x HTTP/1\\.1\r\nHost: h\r\n(Upgrade: websocket\r\n)?[Tt]ransfer-[Ee]ncoding:[ \t]{0,4}[Cc]hunked[ \t]?\r\n\r\n",
    "((1|0001 )(;[a-z=\" ]{0,9})?\r\n[a-z\r\n]\r\n|[aA](\t;)?\r\n[a-z\r\n]{10}\r\n){0,4}0{1,3}(;x)?\r\n([A-Z]:[a-z\n]{0,9}\r\n){0,2}\r\n",
    "|GET /x HTTP/1\\.1\r\nHost: h\r\n(Connection: )?[Uu]pgrade:[ \t]{0,20}([wW]eb[sS]ocket|h2c, websocket|web socket|websockets)[ \t]{0,3}\r\n(content-length: 5\r\n)?\r\n",
    "|CONNECT h:1 HTTP/1\\.1\r\nHost: h\r\n(content-length: [05]\r\n)?\r\n",
    "|PUT /x HTTP/1\\.[01]\r\nHost: h\r\n((content-length|transfer-encoding|upgrade|content-lengt|transfer-encodings) {0,1}:[ \t]?(0|5|[0-9]{19,21}|\\+5|5, 5|chunked|identity|websocket)?\r?\n){0,3}\r\n",
    "|[ -~\r\n]{0,9}|[0-9a-fA-F]{1,3}[;\r]?\n",
    "){0,7}"
);

/// Text that looks a little like what is parsed: random bytes alone seldom get past the first character.
fn input(name: &str) -> BoxedStrategy<Vec<u8>> {
    let alphabet = match name {
        "arn" => {
            "(arn|aws|aws-cn|:|sagemaker|us-east-1|cn-north-1|123456789012|mlflow-app/app-|mlflow-tracking-server/|[A-Z0-9a-z\\-]{1,4}){0,12}"
        }
        "path" => "/(\\.|%2[eEfF]|/|%5c|%3b|;|a|%[0-9a-f]{2}|é|\\+){0,14}",
        "query" => "(a|=|&|\\+|%20|%2[bB]|%|é| |/){0,20}",
        "headers" => {
            "((x-amz-|x_|connection|host|x-a|cookie|content-type|X-MLFLOW-SM-)[a-z\\-]{0,3}: ?[ -~]{0,6}\n){0,8}"
        }
        "artifact_key" => "(s3://bucket/team/mlflow|/|\\.|%2e|%2F|a|é| |%00|\\\\){0,12}",
        "rewriting" => {
            "(\\{|\\}|\\[|\\]|,|:|\"runs\"|\"info\"|\"artifact_uri\"|\"s3://bucket/team/a\"|\"\\\\\\\\u0073\"|1|\\\\){0,24}"
        }
        "filter" => {
            "(attributes\\.|artifact_uri|source_path|tags\\.|x| |=|!=|LIKE|ILIKE|IN|NOT|\\(|,|\\)|AND|OR|'|\"|`|\\\\|'mlflow-artifacts:/1'|mlflow-artifacts:/|mlflow-art%|%|é){0,16}"
        }
        "user_data" => {
            "(#!|#cloud-config|a = 1|\n|\\{|\\}|\"a\"|:|1|Content-Type: multipart/mixed; boundary=B|--B|--B--|\r\n){0,10}"
        }
        "token_file" => {
            "(\\[\\[token\\]\\]|\n|id = \"a\"|name = \"ci\"|role = \"read\"|created = \"2026-01-01T00:00:00Z\"|targets = \\[\"a\"\\]){0,12}"
        }
        "token" => "mlfa_[0-9A-Za-z_]{40,60}",
        "jwt" => {
            "\\{(\"(alg|kid|typ|crit|iss|aud|exp|nbf|sub|keys|kty)\":(\"(EdDSA|k|JWT|i|a|é|/)\"|[0-9]{1,20}|-1|1e300|\\[\\]|null),?){0,8}\\}|[A-Za-z0-9_\\-]{0,30}(\\.[A-Za-z0-9_\\-]{0,30}){0,5}"
        }
        "aws_token" => {
            "(https://sts\\.eu-west-1\\.amazonaws\\.com/\\?|Action=GetCallerIdentity|&|Version=2011-06-15|X-Amz-(Algorithm=AWS4-HMAC-SHA256|Credential=AKIDEXAMPLEAKIDEXAMP%2F20260101%2Feu-west-1%2Fsts%2Faws4_request|Date=20260101T000000Z|Expires=[0-9]{1,4}|SignedHeaders=host%3Bx-mlflow-appliance-audience|Security-Token=[a-z%2F]{1,9}|Signature=[0-9a-f]{64})|#|%|é){0,20}"
        }
        "oidc" => {
            "[A-Za-z0-9_=\\-]{0,40}(\\.[A-Za-z0-9_=\\-]{0,40}){0,3}|\\{\"alg\":\"ES256\",\"kid\":\"k\",\"signer\":\"s\",\"iss\":\"i\",\"client\":\"c\",\"exp\":-?[0-9]{1,20}(\\.[0-9])?(e[0-9]{1,3})?\\}"
        }
        "forwarded" => {
            "(10\\.0\\.0\\.[0-9]{1,3}|198\\.51\\.100\\.7(:[0-9]{1,5})?|\\[2001:db8::[0-9a-f]{1,4}\\](:[0-9]{1,5})?|::ffff:10\\.1\\.1\\.1|,| |\n|unknown){0,12}"
        }
        "graphql" => {
            "(query|mutation|\\{|\\}|mlflowGetRun|run|experiment|x|\\.\\.\\.|F|fragment|on|Query|\"|\\\\|\\(|\\)|:| ){0,24}"
        }
        "traceparent" => "(00|01|ff|0)-[0-9a-f]{31,32}-[0-9a-f]{16}-(0[0-3]|[0-9a-fA-F]{2})(-|-x|)",
        "trace_tags" => {
            "(\\{|\\}|\\[|\\]|,|:|\"mlflow\\.traceTag\\.mlflow\\.x\"|\"mlflow\\.trace|Tag\\.mlflow\\.|\\\\u006d|\"|\"\\\\u006Dlflow\\.trace\\\\u0054ag\\.mlflow\\.\"|\\\\|lflow|é){0,24}"
        }
        "request_framing" => REQUESTS,
        other => panic!("`{other}` has no input"),
    };
    let text = proptest::string::string_regex(alphabet).unwrap().prop_map(String::into_bytes);
    prop_oneof![4 => text, 1 => prop::collection::vec(any::<u8>(), 0..200)].boxed()
}

#[test]
fn properties_hold_for_random_input() {
    for (name, property) in fuzzed::ALL {
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(2000) });
        let tried = runner.run(&input(name), |data| {
            property(&data);
            Ok(())
        });
        tried.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn properties_hold_for_the_fuzzing_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/fuzz/corpus");
    for (name, property) in fuzzed::ALL {
        let files: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 3, "{name} has a corpus: {}", files.len());
        for file in files {
            property(&fs::read(&file).unwrap());
        }
    }
    let folders = fs::read_dir(&corpus).unwrap().count();
    assert_eq!(folders, fuzzed::ALL.len(), "every folder belongs to a property");
}
