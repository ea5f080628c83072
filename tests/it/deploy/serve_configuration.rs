//! The parameter that holds more of the appliance's configuration.

use super::cloud::Cloud;
use super::{APPLY, CERTIFICATE, deploy, ready};

const GOOD: &str = "aws-audience = \"https://mlflow.corp\"\n\n[[caller]]\n\
                    principal = \"arn:aws:iam::123456789012:role/ml-*\"\nrole = \"read\"\n";

#[test]
fn a_file_becomes_the_parameter_and_is_checked_before_anything_is_created() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("access.toml");
    let parameter = format!("ServeConfiguration=@{}", file.display());
    let arguments = [&APPLY[..], &CERTIFICATE[..], &["--parameter", &parameter]].concat();
    let cloud = Cloud::start();
    ready(&cloud);

    let (code, _, said) = deploy(&cloud, &arguments);
    assert!(code == Some(2) && said.contains("No such file"), "{said}");

    std::fs::write(&file, GOOD.replace("role = \"read\"", "role = \"reader\"")).unwrap();
    let (code, _, said) = deploy(&cloud, &arguments);
    assert!(code == Some(78) && said.contains("ServeConfiguration, line 5: ") && said.contains("hint: "), "{said}");
    assert!(cloud.acts().is_empty(), "{:?}", cloud.acts());

    // An editor on Windows ends lines in another way, which must not look like a change.
    for text in [GOOD.to_owned(), format!("\n{}\n\n", GOOD.replace('\n', "\r\n"))] {
        std::fs::write(&file, text).unwrap();
        let (code, _, said) = deploy(&cloud, &arguments);
        assert_eq!(code, Some(0), "{said}");
        let parameters = cloud.world().stacks["mlflow-appliance-tracking"].parameters.clone();
        assert_eq!(parameters["ServeConfiguration"], GOOD.trim_end());
    }
    let (code, _, said) = deploy(&cloud, &arguments);
    assert!(code == Some(0) && said.matches("no changes").count() == 3, "{said}");
}
