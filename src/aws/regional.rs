//! The names of hosts of AWS services.

/// The host of a service in a region, as most of AWS's services are named.
#[must_use]
pub fn regional_host(service: &str, region: &str) -> String {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("{service}.{region}.{suffix}")
}
