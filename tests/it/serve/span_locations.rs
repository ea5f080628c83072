//! Spans, and the traces made of them, name no location outside of the artifact store.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Answer;
use crate::support::upstream::{OK, Upstream};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const STORE: [&str; 4] = ["--artifact-store", "s3://bucket/team", "--s3-endpoint", "http://127.0.0.1:9"];

/// Spans with one attribute of this name, in the parts of protobuf that matter here.
fn protobuf(name: &str) -> Vec<u8> {
    let value = b"s3://finance/payroll";
    let length = |text: &[u8]| u8::try_from(text.len()).unwrap();
    let name = [&[0x0a, length(name.as_bytes())], name.as_bytes()].concat();
    let value = [&[0x12, length(value) + 2, 0x0a, length(value)], &value[..]].concat();
    [&[0x4a, length(&name) + length(&value)], &name[..], &value].concat()
}

fn json(name: &str) -> Vec<u8> {
    let attribute = format!(r#"{{"key": "{name}", "value": {{"stringValue": "s3://finance/payroll"}}}}"#);
    format!(r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{{"attributes": [{attribute}]}}]}}]}}]}}"#).into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn export(appliance: &Appliance, path: &str, (format, encoding): (&str, &str), body: &[u8]) -> Answer {
    let mut headers = vec![("Content-Type", format), ("x-mlflow-experiment-id", "1")];
    headers.extend(Some(("Content-Encoding", encoding)).filter(|_| !encoding.is_empty()));
    appliance.connect().request("POST", path, &headers, Some(body))
}

fn reserved() -> Vec<(&'static str, (&'static str, &'static str), Vec<u8>)> {
    let tag = "mlflow.traceTag.mlflow.trace.archiveLocation";
    let padding = vec![b'x'; 2 << 20];
    vec![
        ("/v1/traces", (PROTOBUF, ""), protobuf(tag)),
        ("//v1/traces", (PROTOBUF, ""), protobuf(tag)),
        ("/v1%2Ftraces", (PROTOBUF, "identity"), protobuf("mlflow.traceTag.mlflow.artifactLocation")),
        ("/v1/traces", ("", ""), protobuf(tag)),
        ("/v1/traces", (JSON, ""), json(tag)),
        ("/v1/traces", ("application/json; charset=utf-8", ""), json(&tag.replacen('m', "\\u006d", 1))),
        ("/v1/traces", (JSON, ""), json(tag).iter().flat_map(|byte| [*byte, 0]).collect()),
        ("/v1/traces", (PROTOBUF, "gzip"), gzip(&protobuf(tag))),
        // Two members, the second of which has it.
        ("/v1/traces", (PROTOBUF, "GZIP"), [gzip(b"\0"), gzip(&protobuf(tag))].concat()),
        ("/v1/traces", (JSON, "deflate"), zlib(&json(&tag.replace('.', "\\u002e")))),
        // Nothing can be said about these.
        ("/v1/traces", (PROTOBUF, "deflate"), zlib(&protobuf("x"))[2..].to_vec()),
        ("/v1/traces", (PROTOBUF, "gzip"), protobuf("x")),
        ("/v1/traces", (PROTOBUF, "br"), protobuf("x")),
        ("/v1/traces", (PROTOBUF, "gzip, gzip"), gzip(&gzip(&protobuf(tag)))),
        // Large, and so on disk, if the body is not streamed.
        ("/v1/traces", (PROTOBUF, ""), [&padding[..], &protobuf(tag)].concat()),
        ("/v1/traces", (PROTOBUF, "gzip"), gzip(&[&padding[..], &protobuf(tag)].concat())),
    ]
}

#[test]
fn spans_that_make_a_tag_of_mlflow_are_rejected() {
    let mlflow = Upstream::ok();
    for more in [&[][..], &["--unsigned-payload"]] {
        let appliance = Builder::new(&mlflow).with(&STORE).with(more).start();
        for (path, format, body) in reserved() {
            let got = export(&appliance, path, format, &body);
            let case = format!("{path} {format:?}, {} bytes, {more:?}", body.len());
            assert_eq!((got.status, got.header("x-appliance-error")), (400, "foreign-location"), "{case}");
            assert_eq!(got.json()["error_code"], "INVALID_PARAMETER_VALUE");
        }
        assert_eq!(mlflow.requests().len(), 0, "managed MLflow has seen none of it");
        let bomb = gzip(&vec![0; 101 << 20]);
        let got = export(&appliance, "/v1/traces", (PROTOBUF, "gzip"), &bomb);
        assert_eq!((got.status, got.header("x-appliance-error")), (413, "body-too-large"), "{} bytes", bomb.len());
    }
}

#[test]
fn other_spans_arrive_as_they_are() {
    let mlflow = Upstream::ok();
    let ordinary = ["mlflow.traceTag.team", "mlflow.spanInputs", "mlflow.trace.archiveLocation", "http.method"];
    let large = [&vec![b'x'; 2 << 20][..], &protobuf("x")].concat();
    let mut all = vec![((PROTOBUF, ""), large.clone()), ((PROTOBUF, "gzip"), gzip(&large)), ((PROTOBUF, ""), vec![])];
    for name in ordinary {
        all.extend([((PROTOBUF, ""), protobuf(name)), ((PROTOBUF, "gzip"), gzip(&protobuf(name)))]);
        all.extend([((JSON, ""), json(name)), ((JSON, "deflate"), zlib(&json(name)))]);
    }
    let appliance = Builder::new(&mlflow).with(&STORE).start();
    for (format, body) in all {
        let got = export(&appliance, "/v1/traces", format, &body);
        assert_eq!(got.status, 200, "{format:?} {}: {}", body.len(), got.text());
        assert!(mlflow.requests().pop().unwrap().body == body, "{format:?} {}", body.len());
    }
    // Where locations may be elsewhere, and where the appliance serves no artifacts, there is nothing to judge.
    for arguments in [&[&STORE[..], &["--artifact-elsewhere", "allow"]].concat()[..], &[]] {
        let appliance = Builder::new(&mlflow).with(arguments).start();
        for (path, format, body) in reserved() {
            assert_eq!(export(&appliance, path, format, &body).status, 200, "{path} {format:?} {arguments:?}");
        }
    }
}

#[test]
fn a_trace_that_is_archived_elsewhere_is_not_read() {
    let (own, foreign) = ("s3://bucket/team/1/traces/tr-1/artifacts", "s3://finance/payroll");
    let ask = |tags: Value| {
        let text = json!({"trace": {"trace_info": {"tags": tags}}}).to_string();
        let mlflow = Upstream::start(move |request, wire| {
            if request.target.contains("get-trace-artifact") { wire.send(OK) } else { wire.answer("200 OK", &text) }
        });
        let got =
            Builder::new(&mlflow).with(&STORE).start().get("/ajax-api/3.0/mlflow/get-trace-artifact?request_id=tr-1");
        (got.status, got.all("x-appliance-error").concat())
    };
    for (archive, expected) in [(own, (200, String::new())), (foreign, (403, "foreign-location".to_owned()))] {
        let tags = json!({"mlflow.artifactLocation": own, "mlflow.trace.archiveLocation": archive});
        assert_eq!(ask(tags), expected, "{archive}");
        let listed = json!([
            {"key": "mlflow.artifactLocation", "value": own}, {"key": "mlflow.trace.archiveLocation", "value": archive},
        ]);
        assert_eq!(ask(listed), expected, "{archive} in a list");
    }
}
