//! The check that a location which a caller names lies in the artifact store.
//!
//! SECURITY: managed MLflow reads and writes a location with its own role. A caller who may name any location reads
//! another team's bucket by that role, or the files of MLflow's own machine.

use super::store::{ArtifactPath, ArtifactStore};

/// References to what MLflow knows, and no locations by themselves.
const REFERENCES: [&str; 2] = ["models:/", "runs:/"];
/// MLflow's clients and its UI give these as the source of a prompt, which has no artifacts.
const PLACEHOLDERS: [&str; 3] = ["", "dummy-source", "prompt-template"];

/// Returns true if a location lies outside of the store, or could.
#[must_use]
pub fn is_foreign(uri: &str, store: &ArtifactStore) -> bool {
    let is_reference = REFERENCES
        .iter()
        .filter_map(|scheme| uri.strip_prefix(scheme))
        .any(|rest| !rest.starts_with('/') && ArtifactPath::decode(rest).is_ok());
    let is_within = store.locate(uri).is_some() || store.resolve(uri).is_some();
    !is_within && !is_reference && !PLACEHOLDERS.contains(&uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_outside_of_the_store_is_foreign() {
        let store = ArtifactStore::parse("s3://bucket/team").expect("a store");
        for own in [
            "",
            "s3://bucket/team/1/r/artifacts",
            "s3://bucket/team",
            "mlflow-artifacts:/1/r",
            "mlflow-artifacts:///1/r",
            "models:/m-1",
            "models:/name@alias",
            "runs:/1/model",
            "dummy-source",
        ] {
            assert!(!is_foreign(own, &store), "{own}");
        }
        for foreign in [
            "s3://bucket/team2/1",
            "s3://bucket/team/../x",
            "s3://bucket",
            "S3://bucket/team/1",
            " s3://bucket/team/1",
            "s3a://bucket/team/1",
            "s3://finance/payroll",
            "gs://x/y",
            "wasbs://c@a.blob.core.windows.net/x",
            "abfss://x",
            "hdfs:/x",
            "file:///etc",
            "file:/etc",
            "dbfs:/x",
            "ftp://x",
            "http://169.254.169.254/latest",
            "https://x",
            "mlflow-artifacts://host/1",
            "mlflow-artifacts:/../x",
            "runs:/1/../../x",
            "runs:/1/%2e%2e/x",
            "models://host/x",
            "/etc/passwd",
            "relative",
            "C:\\x",
            "\\\\host\\share",
        ] {
            assert!(is_foreign(foreign, &store), "{foreign}");
        }
    }
}
