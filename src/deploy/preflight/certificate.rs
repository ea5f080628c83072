//! Checks that the certificate is issued, and that it covers the name of the appliance.

use super::context::{CheckResult, PreflightContext};

pub(super) async fn check(context: PreflightContext<'_>) -> CheckResult {
    let mut report = CheckResult::default();
    let Some(arn) = context.value("CertificateArn") else { return report };
    let answer = context.settings.account.certificate(arn).await;
    let what = "whether the certificate can be used";
    let Some(certificate) = report.known(what, "acm:DescribeCertificate", answer) else { return report };
    let Some(certificate) = certificate else {
        let what = format!("CertificateArn: {} has no certificate {arn}", context.region());
        report.found(what, "name one of this region and this account");
        return report;
    };
    if certificate.status != "ISSUED" {
        let fix = "finish its validation in AWS Certificate Manager, or name another one";
        report.found(format!("CertificateArn: the certificate is {}", certificate.status), fix);
    }
    if let Some(name) = context.value("DomainName").filter(|name| !certificate.names.iter().any(|of| fits(of, name))) {
        let names = certificate.names.join(", ");
        let what = format!("DomainName: the certificate is for {names}, and not for {name}: no client would accept it");
        report.found(what, "name a certificate for this name, or one of its names as DomainName");
    }
    report
}

/// Returns true if a certificate's name, which may begin with a wildcard for one label, covers this name.
fn fits(of: &str, name: &str) -> bool {
    match of.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => of.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(fits("*.a.example", "x.a.example") && fits("A.example", "a.example"));
        assert!(!fits("*.a.example", "a.example") && !fits("*.a.example", "y.x.a.example"));
    }
}
