//! The address of an appliance, as MLflow's clients have it: with a prefix of a proxy and the name of a target, perhaps.

use url::Url;

use crate::cli::values;
use crate::http::client::Endpoint;

/// The address of an appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApplianceUrl {
    /// The address to connect to.
    pub(super) endpoint: Endpoint,
    /// The path below which a proxy shows the appliance, without a slash at its end.
    prefix: String,
}

impl ApplianceUrl {
    /// Reads `https://host/prefix`, or `http://` to this machine. `/t/<name>` at the end is left out.
    ///
    /// # Errors
    /// The reason why it is no such address.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("not an address ({error})"))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err("an address has no user, no password and no query".to_owned());
        }
        let origin = url.origin().ascii_serialization();
        let endpoint = values::endpoint(&origin).map_err(|error| {
            if url.scheme() == "http" {
                format!("the token would cross the network unencrypted: {error}")
            } else {
                error
            }
        })?;
        let path = url.path().trim_end_matches('/');
        let prefix = match path.rsplit_once("/t/") {
            Some((prefix, name)) if !name.contains('/') => prefix,
            _ => path,
        };
        Ok(Self { endpoint, prefix: prefix.to_owned() })
    }

    /// Returns the path and query of a page of the appliance, as a request needs it.
    #[must_use]
    pub(super) fn target(&self, page: &str) -> String {
        format!("{}{page}", self.prefix)
    }

    /// Returns the whole address of a page of the appliance.
    #[must_use]
    pub(super) fn page(&self, page: &str) -> String {
        format!("{}{}{page}", self.endpoint.url(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_mlflow() {
        for (text, page) in [
            ("https://mlflow.corp", "https://mlflow.corp/x"),
            ("https://mlflow.corp/", "https://mlflow.corp/x"),
            ("https://mlflow.corp:8443/mlflow/", "https://mlflow.corp:8443/mlflow/x"),
            ("https://mlflow.corp/t/team-a/", "https://mlflow.corp/x"),
            ("https://mlflow.corp/mlflow/t/team-a", "https://mlflow.corp/mlflow/x"),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000/x"),
            ("http://[::1]:5000", "http://[::1]:5000/x"),
        ] {
            assert_eq!(ApplianceUrl::parse(text).map(|url| url.page("/x")), Ok(page.to_owned()), "{text}");
        }
        for text in [
            "",
            "mlflow.corp",
            "http://mlflow.corp",
            "ftp://mlflow.corp",
            "https://ada:secret@mlflow.corp",
            "https://h/?a",
        ] {
            assert!(ApplianceUrl::parse(text).is_err(), "{text}");
        }
    }
}
