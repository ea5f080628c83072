//! Uploads to a run that arrive slowly: managed MLflow has answered by then, and others get its connections.

use super::artifacts::{gateway, s3};
use crate::support::appliance::Appliance;
use crate::support::caller::Caller;
use crate::support::eventually;
use crate::support::upstream::Upstream;

fn begin(appliance: &Appliance, name: usize) -> Caller {
    let mut caller = appliance.connect();
    let target = format!("/ajax-api/2.0/mlflow/upload-artifact?run_uuid=r&path={name}.txt");
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhel");
    caller.send(head).unwrap();
    caller
}

#[test]
fn an_upload_that_arrives_slowly_holds_nothing_of_managed_mlflow() {
    let run = r#"{"run":{"info":{"artifact_uri":"s3://bucket/team/mlflow/1/r/artifacts"}}}"#;
    let mlflow = Upstream::start(move |_, wire| wire.answer("200 OK", run));
    let s3 = s3(|_, wire| wire.answer("200 OK", ""));
    let appliance = gateway(&mlflow, &s3, &["--upstream-connections", "1"]);
    // With one connection, four requests may be in flight.
    let mut slow = Vec::new();
    for number in 0..6 {
        slow.push(begin(&appliance, number));
        eventually("managed MLflow is asked about the run", || mlflow.requests().len() == number + 1);
    }
    let got = appliance.connect().request("POST", "/api/2.0/mlflow/runs/log-metric", &[], Some(b"{}"));
    assert_eq!(got.status, 200, "{}", got.text());
    for caller in &mut slow {
        caller.send("lo").unwrap();
        assert_eq!(caller.answer(false).unwrap().status, 200);
    }
    assert!(s3.requests().iter().all(|request| request.body == b"hello"));
}
