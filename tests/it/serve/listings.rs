//! Listings of a store that others write to as well, or that answers wrongly.

use serde_json::json;

use super::artifacts::{SERVICE, gateway, s3};
use crate::support::Message as _;
use crate::support::upstream::Upstream;

const BEGIN: &str = "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";

#[test]
fn a_name_that_leads_out_of_a_directory_is_not_listed() {
    let keys = ["..", ".", "..\\x", "a\\..\\x", "x&#10;y", "/etc/x", "plain.txt", "..."];
    let files: String =
        keys.iter().map(|key| format!("<Contents><Key>team/mlflow/1/{key}</Key><Size>1</Size></Contents>")).collect();
    let folders: String = ["..", ".", "sub"]
        .iter()
        .map(|name| format!("<CommonPrefixes><Prefix>team/mlflow/1/{name}/</Prefix></CommonPrefixes>"))
        .collect();
    let page = format!("{BEGIN}<IsTruncated>false</IsTruncated>{files}{folders}</ListBucketResult>");
    let (mlflow, s3) = (Upstream::ok(), s3(move |_, wire| wire.answer("200 OK", &page)));
    let got = gateway(&mlflow, &s3, &[]).get(&format!("{SERVICE}/artifacts?path=1")).json();
    let expected = json!({"files": [
        {"path": "...", "is_dir": false, "file_size": 1},
        {"path": "plain.txt", "is_dir": false, "file_size": 1},
        {"path": "sub", "is_dir": true},
    ]});
    assert_eq!(got, expected);
}

#[test]
fn a_store_whose_listing_never_ends_is_not_asked_for_ever() {
    let page = format!(
        "{BEGIN}<IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
    );
    let (mlflow, s3) = (Upstream::ok(), s3(move |_, wire| wire.answer("200 OK", &page)));
    let appliance = gateway(&mlflow, &s3, &[]);
    for (method, target) in [("GET", "artifacts?path=1"), ("DELETE", "artifacts/1")] {
        let before = s3.requests().len();
        let got = appliance.connect().request(method, &format!("{SERVICE}/{target}"), &[], None);
        assert_eq!((got.status, got.header("x-appliance-error")), (502, "artifact-store-refused"), "{method}");
        assert!(s3.requests().len() <= before + 3, "{method}");
    }
}
