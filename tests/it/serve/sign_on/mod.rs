//! People who sign in at an identity provider, and whose rights follow from the provider's claims.

mod attacks;
mod browser;
mod flow;
mod stand_in;
mod stored_secret;

use std::path::PathBuf;

use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder, TRACKING_ARN};
use crate::support::authority::authority;
use crate::support::caller::Answer;
use crate::support::eventually;
use crate::support::upstream::Upstream;
use stand_in::{CLIENT, SECRET, StandIn};

const PAGE: (&str, &str) = ("Accept", "text/html,application/xhtml+xml");
const OWN: (&str, &str) = ("Origin", "http://localhost:5000");
const GRANTS: &str = "
[[caller]]
issuer = \"idp\"
claim = \"groups=mlflow-admins\"
role = \"admin\"
[[caller]]
issuer = \"idp\"
claim = \"groups=mlflow-*\"
role = \"read\"
";

/// An upstream, a provider, and the configuration of appliances between them.
struct Scene {
    upstream: Upstream,
    provider: StandIn,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { upstream: Upstream::ok(), provider: StandIn::start(), directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// An appliance with further keys of the issuer, and these callers.
    fn appliance_with(&self, of_issuer: &str, callers: &str, arguments: &[&str]) -> Appliance {
        let secret = self.file("secret", format!("{SECRET}\n"));
        let configuration = self.configuration(&secret.display().to_string(), of_issuer, callers);
        let appliance = Builder::from_file(&configuration).with(arguments).start();
        eventually("the provider is known", || appliance.log().contains("the keys of an issuer were fetched"));
        appliance
    }

    /// A configuration with a client secret, further keys of the issuer, and these callers.
    fn configuration(&self, secret: &str, of_issuer: &str, callers: &str) -> PathBuf {
        let key = self.file("session-key", [7; 32]);
        self.file(
            "appliance.toml",
            format!(
                "resource-arn = \"{TRACKING_ARN}\"\nupstream-endpoint = \"{}\"\nca-file = \"{}\"\nsession-key = \"{}\"\n\
                 [[issuer]]\nname = \"idp\"\nurl = \"{}\"\nclient-id = \"{CLIENT}\"\nclient-secret = \"{secret}\"\n{of_issuer}\n\
                 {callers}",
                self.upstream.url(),
                authority().file().display(),
                key.display(),
                self.provider.url(),
            ),
        )
    }

    fn appliance(&self) -> Appliance {
        self.appliance_with("", GRANTS, &[])
    }

    /// Signs in, and returns the answer to the callback.
    #[track_caller]
    fn sign_in(&self, appliance: &Appliance, next: &str) -> Answer {
        let visit = Visit::begin(appliance, next);
        let code = self.provider.grants(&visit.address);
        visit.comes_back(appliance, &format!("code={code}&iss={}", self.provider.url()))
    }
}

/// A browser that has been sent to the provider.
struct Visit {
    /// The address at the provider.
    address: String,
    state: String,
    cookie: String,
}

impl Visit {
    #[track_caller]
    fn begin(appliance: &Appliance, next: &str) -> Self {
        Self::begin_with(appliance, next, &[])
    }

    #[track_caller]
    fn begin_with(appliance: &Appliance, next: &str, headers: &[(&str, &str)]) -> Self {
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let sent = get(appliance, &format!("/_appliance/oidc/start?issuer=idp&next={next}"), headers);
        assert_eq!(sent.status, 303, "{}", sent.text());
        let address = sent.header("location").to_owned();
        let url = url::Url::parse(&address).unwrap();
        let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        Self { address, state, cookie: cookie(&sent) }
    }

    /// Comes back to the appliance with this query and the right state.
    #[track_caller]
    fn comes_back(&self, appliance: &Appliance, query: &str) -> Answer {
        self.comes_back_with(appliance, query, &[])
    }

    #[track_caller]
    fn comes_back_with(&self, appliance: &Appliance, query: &str, headers: &[(&str, &str)]) -> Answer {
        let target = format!("/_appliance/oidc/callback?{query}&state={}", self.state);
        get(appliance, &target, &[&[("Cookie", self.cookie.as_str())], headers].concat())
    }
}

#[track_caller]
fn get(appliance: &Appliance, target: &str, headers: &[(&str, &str)]) -> Answer {
    appliance.connect().request("GET", target, headers, None)
}

/// The only cookie of an answer, as a browser sends it back.
#[track_caller]
fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

/// The path to which an answer to this path leads, by RFC 3986.
#[track_caller]
fn leads_to(from: &str, answer: &Answer) -> String {
    let base = url::Url::parse(&format!("http://localhost{from}")).unwrap();
    let found = base.join(answer.header("location")).unwrap();
    assert_eq!(found.host_str(), Some("localhost"), "{found}");
    found[url::Position::BeforePath..].to_owned()
}
