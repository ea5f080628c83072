//! Thin edges to AWS: signatures, credentials, roles.

pub mod credentials;
pub mod on_behalf;
pub mod outcomes;
pub mod role;
pub mod s3;
pub mod sdk;
pub mod secret;
pub mod sigv4;
pub mod skew;
pub mod source;
mod tunnelled;

/// The host of a service in a region, as most of AWS's services are named.
#[must_use]
pub fn regional_host(service: &str, region: &str) -> String {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("{service}.{region}.{suffix}")
}
