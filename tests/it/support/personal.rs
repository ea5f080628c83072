//! A person with a session, who makes and revokes personal tokens on their page.

use std::path::PathBuf;

use super::Message as _;
use super::appliance::{Appliance, Builder};
use super::caller::Answer;
use super::tokens::TokenFile;
use super::upstream::Upstream;

pub const OWN: (&str, &str) = ("Origin", "http://localhost:5000");
pub const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
pub const PAGE: &str = "/_appliance/tokens";

/// A directory for the file with personal tokens.
pub struct PersonalFile(tempfile::TempDir);

impl PersonalFile {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("personal.toml")
    }

    pub fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap_or_default()
    }

    /// An appliance with these tokens and this file.
    pub fn builder(&self, upstream: &Upstream, tokens: &TokenFile) -> Builder {
        Builder::new(upstream).with_tokens(tokens).with(&["--personal-tokens", self.path().to_str().unwrap()])
    }
}

/// A person who has signed in at one appliance.
pub struct PersonAt<'a> {
    pub appliance: &'a Appliance,
    pub cookie: String,
}

impl<'a> PersonAt<'a> {
    /// Signs in with an operator's token.
    #[track_caller]
    pub fn sign_in(appliance: &'a Appliance, token: &str) -> Self {
        let form = format!("token={token}&next=%2F");
        let answer = appliance.connect().request("POST", "/_appliance/login", &[OWN, FORM], Some(form.as_bytes()));
        assert_eq!(answer.status, 303, "{}", answer.text());
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        Self { appliance, cookie }
    }

    /// Requests a page.
    #[track_caller]
    pub fn get(&self, target: &str) -> Answer {
        self.appliance.connect().request("GET", target, &[("Cookie", &self.cookie)], None)
    }

    /// Sends a form.
    #[track_caller]
    pub fn post(&self, target: &str, form: &str) -> Answer {
        let headers = [("Cookie", &*self.cookie), OWN, FORM];
        self.appliance.connect().request("POST", target, &headers, Some(form.as_bytes()))
    }

    /// Sends the form for a new token.
    #[track_caller]
    pub fn try_to_make(&self, name: &str, role: &str, lifetime: &str) -> Answer {
        self.post(PAGE, &format!("action=make&name={name}&role={role}&lifetime={lifetime}"))
    }

    /// Makes a token, and returns it.
    #[track_caller]
    pub fn make(&self, name: &str, role: &str) -> String {
        let answer = self.try_to_make(name, role, "30days");
        assert_eq!(answer.status, 200, "{}", answer.text());
        token_in(&answer.text())
    }

    /// Revokes the token.
    #[track_caller]
    pub fn revoke(&self, token: &str) -> Answer {
        self.post(PAGE, &format!("action=revoke&id={}", id_of(token)))
    }
}

/// The id within a token.
pub fn id_of(token: &str) -> &str {
    &token[5..15]
}

/// The token in a page.
#[track_caller]
pub fn token_in(page: &str) -> String {
    let at = page.find("value=\"mlfa_").unwrap_or_else(|| panic!("there is a token: {page}")) + "value=\"".len();
    page[at..].split('"').next().unwrap().to_owned()
}
