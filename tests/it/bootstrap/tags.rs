//! A person who may tag instances cannot prevent their start, and neither can the stacks' own tags.

use super::Instance;
use crate::deploy::stack_tags;

#[test]
fn the_tags_that_cloudformation_copies_are_no_fault() {
    let instance = Instance::new();
    instance.has("user-data", instance.configuration("[bootstrap]\nstack-name = \"s\"\nlogical-id = \"Group\"\n"));
    let mut tags = stack_tags();
    assert!(tags.len() >= 3, "{tags:?}");
    for (key, value) in [
        ("Name", "mlflow-appliance-tracking"),
        ("aws:autoscaling:groupName", "mlflow-appliance-tracking-Group-1"),
        ("aws:cloudformation:logical-id", "Group"),
        (
            "aws:cloudformation:stack-id",
            "arn:aws:cloudformation:us-east-1:123456789012:stack/mlflow-appliance-tracking/1",
        ),
        ("aws:cloudformation:stack-name", "mlflow-appliance-tracking"),
        ("aws:ec2launchtemplate:id", "lt-0123456789abcdef0"),
    ] {
        tags.push((key.to_owned(), value.to_owned()));
    }
    let tags: Vec<(&str, &str)> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    instance.tags(&tags);
    let (output, said) = instance.bootstrap(&["--dry-run"]);
    assert!(output.status.success() && !said.contains("warning"), "{said}");
    let (output, said) = instance.bootstrap(&[]);
    assert!(output.status.success() && !said.contains("warning"), "{said}");
}

#[test]
fn tags_of_others_cannot_prevent_a_start() {
    let instance = Instance::new();
    instance.has("user-data", instance.configuration(""));
    instance.tags(&[
        ("appliance:workers", "nowhere"),
        ("appliance:log-format", "json"),
        ("appliance:region", "eu-west-1"),
        ("appliance:artifact-store", "s3://somebody-elses/store"),
    ]);
    let (output, said) = instance.bootstrap(&[]);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("warning: tag `appliance:workers` is ignored: it makes the configuration invalid: "),
        "{said}"
    );
    for key in ["region", "artifact-store"] {
        let words = format!("warning: tag `appliance:{key}` is ignored: user data or a parameter names the MLflow");
        assert!(said.contains(&words), "{said}");
    }
    let written = instance.written().unwrap();
    assert!(written.contains("log-format = \"json\"") && !written.contains("workers"), "{written}");
    assert!(!written.contains("somebody-elses") && !written.contains("eu-west-1"), "{written}");
}
