//! The HTTP proxy of this process, from the variables that all programs read.

use super::problems::Problems;
use crate::proxy::Proxies;

/// The first variable that is set counts. curl and the AWS CLI prefer the lower case as well.
const PROXY: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
const DIRECT: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Reads the variables. All TLS connections use the proxy, except those to the hosts of `NO_PROXY`.
pub(super) fn read(problems: &mut Problems) -> Proxies {
    let first = |names: [&'static str; 2]| {
        let set = names.into_iter().map(|name| (name, std::env::var(name).unwrap_or_default()));
        set.into_iter().find(|(_, text)| !text.trim().is_empty())
    };
    let Some((name, url)) = first(PROXY) else { return Proxies::default() };
    let (_, direct) = first(DIRECT).unwrap_or_default();
    Proxies::new(&url, &direct).unwrap_or_else(|error| {
        problems.add_local(&name, error, "write `http://host:port`, or `http://user:password@host:port`");
        Proxies::default()
    })
}
