//! The options of the artifact gateway: the way that artifacts travel, the endpoint of S3, and the artifact store.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::artifact_locations::mlflow_with_a_run;
use super::artifacts::{SERVICE, gateway, s3};
use crate::support::appliance::Builder;
use crate::support::upstream::Upstream;
use crate::support::{Message as _, eventually, figure, python, quiet_port};

#[test]
fn artifacts_travel_in_the_configured_way() {
    let mlflow = Upstream::start(|_, wire| wire.answer("404 Not Found", "{}"));
    let s3 = s3(|request, wire| match request.method.as_str() {
        "HEAD" => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"),
        "POST" => wire.answer(
            "200 OK",
            "<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>bucket</Bucket>\
             <Key>k</Key><UploadId>up+1/2</UploadId></InitiateMultipartUploadResult>",
        ),
        _ => wire.answer("200 OK", "bytes"),
    });
    let create = json!({"path": "/home/me/big file.bin", "num_parts": 2}).to_string();
    for (access, multipart, presigned_only) in
        [("proxied", false, false), ("multipart", true, false), ("presigned-only", true, true)]
    {
        let appliance = gateway(&mlflow, &s3, &["--artifact-access", access]);
        let info = appliance.get("/api/3.0/mlflow/server-info").json();
        assert_eq!(info["multipart_uploads_enabled"], multipart, "{access}");
        assert_eq!(info["artifacts_presigned_only"], presigned_only, "{access}");
        let presigned = appliance.get(&format!("{SERVICE}/presigned/a/b"));
        let target = format!("{SERVICE}/mpu/create/a/b");
        let created = appliance.connect().request("POST", &target, &[], Some(create.as_bytes()));
        if multipart {
            let presigned = presigned.json();
            assert_eq!((&presigned["file_size"], &presigned["headers"]), (&json!(12345), &json!({})));
            assert!(presigned["url"].as_str().unwrap().starts_with(&format!("{}/bucket/team/mlflow/a/b?", s3.url())));
            let created = created.json();
            assert_eq!(created["upload_id"], "up+1/2");
            let part = created["credentials"][1].clone();
            assert_eq!(part["part_number"], 2);
            let url = part["url"].as_str().unwrap();
            assert!(url.contains("/a/b/big%20file.bin?") && url.contains("uploadId=up%2B1%2F2"), "{url}");
        } else {
            assert_eq!((presigned.status, created.status), (501, 501));
            let message = created.json()["message"].as_str().unwrap().to_owned();
            assert!(message.starts_with("Multipart upload is not supported for the current artifact repository"));
        }
        let got = appliance.get(&format!("{SERVICE}/artifacts/a/b"));
        let put = appliance.connect().request("PUT", &format!("{SERVICE}/artifacts/a/b"), &[], Some(b"x"));
        if presigned_only {
            assert_eq!((got.status, got.body.len()), (307, 0), "no byte crosses the appliance");
            assert!(got.header("location").starts_with(&s3.url()));
            assert_eq!((put.status, put.header("x-appliance-error")), (403, "presigned-only"));
        } else {
            assert_eq!((got.text().as_str(), put.status), ("bytes", 200));
        }
    }
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn an_s3_compatible_store_works_like_s3() {
    const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555";
    let bin = python::environment();
    let mlflow = Upstream::ok();
    // moto is started by the script; nothing is asked of it before.
    let port = quiet_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let store = ["--artifact-store", "s3://bucket/team/mlflow", "--s3-endpoint", &endpoint, "--artifact-kms-key", KEY];
    let appliance = Builder::new(&mlflow).with(&store).start();
    let result = python::run(&bin, "moto_store.py", &[&port.to_string(), &appliance.url(), KEY], b"");
    figure(&format!("artifacts on moto: {result}"));
    assert!(result["checks"].as_u64().unwrap() >= 80, "{result}");
}

#[test]
fn requests_are_rejected_until_aws_has_described_the_artifact_store() {
    let mlflow = mlflow_with_a_run();
    let s3 = s3(|_, wire| wire.answer("200 OK", "bytes"));
    let asked = AtomicUsize::new(0);
    let sagemaker = Upstream::start(move |_, wire| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => wire.answer("400 Bad Request", r#"{"__type":"AccessDeniedException","Message":"no"}"#),
        _ => wire.answer("200 OK", r#"{"ArtifactStoreUri":"s3://bucket/team/mlflow"}"#),
    });
    let endpoints = ["--s3-endpoint", &s3.url(), "--sagemaker-endpoint", &sagemaker.url()].map(ToOwned::to_owned);
    let appliance = Builder::new(&mlflow)
        .with(&["--artifact-store", "auto"])
        .with(&endpoints.each_ref().map(String::as_str))
        .without_waiting()
        .start();
    eventually("AWS has refused", || appliance.log().contains("the artifact store was not found"));
    let refused = appliance.get("/api/2.0/mlflow/runs/get?run_id=1");
    assert_eq!((refused.status, refused.header("x-appliance-error")), (503, "artifact-store-unknown"));
    let why =
        "the SageMaker API answered 400 Bad Request (AccessDeniedException); `sagemaker:DescribeMlflowTrackingServer`";
    for said in [refused.json()["message"].clone(), appliance.get("/_appliance/readyz").json()["reason"].clone()] {
        assert!(said.as_str().unwrap().contains(why), "{said}");
    }
    assert!(appliance.log().contains("`sagemaker:DescribeMlflowTrackingServer` on the target is needed"));
    eventually("it was asked again", || appliance.get("/_appliance/readyz").status == 200);
    assert!(appliance.get("/api/2.0/mlflow/runs/get?run_id=1").text().contains("mlflow-artifacts:/7/1/artifacts"));
    assert_eq!(appliance.get(&format!("{SERVICE}/artifacts/x")).text(), "bytes");
    let questions = sagemaker.requests();
    assert_eq!(questions.len(), 2);
    assert_eq!(questions[1].header("x-amz-target"), "SageMaker.DescribeMlflowTrackingServer");
    assert_eq!(questions[1].body, br#"{"TrackingServerName":"ts1"}"#);
    assert!(questions[1].header("authorization").contains("/us-east-1/sagemaker/aws4_request"));
}
