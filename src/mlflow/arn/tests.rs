//! The tests of `arn.rs`.

use super::*;

#[test]
fn both_modes_and_both_partitions_parse() {
    for (text, mode, region, partition) in [
        (
            "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/ts1",
            Mode::TrackingServer,
            "us-east-1",
            Partition::Aws,
        ),
        (
            "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-ABCDEF123456",
            Mode::App,
            "eu-west-1",
            Partition::Aws,
        ),
        (
            "arn:aws-us-gov:sagemaker:us-gov-west-1:123456789012:mlflow-tracking-server/a--b",
            Mode::TrackingServer,
            "us-gov-west-1",
            Partition::AwsUsGov,
        ),
        ("arn:aws:sagemaker:ap-southeast-7:000000000000:mlflow-app/x", Mode::App, "ap-southeast-7", Partition::Aws),
    ] {
        let arn = Arn::parse(text).expect(text);
        assert_eq!((arn.mode(), arn.region(), arn.partition()), (mode, region, partition), "{text}");
        assert_eq!(arn.as_str(), text);
    }
}

#[test]
fn each_wrong_part_is_named() {
    let long = format!("arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/{}", "a".repeat(120));
    for (text, expected) in [
        ("", ArnError::NotAnArn),
        ("http://localhost:5000", ArnError::NotAnArn),
        ("arn:aws:sagemaker:us-east-1:123456789012", ArnError::NotAnArn),
        ("urn:aws:sagemaker:us-east-1:123456789012:mlflow-app/a", ArnError::NotAnArn),
        (" arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/a", ArnError::NotAnArn),
        (
            "arn:aws-cn:sagemaker:cn-north-1:123456789012:mlflow-app/a",
            ArnError::PartitionWithoutMlflow("aws-cn".into()),
        ),
        ("arn:azure:sagemaker:us-east-1:123456789012:mlflow-app/a", ArnError::UnknownPartition("azure".into())),
        ("arn:aws:s3:us-east-1:123456789012:mlflow-app/a", ArnError::WrongService("s3".into())),
        ("arn:aws:sagemaker:us-esat-1:123456789012:mlflow-app/a", ArnError::UnknownRegion("us-esat-1".into())),
        (
            "arn:aws:sagemaker:us-gov-west-1:123456789012:mlflow-tracking-server/a",
            ArnError::UnknownRegion("us-gov-west-1".into()),
        ),
        (
            "arn:aws-us-gov:sagemaker:us-east-1:123456789012:mlflow-tracking-server/a",
            ArnError::UnknownRegion("us-east-1".into()),
        ),
        ("arn:aws:sagemaker::123456789012:mlflow-app/a", ArnError::UnknownRegion(String::new())),
        (
            "arn:aws:sagemaker:us-east-1.evil.example/:123456789012:mlflow-app/a",
            ArnError::UnknownRegion("us-east-1.evil.example/".into()),
        ),
        ("arn:aws:sagemaker:us-east-1:12345:mlflow-app/a", ArnError::BadAccount("12345".into())),
        ("arn:aws:sagemaker:us-east-1:12345678901٣:mlflow-app/a", ArnError::BadAccount("12345678901٣".into())),
        ("arn:aws:sagemaker:us-east-1:123456789012:mlflow-app", ArnError::WrongResource("mlflow-app".into())),
        (
            "arn:aws:sagemaker:us-east-1:123456789012:notebook-instance/a",
            ArnError::WrongResource("notebook-instance".into()),
        ),
        ("arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/", ArnError::BadName(String::new())),
        ("arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/a/b", ArnError::BadName("a/b".into())),
        ("arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/a:b", ArnError::BadName("a:b".into())),
        ("arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/a-", ArnError::BadName("a-".into())),
        ("arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/a\r\nx: y", ArnError::BadName("a\r\nx: y".into())),
        ("arn:aws-us-gov:sagemaker:us-gov-east-1:123456789012:mlflow-app/a", ArnError::AppNotInPartition("aws-us-gov")),
        (long.as_str(), ArnError::TooLong(long.len(), 128)),
    ] {
        assert_eq!(Arn::parse(text), Err(expected), "{text}");
    }
}
