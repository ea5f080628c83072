//! The proxy for a host, if there is one: the meaning of `HTTPS_PROXY` and `NO_PROXY`.

use std::fmt;
use std::sync::Arc;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

/// The hosts that are reached without a proxy, whatever the environment says: this machine and its link, where the metadata
/// service is and the services that provide the credentials of containers.
const ALWAYS_DIRECT: &str = "localhost,127.0.0.0/8,::1,169.254.0.0/16,fe80::/10,fd00:ec2::/32";

/// The route by which connections over TLS leave this machine. Cloning shares.
#[derive(Clone, Default)]
pub struct Proxies(Option<Arc<Inner>>);

struct Inner {
    proxy: Proxy,
    /// The URL of the proxy, with user and password, and always with a scheme.
    url: String,
    /// The hosts that are connected to directly.
    direct: String,
    matcher: Matcher,
}

/// An HTTP proxy. It is shown without its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The value of `Proxy-Authorization`. SECURITY: never shown.
    authorization: Option<String>,
}

impl Proxy {
    /// The request that opens a tunnel to a host.
    #[must_use]
    pub fn connect(&self, host: &str, port: u16) -> String {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let authorization =
            self.authorization.as_ref().map(|value| format!("Proxy-Authorization: {value}\r\n")).unwrap_or_default();
        format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n")
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(formatter, "http://[{host}]:{port}")
        } else {
            write!(formatter, "http://{host}:{port}")
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Proxies").field(&self.0.as_ref().map(|inner| &inner.proxy)).finish()
    }
}

impl Proxies {
    /// The proxy of this URL, to all hosts but those of a list as in `NO_PROXY`.
    ///
    /// # Errors
    /// The reason why the URL cannot be used. SECURITY: the text does not repeat it, because it may contain a password.
    pub fn new(url: &str, direct: &str) -> Result<Self, &'static str> {
        let url = url.trim();
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let parsed = Url::parse(&url).map_err(|_| "it is not a URL")?;
        match parsed.scheme() {
            "http" => {}
            "https" => return Err("a proxy that is itself spoken to over TLS is not supported"),
            _ => return Err("only HTTP proxies are supported"),
        }
        let direct = format!("{ALWAYS_DIRECT},{}", entries(direct));
        let matcher = Matcher::builder().https(url.as_str()).no(direct.as_str()).build();
        // This host always has a proxy, so the answer shows what the matcher has read.
        let read = matcher.intercept(&Uri::from_static("https://proxied.invalid"));
        let proxy = match &read {
            Some(read) => Proxy {
                host: read.uri().host().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
                port: read.uri().port_u16().unwrap_or(80),
                authorization: read.basic_auth().and_then(|value| value.to_str().ok()).map(ToOwned::to_owned),
            },
            // `NO_PROXY=*`
            None if entries_of(&direct).any(|entry| entry == "*") => return Ok(Self::default()),
            None => return Err("it is not the URL of a host and a port"),
        };
        Ok(Self(Some(Arc::new(Inner { proxy, url, direct, matcher }))))
    }

    /// The proxy through which a host is reached over TLS.
    #[must_use]
    pub fn to(&self, host: &str) -> Option<&Proxy> {
        let inner = self.0.as_deref()?;
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let uri = format!("https://{bracketed}/").parse().ok()?;
        inner.matcher.intercept(&uri).map(|_| &inner.proxy)
    }

    /// The URL of the proxy with its credentials, and the list of hosts that are reached without it: for another HTTP
    /// client.
    #[must_use]
    pub fn parts(&self) -> Option<(&str, &str)> {
        self.0.as_deref().map(|inner| (inner.url.as_str(), inner.direct.as_str()))
    }
}

/// The list in the matcher's form. Other programs also separate by blanks, and write `*.` for `.`.
fn entries(direct: &str) -> String {
    let plain = |entry: &str| {
        let entry = entry.strip_suffix(":443").filter(|host| !host.contains(':')).unwrap_or(entry);
        entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry).to_owned()
    };
    entries_of(direct).map(plain).collect::<Vec<_>>().join(",")
}

