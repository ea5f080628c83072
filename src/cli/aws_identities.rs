//! The settings of callers that prove an AWS identity.

use super::options::{CallerOptions, CallerTable, RawValue, ServeOptions, ValueOrigin};
use super::probe_settings;
use super::problems::Problems;
use super::targets::ParsedTarget;
use crate::access::aws_principal::PrincipalPattern;
use crate::access::aws_token;
use crate::access::grant::{Grant, Subject};
use crate::aws::regional_host;
use crate::http::client::Endpoint;
use crate::serve::AwsIdentitySettings;

/// The settings; none if no AWS identity is accepted, or after adding a problem.
pub(super) fn resolve(
    all: &ServeOptions,
    targets: &[ParsedTarget],
    problems: &mut Problems,
) -> Option<AwsIdentitySettings> {
    let options = &all.callers;
    if let (Some(given), None) = (&options.aws_regions, &options.aws_audience) {
        let hint = "set `aws-audience`, or remove this option";
        problems.add(&given.origin, "this has no effect without `aws-audience`", hint);
    }
    let audience = problems.read(
        options.aws_audience.as_ref(),
        "write the URL of the appliance, as in `https://mlflow.corp.example`",
        |text| aws_token::check_audience(text).map(|()| text.to_owned()).map_err(ToOwned::to_owned),
    )?;
    let mut regions = match &options.aws_regions {
        None => targets.iter().map(|target| target.target.arn().region().to_owned()).collect(),
        Some(given) => problems.read(Some(given), "write regions like `us-east-1,eu-west-1`", regions)?,
    };
    regions.sort();
    regions.dedup();
    let endpoint = |region: &str| sts_endpoint(region);
    let regions = regions.into_iter().map(|region| (region.clone(), endpoint(&region))).collect();
    Some(AwsIdentitySettings { audience, regions })
}

/// The STS endpoint of a region, or the one of the variables that AWS's SDKs read.
pub(super) fn sts_endpoint(region: &str) -> Endpoint {
    probe_settings::service("STS").unwrap_or_else(|| Endpoint::https(regional_host("sts", region)))
}

/// Checks the name of a region, which becomes part of a host.
pub(super) fn region(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_region = (1..=32).contains(&text.len()) && text.contains('-') && text.bytes().all(is_plain);
    if is_region { Ok(text.to_owned()) } else { Err("not the name of a region".to_owned()) }
}

fn regions(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|text| region(text.trim())).collect()
}

/// Adds a problem if either the audience or the grants are missing.
pub(super) fn check_grants(options: &CallerOptions, grants: &[Grant], problems: &mut Problems) {
    let has_grant = grants.iter().any(|grant| matches!(grant.to, Subject::AwsPrincipal(_)));
    match &options.aws_audience {
        Some(given) if !has_grant => problems.add(
            &given.origin,
            "AWS identities are accepted, but no role is granted to them",
            "add a `[[caller]]` with `principal = \"arn:aws:iam::…\"` and a `role` to the configuration file",
        ),
        None if has_grant => problems.add(
            &ValueOrigin::Default,
            "a `[[caller]]` has a `principal`, but `aws-audience` is not set",
            "set `aws-audience` to the URL of the appliance, for which callers make their tokens",
        ),
        _ => {}
    }
}

/// The subject of a `[[caller]]` with a `principal`.
pub(super) fn principal(table: &CallerTable, problems: &mut Problems) -> Option<Subject> {
    const HINT: &str = "write an ARN like `arn:aws:iam::123456789012:role/ml-*`, without the path of the role; \
                        `arn:aws:iam::123456789012:*` is the whole account";
    let account = table.values.get("account");
    let given = table.values.get("principal");
    if let (Some(account), None) = (account, given) {
        problems.add(&account.origin, "this has no effect without `principal`", "remove it, or add `principal`");
    }
    let account = account.map(|account: &RawValue| account.text.as_str());
    problems.read(given, HINT, |text| {
        let pattern = PrincipalPattern::parse(text, account);
        pattern.map(Subject::AwsPrincipal).map_err(ToOwned::to_owned)
    })
}
