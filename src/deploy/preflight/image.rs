//! Checks that the image exists, and that it fits the template.

use super::context::{CheckResult, PreflightContext};
use crate::api::account::Image;

/// The name of the image's root disk in the template. Under another name, the instance would get a second disk.
const ROOT_DEVICE: &str = "/dev/xvda";

pub(super) async fn check(context: PreflightContext<'_>) -> CheckResult {
    let mut report = CheckResult::default();
    let Some(id) = context.image else { return report };
    let account = &context.settings.account;
    let answer = account.image(id).await;
    let Some(image) = report.known(&format!("what the image {id} is"), "ec2:DescribeImages", answer) else {
        return report;
    };
    match image {
        None => report.found(
            format!("AmiParameter: the image {id} is not in {}, or this account may not use it", context.region()),
            "bake the image in this region, or let its owner share it with this account",
        ),
        Some(image) => {
            let about = image.description.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
            report.notes.push(format!("image: {id} is {}{about}", image.name));
            judge(id, &image, context.value("Architecture"), &mut report);
        }
    }
    report
}

fn judge(id: &str, image: &Image, wanted: Option<&str>, report: &mut CheckResult) {
    let Image { state, architecture, root_device, .. } = image;
    if state != "available" {
        let fix = "wait until it is available, or bake it again";
        report.found(format!("AmiParameter: the image {id} is {state}"), fix);
    }
    // An emulator may leave out some of these values.
    if !architecture.is_empty() && wanted.is_some_and(|wanted| wanted != architecture) {
        let fix = format!("pass `--parameter Architecture={architecture}`, or bake an image for the other");
        report.found(format!("AmiParameter: the image {id} is for {architecture}, and Architecture is not"), fix);
    }
    if !root_device.is_empty() && root_device != ROOT_DEVICE {
        let what =
            format!("AmiParameter: the disk of the image {id} is `{root_device}`, and the template's {ROOT_DEVICE}");
        report.found(
            what,
            "use an image that one of the appliance's two bakes has made, or one with the same root device",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_has_the_name_of_the_template() {
        let template = include_str!("../../../infra/appliance.yaml");
        assert!(template.contains(&format!("DeviceName: {ROOT_DEVICE}\n")));
    }
}