fn entries_of(direct: &str) -> impl Iterator<Item = &str> {
    direct.split(|one: char| one == ',' || one.is_whitespace()).filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(direct: &str, host: &str) -> bool {
        Proxies::new("http://proxy:3128", direct).expect("a proxy").to(host).is_some()
    }

    #[test]
    fn all_common_forms_of_no_proxy_exclude_their_hosts() {
        let host = "us-east-1.experiments.sagemaker.aws";
        for direct in
            ["", "other.aws", "sagemaker.aw", "gemaker.aws", "10.0.0.0/8", "us-east-1.experiments.sagemaker.aws:8443"]
        {
            assert!(proxied(direct, host), "{direct}");
        }
        for direct in [
            "sagemaker.aws",
            ".sagemaker.aws",
            "*.sagemaker.aws",
            "SageMaker.AWS",
            host,
            "us-east-1.experiments.sagemaker.aws:443",
            "x, sagemaker.aws ,y",
            "x sagemaker.aws",
            "*",
        ] {
            assert!(!proxied(direct, host), "{direct}");
        }
        for (direct, address) in
            [("10.0.0.0/8", "10.1.2.3"), ("10.1.2.3", "10.1.2.3"), ("fd00::/8", "fd00::1"), ("*", "10.1.2.3")]
        {
            assert!(!proxied(direct, address) && proxied("192.0.2.0/24", address), "{direct}");
        }
    }

    #[test]
    fn this_machine_and_its_link_are_never_reached_through_a_proxy() {
        for host in [
            "localhost",
            "a.localhost",
            "127.0.0.1",
            "127.8.9.1",
            "::1",
            "169.254.169.254",
            "169.254.170.2",
            "fd00:ec2::254",
        ] {
            assert!(!proxied("", host), "{host}");
        }
    }

    #[test]
    fn only_the_proxy_gets_the_credentials_of_its_url() {
        let proxies = Proxies::new("http://ada:p%40ss:word@[fd00::1]:3128/", "").expect("a proxy");
        let proxy = proxies.to("sts.us-east-1.amazonaws.com").expect("it is proxied");
        assert_eq!(proxy.to_string(), "http://[fd00::1]:3128");
        // ada:p@ss:word
        let expected =
            "CONNECT fd00::9:1 HTTP/1.1\r\nHost: fd00::9:1\r\nProxy-Authorization: Basic YWRhOnBAc3M6d29yZA==\r\n\r\n";
        assert_eq!(proxy.connect("fd00::9", 1), expected.replace("fd00::9:1", "[fd00::9]:1"));
        for shown in [format!("{proxy:?}"), format!("{proxies:?}"), proxy.to_string()] {
            assert!(!shown.contains("ss:word") && !shown.contains("YWRh"), "{shown}");
        }
        let bare = Proxies::new("proxy.corp:8080", "").expect("a proxy");
        let proxy = bare.to("x.example").expect("it is proxied");
        assert_eq!(
            (proxy.to_string().as_str(), proxy.connect("x.example", 443).contains("Authorization")),
            ("http://proxy.corp:8080", false)
        );
        assert_eq!(
            Proxies::new("http://proxy", "").expect("a proxy").to("x.example").map(|proxy| proxy.port),
            Some(80)
        );
    }

    #[test]
    fn an_error_about_a_url_does_not_show_its_password() {
        for url in [
            "https://ada:secret@proxy",
            "socks5://ada:secret@proxy:1080",
            "http://",
            "http://ada:secret@",
            "http://ada:secret@:1x",
            "://",
        ] {
            let refused = Proxies::new(url, "").expect_err(url);
            assert!(!refused.contains("secret"), "{refused}");
        }
        assert!(Proxies::new("http://proxy", "*").expect("no proxy at all").to("x.example").is_none());
        assert!(Proxies::default().to("x.example").is_none());
    }
}
