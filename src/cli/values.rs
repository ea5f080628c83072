//! The kinds of values that an option can have, and the messages for texts that are none of them.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::http::Uri;
use bytesize::ByteSize;

use crate::access::caller;
use crate::http::client::Endpoint;

/// The directory in which systemd keeps the credentials of the service, for it and for root.
const CREDENTIALS_OF_SERVICE: &str = "/run/credentials/mlflow-appliance.service";

/// `30s`, `5m` or `1h 30m`, more than zero.
///
/// # Errors
/// The text is no duration. The errors of all functions here say what is wrong with the text.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("a duration must be more than zero".into()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("not a duration".into()),
    }
}

/// `512 KiB`, `1 MiB`, `5GB` or a number of bytes, more than zero.
pub(super) fn size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(0)) => Err("a size must be more than zero".into()),
        Ok(ByteSize(bytes)) => Ok(bytes),
        Err(_) => Err("not a size".into()),
    }
}

/// A whole number from 1.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a whole number".into()),
    }
}

/// `true` or `false`. `yes` and `1` are errors.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "neither `true` nor `false`".into())
}

/// `127.0.0.1:5000` or `[::1]:5000`; port 0 lets the system choose.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an address with a port".into())
}

/// `https://host`, `https://host:port`, or `http://` to this machine.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    let uri: Uri = text.parse().map_err(|error| format!("not a URL ({error})"))?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err("the URL must start with `https://`, or with `http://` for this machine".into()),
    };
    if uri.path() != "/" || uri.query().is_some() || text.contains(['#', '@']) {
        return Err("the URL must have a host and a port only".into());
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    if host.is_empty() {
        return Err("the URL has no host".into());
    }
    if !tls && !is_this_machine(&host) {
        // SECURITY: each request carries the session token.
        return Err("plain http is allowed to this machine only".into());
    }
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    Ok(Endpoint { tls, host, port })
}

/// Host names or addresses, separated by commas, without ports; in lower case.
pub(super) fn hosts(text: &str) -> Result<Vec<String>, String> {
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte))
    };
    let has_port = |name: &str| name.matches(':').count() == 1;
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    if !names.iter().all(is_name) || names.iter().any(|name| has_port(name)) {
        return Err("not a list of host names".into());
    }
    Ok(names.into_iter().map(str::to_ascii_lowercase).collect())
}

/// A file, or `credential:<name>` for one that systemd passes to this process.
///
/// A command of root, such as `bootstrap status`, uses those of the running service.
pub(super) fn credential_path(text: &str) -> Result<PathBuf, String> {
    let Some(name) = text.strip_prefix("credential:") else { return Ok(PathBuf::from(text)) };
    let directory = credentials(std::env::var_os("CREDENTIALS_DIRECTORY"), Path::new(CREDENTIALS_OF_SERVICE));
    let nowhere = "systemd has passed no credentials to this process, and mlflow-appliance.service does not run; \
                   add `LoadCredential=` to the unit, or start that service and run this as root";
    Ok(directory.ok_or(nowhere)?.join(name))
}

/// The directory of the credentials of this process, or else that of the service, while it runs.
fn credentials(own: Option<OsString>, of_service: &Path) -> Option<PathBuf> {
    own.map(PathBuf::from).or_else(|| of_service.is_dir().then(|| of_service.to_owned()))
}

/// Names of targets, separated by commas.
pub(super) fn target_names(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    if names.iter().all(|name| caller::is_target_name(name)) {
        Ok(names.into_iter().map(ToOwned::to_owned).collect())
    } else {
        Err("a target's name has 1 to 63 lower-case letters, digits and hyphens".into())
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_unit_and_are_not_zero() {
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(size("1 MiB"), Ok(1 << 20));
        assert_eq!(size("1048576"), Ok(1 << 20));
        for text in ["", "30", "0s", "-1s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "0", "-1", "1 potato"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_and_booleans_are_strict() {
        assert_eq!(count("3"), Ok(3));
        assert_eq!(boolean("true"), Ok(true));
        for text in ["", "0", "-1", "1.5", "two"] {
            assert!(count(text).is_err(), "{text}");
        }
        for text in ["", "yes", "1", "TRUE"] {
            assert!(boolean(text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_are_those_of_the_process_or_else_of_the_running_service() {
        let service = tempfile::tempdir().unwrap();
        assert_eq!(credentials(Some("/own".into()), service.path()), Some("/own".into()));
        assert_eq!(credentials(None, service.path()).as_deref(), Some(service.path()));
        assert_eq!(credentials(None, &service.path().join("stopped")), None);
    }

    #[test]
    fn hosts_are_names_without_ports() {
        assert_eq!(hosts("MLflow.corp, mlflow,[::1]"), Ok(vec!["mlflow.corp".into(), "mlflow".into(), "[::1]".into()]));
        for text in ["", "a,,b", "host:80", "https://a", "a b"] {
            assert!(hosts(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_have_a_host_and_nothing_else() {
        for (text, authority) in [
            ("https://mlflow.sagemaker.us-east-1.app.aws", "mlflow.sagemaker.us-east-1.app.aws"),
            ("https://127.0.0.1:8443", "127.0.0.1:8443"),
            ("https://[::1]:8443/", "[::1]:8443"),
            ("http://localhost:8080", "localhost:8080"),
        ] {
            assert_eq!(endpoint(text).map(|endpoint| endpoint.authority()), Ok(authority.to_owned()), "{text}");
        }
        for text in [
            "",
            "host",
            "ftp://host",
            "https://host/path",
            "https://host?q",
            "https://user@host",
            "http://example.com",
            "http://10.0.0.1",
            "https://",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }
}
