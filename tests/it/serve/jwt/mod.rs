//! JWTs of trusted issuers as bearer tokens.

mod client;
mod forgeries;
mod grants;
mod issuers;
mod memory;
mod oracle;
mod providers;
mod rotation;
mod settings;

use std::path::PathBuf;

use serde_json::Value;

use crate::support::appliance::{Appliance, Builder, TRACKING_ARN};
use crate::support::authority::authority;
use crate::support::caller::Answer;
use crate::support::eventually;
use crate::support::issuer::{AUDIENCE, TestIssuer};
use crate::support::upstream::Upstream;

const SEARCH: &str = "/api/2.0/mlflow/runs/search";

/// A configuration file in a directory of its own.
struct ConfigFile {
    directory: tempfile::TempDir,
}

impl ConfigFile {
    /// `serve` before `upstream`, with these tables.
    fn new(upstream: &Upstream, tables: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = Self { directory };
        let (url, authorities) = (upstream.url(), authority().file());
        let common = format!(
            "resource-arn = \"{TRACKING_ARN}\"\nupstream-endpoint = \"{url}\"\nca-file = \"{}\"\n",
            authorities.display()
        );
        std::fs::write(file.path(), format!("{common}{tables}")).unwrap();
        file
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("appliance.toml")
    }

    fn start(&self) -> Appliance {
        Builder::from_file(&self.path()).with_admin().start()
    }
}

/// The table of an issuer, with these lines in addition.
fn issuer_table(name: &str, issuer: &TestIssuer, more: &str) -> String {
    format!("[[issuer]]\nname = \"{name}\"\nurl = \"{}\"\naudience = \"{AUDIENCE}\"\n{more}\n", issuer.url())
}

/// The table of a grant.
fn caller_table(issuer: &str, more: &str) -> String {
    format!("[[caller]]\nissuer = \"{issuer}\"\n{more}\n")
}

/// A request with a bearer token.
fn ask(appliance: &Appliance, method: &str, path: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let body: Option<&[u8]> = if method == "POST" { Some(b"{}") } else { None };
    appliance.connect().request(method, path, &[("Authorization", &bearer)], body)
}

/// The event of the access log about the request with this answer.
fn event(appliance: &Appliance, answer: &Answer) -> Value {
    use crate::support::Message as _;
    let id = answer.header("x-appliance-request-id");
    let find = || appliance.access_log().into_iter().find(|event| event["request_id"] == id);
    eventually("the request is logged", || find().is_some());
    find().unwrap()
}
