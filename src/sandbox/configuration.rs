//! The configuration file of an appliance that runs against the sandbox: of the sandbox's own, and of `--write-config`.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::aws_callers;
use super::error::{SandboxError, io_error};
use super::services::{ROLE_ARN, SandboxServices, target_name};
use crate::scalar;

/// The settings that differ between two appliances in front of the same sandbox.
pub(super) struct ApplianceFile<'a> {
    /// Comments above the keys.
    pub(super) heading: String,
    /// The port for callers.
    pub(super) port: u16,
    /// The port of the status page.
    pub(super) status_port: u16,
    /// The token file.
    pub(super) tokens: &'a Path,
    /// True if callers need no token.
    pub(super) is_open: bool,
}

impl ApplianceFile<'_> {
    /// Returns the text of the file.
    pub(super) fn text(&self, services: &SandboxServices) -> Result<String, SandboxError> {
        let Self { heading, port, status_port, .. } = self;
        let (tokens, authority) =
            (scalar::to_toml(path_text(self.tokens)?), scalar::to_toml(path_text(&services.authority)?));
        let mut text = format!(
            "{heading}listen = \"127.0.0.1:{port}\"
admin-listen = \"127.0.0.1:{status_port}\"  # the status page (/status) and the metrics (/metrics)
tokens = {tokens}
"
        );
        if self.is_open {
            text += "allow-anonymous = true\n";
        }
        let _ = writeln!(text, "ca-file = {authority}  # sandbox");
        text += aws_callers::AUDIENCE;
        for endpoint in &services.gateways {
            let arn = endpoint.target.arn();
            let name = target_name(arn.mode());
            let _ = write!(
                text,
                "
[[target]]
name = \"{name}\"  # its path is /t/{name}/; the first target is also at /
resource-arn = {}
role-arn = {}
artifact-store = \"auto\"
upstream-endpoint = {}  # sandbox
sagemaker-endpoint = {}  # sandbox
s3-endpoint = {}  # sandbox
",
                scalar::to_toml(arn.as_str()),
                scalar::to_toml(ROLE_ARN),
                scalar::to_toml(&endpoint.url),
                scalar::to_toml(&services.sagemaker),
                scalar::to_toml(services.s3()),
            );
        }
        text += aws_callers::GRANTS;
        Ok(text)
    }
}

/// Returns the comments of a file that a person reads and changes.
pub(super) fn heading(environment: &[(&'static str, String)]) -> String {
    let mut text = "\
# `appliance sandbox --write-config` has written this file. It works while that sandbox runs, with these variables and no
# others of AWS:
#
"
    .to_owned();
    for (name, value) in environment {
        let _ = writeln!(text, "#   {name}={value}");
    }
    text += "\
#
# To use it with AWS, remove the lines that end with `# sandbox`, and write your own ARNs. `appliance check` finds mistakes.

";
    text
}

/// A path as text. The configuration file is UTF-8, and a path need not be.
pub(super) fn path_text(path: &Path) -> Result<&str, SandboxError> {
    path.to_str().ok_or_else(|| {
        io_error("writing the configuration")(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the path `{}` is not UTF-8", path.display()),
        ))
    })
}

/// Returns the path of the token file that belongs to a configuration file: `a.tokens.toml` beside `a.toml`.
pub(super) fn token_file(configuration: &Path) -> PathBuf {
    configuration.with_extension("tokens.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_file_is_beside_the_configuration() {
        for (file, expected) in
            [("a.toml", "a.tokens.toml"), ("/x/a", "/x/a.tokens.toml"), ("/x/a.b.toml", "/x/a.b.tokens.toml")]
        {
            assert_eq!(token_file(Path::new(file)), Path::new(expected));
        }
    }
}
