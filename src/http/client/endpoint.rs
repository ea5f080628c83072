//! The address of an upstream.

/// The address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// True if the connection uses TLS.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// An HTTPS endpoint on the standard port.
    #[must_use]
    pub fn https(host: impl Into<String>) -> Self {
        Self { tls: true, host: host.into(), port: 443 }
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The endpoint as a URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority())
    }

    /// The value of `Host`: the port is left out where it is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let bracketed = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.tls { 443 } else { 80 } { bracketed } else { format!("{bracketed}:{}", self.port) }
    }
}
