//! A token file, made with the program itself.

use std::path::PathBuf;

use serde_json::Value;

use super::appliance::{Appliance, run};

/// A token file in a directory of its own.
pub struct TokenFile {
    directory: tempfile::TempDir,
}

/// A token.
pub struct Token {
    pub id: String,
    pub text: String,
}

/// Calls MLflow's API below a prefix of the appliance, with a token.
#[track_caller]
pub fn call_mlflow(appliance: &Appliance, token: &Token, prefix: &str, path: &str, question: &Value) -> Value {
    let headers = [("Authorization", &*token.bearer()), ("Content-Type", "application/json")];
    let target = format!("{prefix}/api/2.0/mlflow/{path}");
    let answer = appliance.connect().request("POST", &target, &headers, Some(question.to_string().as_bytes()));
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

impl TokenFile {
    /// An empty place for one.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// The path of the token file.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("tokens.toml")
    }

    /// The text of the token file.
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    /// Runs `appliance token` with this file.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> Value {
        let path = self.path();
        let common = ["--file", path.to_str().unwrap(), "--json"];
        let all: Vec<&str> = ["token"].iter().chain(arguments).chain(&common).copied().collect();
        let output = run(&all, &[]);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A new token.
    #[track_caller]
    pub fn add(&self, name: &str, role: &str, more: &[&str]) -> Token {
        let arguments = ["new", "--name", name, "--role", role];
        let all: Vec<&str> = arguments.iter().chain(more).copied().collect();
        let made = self.command(&all);
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        Token { id: text("id"), text: text("token") }
    }
}

impl Token {
    /// The token as a value of `Authorization`.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.text)
    }
}
