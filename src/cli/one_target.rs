//! One target of a configuration, and what is needed to connect to it, for commands that do not serve clients.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;

use super::options::ServeOptions;
use super::problems::{Problem, Problems};
use super::targets::ParsedTarget;
use super::variables::UnknownVariable;
use super::{file, probe_settings, proxies, targets, trust, variables};
use crate::aws::sdk::Egress;
use crate::http::client::Endpoint;

/// The choice of a target.
#[derive(Debug, clap::Args)]
pub(super) struct TargetChoice {
    /// The TOML file with the options of `appliance serve`; flags and variables win over it
    #[arg(long, env = "APPLIANCE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The name of the target in the file [default: the target that is served at `/`]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
}

/// A target, without problems.
pub(super) struct OneTarget {
    pub(super) target: ParsedTarget,
    /// The trust of connections.
    pub(super) tls: Arc<ClientConfig>,
    /// Trust and proxies for the AWS SDK.
    pub(super) egress: Egress,
    /// The endpoint of the SageMaker API.
    pub(super) sagemaker: Endpoint,
}

/// Reads the options, and finds the chosen target, or the default one.
///
/// # Errors
/// All problems of the options that matter to connections.
pub(super) fn resolve(
    choice: &TargetChoice,
    flags: ServeOptions,
    unknown: &[UnknownVariable],
) -> Result<OneTarget, Vec<Problem>> {
    let mut problems = Problems::default();
    let name = choice.target.as_deref();
    let file = file::read(choice.config.as_deref(), &mut problems)?;
    variables::check(unknown, &mut problems);
    let options = flags.or(file);
    let trust = trust::authorities(options.upstream.ca_file.as_ref(), &mut problems);
    let proxies = proxies::read(&mut problems);
    let targets = targets::resolve(&options, &mut problems);
    let names: Vec<String> = targets.iter().filter_map(|target| target.name.clone()).collect();
    let is_meant = |target: &ParsedTarget| match name {
        Some(name) => target.name.as_deref() == Some(name),
        None => target.is_default,
    };
    let target = targets.into_iter().find(is_meant);
    if let (None, Some(name)) = (&target, name) {
        let hint = match names.as_slice() {
            [] => "remove `--target`, or name a file with `[[target]]` tables with `--config`".to_owned(),
            names => format!("choose one of {}", names.join(", ")),
        };
        problems.add(&"--target", format!("`{}`: no target has this name", name.escape_debug()), hint);
    }
    // If there is no default target, a problem has been added.
    let (Some(target), Some((tls, authorities))) = (target, trust) else {
        return Err(problems.none_or_all().err().unwrap_or_default());
    };
    problems.none_or_all()?;
    let sagemaker = target.sagemaker.clone().or_else(|| probe_settings::service("SAGEMAKER"));
    let sagemaker = sagemaker.unwrap_or_else(|| Endpoint::https(target.target.control_plane_host()));
    Ok(OneTarget { target, tls, egress: Egress { authorities, proxies }, sagemaker })
}
