//! The proxy that this process is to use, by the variables that all programs read.

use super::problems::Problems;
use crate::proxy::Proxies;

/// The first that is set counts. curl and the AWS CLI look at the lower case first.
const PROXY: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
const DIRECT: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Reads the variables. All connections over TLS go by way of the proxy, but for hosts that are left out.
pub(super) fn read(problems: &mut Problems) -> Proxies {
    let first = |names: [&'static str; 2]| {
        let set = names.into_iter().map(|name| (name, std::env::var(name).unwrap_or_default()));
        set.into_iter().find(|(_, text)| !text.trim().is_empty())
    };
    let Some((name, url)) = first(PROXY) else { return Proxies::default() };
    let (_, direct) = first(DIRECT).unwrap_or_default();
    Proxies::new(&url, &direct).unwrap_or_else(|what| {
        problems.add_local(&name, what, "write `http://host:port`, or `http://user:password@host:port`");
        Proxies::default()
    })
}
