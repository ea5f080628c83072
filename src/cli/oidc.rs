//! The settings of users that a load balancer signs in by OpenID Connect.

use super::options::{CallerOptions, RawValue};
use super::problems::{Problems, Reported};
use super::values;
use crate::access::balancer_jwt::ExpectedBalancerJwt;
use crate::http::client::Endpoint;
use crate::serve::OidcSettings;

/// The settings; none if no load balancer is trusted.
pub(super) fn resolve(options: &CallerOptions, problems: &mut Problems) -> Result<Option<OidcSettings>, Reported> {
    let Some(signer) = &options.oidc_signer else {
        let without_effect =
            [&options.oidc_issuer, &options.oidc_client_id, &options.oidc_name_claim, &options.oidc_keys_url];
        for given in without_effect.into_iter().flatten() {
            let text = "this has no effect, because no load balancer is trusted";
            problems.add(
                &given.origin,
                text,
                "set `oidc-signer` to the ARN of the load balancer, or remove this option",
            );
        }
        return Ok(None);
    };
    let region = problems.read(Some(signer), "copy the ARN of the load balancer from the EC2 console", |text| {
        let fields: Vec<&str> = text.split(':').collect();
        match fields[..] {
            ["arn", _, "elasticloadbalancing", region, account, resource]
                if !account.is_empty()
                    && resource.starts_with("loadbalancer/app/")
                    && !region.is_empty()
                    && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') =>
            {
                Ok(region.to_owned())
            }
            _ => Err("not the ARN of an Application Load Balancer".to_owned()),
        }
    });
    let Some(issuer) = &options.oidc_issuer else {
        problems.add(&signer.origin, "the identity provider is not configured", "set `oidc-issuer` to its issuer URL");
        return Err(Reported);
    };
    let keys = match &options.oidc_keys_url {
        None => region.as_deref().map(published_keys),
        Some(given) => problems
            .read(Some(given), "write `https://host`, `https://host:port`", values::endpoint)
            .map(|endpoint| (endpoint, "/".to_owned())),
    };
    region.ok_or(Reported)?;
    let text = |given: &Option<RawValue>| given.as_ref().map(|given| given.text.clone());
    Ok(Some(OidcSettings {
        expected: ExpectedBalancerJwt {
            signer: signer.text.clone(),
            issuer: issuer.text.clone(),
            client: text(&options.oidc_client_id),
        },
        name_claim: text(&options.oidc_name_claim).unwrap_or_else(|| "sub".to_owned()),
        keys: keys.ok_or(Reported)?,
    }))
}

/// The address at which AWS publishes the keys of a region's load balancers
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html>).
fn published_keys(region: &str) -> (Endpoint, String) {
    if region.starts_with("us-gov-") {
        let path = format!("/aws-elb-public-keys-prod-{region}/");
        return (Endpoint::https(format!("s3-{region}.amazonaws.com")), path);
    }
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    (Endpoint::https(format!("public-keys.auth.elb.{region}.{suffix}")), "/".to_owned())
}
