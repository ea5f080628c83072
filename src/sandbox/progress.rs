//! The progress of an installation, from the lines that pip prints.

/// The size of the download when MLflow is installed, in megabytes: the sum of the sizes that pip reports.
pub(super) const DOWNLOAD: u32 = 210;

/// The megabytes of the downloads that have begun.
#[derive(Default)]
pub(super) struct InstallProgress {
    megabytes: f64,
}

impl InstallProgress {
    /// Returns a line as it is to be shown.
    pub(super) fn shown(&mut self, line: &str) -> String {
        let line = line.trim();
        if let Some(packages) = line.strip_prefix("Installing collected packages: ") {
            return format!("installing {} packages, which takes a few minutes", packages.split(',').count());
        }
        match line.strip_prefix("Downloading ").and_then(size) {
            Some(megabytes) => {
                self.megabytes += megabytes;
                format!("{line}: {:.0} of about {DOWNLOAD} MB", self.megabytes)
            }
            None => line.to_owned(),
        }
    }
}

/// Returns the size at the end of `name.whl (12.0 MB)`, in megabytes.
fn size(download: &str) -> Option<f64> {
    let (number, unit) = download.strip_suffix(')')?.rsplit_once('(')?.1.split_once(' ')?;
    let factor = match unit {
        "MB" => 1.0,
        "kB" => 1e-3,
        "bytes" => 1e-6,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_are_added_up() {
        let mut progress = InstallProgress::default();
        for (line, shown) in [
            ("Collecting mlflow==3.17.2", "Collecting mlflow==3.17.2"),
            (
                "  Downloading mlflow-3.17.2-py3-none-any.whl (12.0 MB)",
                "Downloading mlflow-3.17.2-py3-none-any.whl (12.0 MB): 12 of about 210 MB",
            ),
            ("  Downloading a.whl.metadata (600 kB)", "Downloading a.whl.metadata (600 kB): 13 of about 210 MB"),
            ("  Downloading b.whl (5 parsecs)", "Downloading b.whl (5 parsecs)"),
            ("Downloading", "Downloading"),
            ("Installing collected packages: a, b, c", "installing 3 packages, which takes a few minutes"),
        ] {
            assert_eq!(progress.shown(line), shown);
        }
    }
}
