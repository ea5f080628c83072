//! A certified OpenID provider as a process, in a directory that `tests/run` prepares.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::prepared;

pub const CLIENT: &str = "mlflow";
pub const SECRET: &str = "a secret of the tests";

/// The running provider. Its people are `ada`, `bob` and `eve`.
pub struct OpenIdProvider {
    child: Child,
}

impl OpenIdProvider {
    /// Starts it at a port, for appliances at these addresses. `options` are those of `tests/system/oidc/provider.mjs`.
    #[track_caller]
    pub fn start(port: u16, appliances: &[String], options: &Value) -> Self {
        let directory = prepared("APPLIANCE_TEST_OPENID");
        let at = |path: &str| appliances.iter().map(|url| format!("{url}{path}")).collect::<Vec<_>>();
        let mut all = json!({
            "port": port,
            "clients": [{
                "client_id": CLIENT,
                "client_secret": SECRET,
                "redirect_uris": at("/_appliance/oidc/callback"),
                "post_logout_redirect_uris": at("/_appliance/signed-out"),
            }],
        });
        for (name, value) in options.as_object().unwrap() {
            all[name] = value.clone();
        }
        let mut child = Command::new("node")
            .arg(Path::new(&directory).join("provider.mjs"))
            .arg(all.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Node.js is on the PATH: run this test with `tests/run`, which installs it");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening"), "{line}");
        Self { child }
    }
}

impl Drop for OpenIdProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
