//! The errors of `appliance ui` if there is nothing to open, and their hints.

use serde_json::json;

use super::{URL, api, asked, handing_out, printed, ui};
use crate::support::appliance::{APP_ARN, TRACKING_ARN};

#[test]
fn each_error_of_aws_is_explained() {
    let denied =
        r#"{"__type": "AccessDeniedException", "Message": "User: arn:aws:sts::1:assumed-role/a/b is not authorized"}"#;
    let missing = r#"{"__type": "com.amazonaws.sagemaker#ResourceNotFound", "Message": "no ts1"}"#;
    let invalid = r#"{"__type": "ValidationException", "message": "Tracking server must be active"}"#;
    let expired = r#"{"__type": "ExpiredTokenException", "message": "The security token is expired"}"#;
    for (arn, status, body, expected) in [
        (
            TRACKING_ARN,
            "400 Bad Request",
            denied,
            [
                "b is not authorized",
                "hint: allow `sagemaker:CreatePresignedMlflowTrackingServerUrl` on `arn:aws:sagemaker:us",
            ],
        ),
        (
            APP_ARN,
            "400 Bad Request",
            denied,
            ["b is not authorized", "hint: allow `sagemaker:CreatePresignedMlflowAppUrl` on `arn:aws:sagemaker:eu"],
        ),
        (TRACKING_ARN, "400 Bad Request", missing, ["there is no such MLflow: no ts1", "hint: check the ARN"]),
        (APP_ARN, "404 Not Found", missing, ["there is no such MLflow: no ts1", "hint: check the ARN"]),
        (
            TRACKING_ARN,
            "400 Bad Request",
            invalid,
            [
                "400 Bad Request (ValidationException): Tracking server must be active",
                "--tracking-server-name ts1 --region us-east-1",
            ],
        ),
        (
            APP_ARN,
            "500 Internal Server Error",
            "oops",
            ["500 Internal Server Error", "describe-mlflow-app --arn arn:aws"],
        ),
        (APP_ARN, "400 Bad Request", expired, ["(ExpiredTokenException)", "hint: renew the credentials"]),
        (APP_ARN, "200 OK", "{}", ["contains no HTTPS URL", "hint: check `--sagemaker-endpoint`"]),
        (APP_ARN, "200 OK", r#"{"AuthorizedUrl": "--remote-debugging"}"#, ["contains no HTTPS URL", "hint: "]),
    ] {
        let upstream = api("", status, body);
        let (output, said) = ui(&upstream.url(), &["--resource-arn", arn], &[]);
        assert_eq!((output.status.code(), printed(&output).as_str()), (Some(1), ""), "{said}");
        assert!(said.starts_with(&format!("error: cannot obtain a URL of the UI of `{arn}`")), "{said}");
        for part in expected {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

#[test]
fn an_mlflow_that_is_not_serving_is_not_opened() {
    for (arn, state, expected) in [
        (
            TRACKING_ARN,
            r#"{"TrackingServerStatus": "Stopped", "IsActive": "Inactive"}"#,
            [
                "its status is Stopped",
                "aws sagemaker start-mlflow-tracking-server --tracking-server-name ts1 --region us-east-1",
            ],
        ),
        (
            TRACKING_ARN,
            r#"{"TrackingServerStatus": "Starting", "IsActive": "Inactive"}"#,
            ["its status is Starting", "hint: wait until"],
        ),
        (APP_ARN, r#"{"Status": "Creating"}"#, ["its status is Creating", "hint: wait until"]),
        (APP_ARN, r#"{"Status": "Deleted"}"#, ["its status is Deleted", "`appliance targets`"]),
    ] {
        let upstream = api(state, "200 OK", &json!({"AuthorizedUrl": URL}).to_string());
        let (output, said) = ui(&upstream.url(), &["--resource-arn", arn], &[]);
        assert_eq!((output.status.code(), printed(&output).as_str()), (Some(1), ""), "{said}");
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
        assert_eq!(asked(&upstream).len(), 0, "no URL is wasted");
    }
    for (arn, state) in [
        (TRACKING_ARN, r#"{"TrackingServerStatus": "Updating", "IsActive": "Active"}"#),
        (APP_ARN, r#"{"Status": "Updated"}"#),
    ] {
        let upstream = api(state, "200 OK", &json!({"AuthorizedUrl": URL}).to_string());
        let (output, said) = ui(&upstream.url(), &["--resource-arn", arn], &[]);
        assert_eq!((output.status.code(), printed(&output)), (Some(0), format!("{URL}\n")), "{said}");
    }
}

#[test]
fn missing_credentials_and_a_missing_network_are_distinguished() {
    let upstream = handing_out(URL);
    let none = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_SESSION_TOKEN", "")];
    let (output, said) = ui(&upstream.url(), &["--resource-arn", APP_ARN], &none);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no AWS credentials were found") && said.contains("hint: set AWS_PROFILE"), "{said}");
    assert_eq!(upstream.connections(), 0);

    let role = ["--resource-arn", APP_ARN, "--role-arn", "arn:aws:iam::123456789012:role/mlflow"];
    let (output, said) = ui(&upstream.url(), &role, &[("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the role could not be assumed") && said.contains("hint: check that"), "{said}");

    let (output, said) = ui("https://127.0.0.1:9", &["--resource-arn", APP_ARN], &[]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the SageMaker API did not answer") && said.contains("hint: check the network"), "{said}");
}
