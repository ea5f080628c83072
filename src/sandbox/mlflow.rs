//! A real MLflow server: the one on the PATH, or one installed once into the user's cache.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::process::find;
use super::progress::{DOWNLOAD, InstallProgress};
use super::report::Reporter;
use super::s3;
use super::space::{self, FULL, NoSpaceError};

/// The version that is installed where there is none; the one that the tests run against.
pub const VERSION: &str = "3.17.2";
/// Python versions that this MLflow supports start here.
const OLDEST_PYTHON: &str = "3.10";
/// The library with which MLflow reads S3. MLflow does not install it by itself.
const S3_CLIENT: &str = "boto3";
/// A file that is written last, so that an interrupted installation is noticed and repeated. It lists the packages.
const COMPLETE: &str = "complete";
/// The size of an installation on the disk of the cache directory, with some room for pip. Bytes.
const INSTALL_SPACE: u64 = 1_200_000_000;
/// An installation takes 3 to 5 minutes on two cores; this bounds one that hangs.
const INSTALL_LIMIT: Duration = Duration::from_mins(30);

/// The reason why there is no MLflow to start.
#[derive(Debug, thiserror::Error)]
pub enum MlflowInstallError {
    /// No MLflow, and no Python to install it with.
    #[error("there is no `mlflow` on the PATH and no `python3` to install it with")]
    NoPython,
    /// A Python that MLflow does not support.
    #[error("`{}` is Python {found}; MLflow {VERSION} needs {OLDEST_PYTHON} or later", python.display())]
    OldPython {
        /// The interpreter.
        python: PathBuf,
        /// Its version.
        found: String,
    },
    /// The disk is nearly full.
    #[error(transparent)]
    Space(#[from] NoSpaceError),
    /// A step of the installation failed, or Python does not run.
    #[error("{step} failed with {status}:\n{output}")]
    Step {
        /// The step that failed.
        step: &'static str,
        /// The exit status of the program.
        status: String,
        /// The end of its output.
        output: String,
    },
    /// A program could not be started, or a file not written.
    #[error("{step} failed")]
    Io {
        /// The step that failed.
        step: &'static str,
        /// The error of the system.
        source: io::Error,
    },
}

impl MlflowInstallError {
    /// Returns an instruction that removes the cause.
    #[must_use]
    pub fn hint(&self) -> String {
        let manual = format!("pip install mlflow=={VERSION} {S3_CLIENT}");
        let no_space =
            "make room on the disk of the cache directory (XDG_CACHE_HOME, by default ~/.cache) and of the temporary \
                        directory (TMPDIR), or choose others by these variables"
                .to_owned();
        match self {
            Self::NoPython | Self::OldPython { .. } => format!(
                "install Python {OLDEST_PYTHON} or later with its venv module (Debian: `apt install python3-venv`), or \
                 install MLflow yourself with `{manual}`, or use a running server with `--mlflow-url`"
            ),
            Self::Space(_) => no_space,
            Self::Step { output, .. } if output.contains(FULL) => no_space,
            Self::Step { .. } | Self::Io { .. } => format!(
                "install MLflow yourself with `{manual}` into an environment whose `bin` is on the PATH (Debian's venv \
                 module is in `python3-venv`), or use a running server with `--mlflow-url`"
            ),
        }
    }
}

/// Returns the `mlflow` program to run. Installs it under `cache` if `path`, a `PATH` variable, has none.
///
/// # Errors
/// [`MlflowInstallError`].
pub(super) async fn program(
    path: &OsString,
    cache: &Path,
    report: &dyn Reporter,
) -> Result<PathBuf, MlflowInstallError> {
    if let Some(found) = find(path, "mlflow") {
        report.step(&format!("using {}", found.display()));
        return Ok(found);
    }
    let environment = cache.join(format!("mlflow-{VERSION}"));
    let program = environment.join("bin/mlflow");
    // Its interpreter is a link to the system's Python, which an upgrade may have taken away.
    let installed = std::fs::read_to_string(environment.join(COMPLETE)).unwrap_or_default();
    let io = |step| move |source| MlflowInstallError::Io { step, source };
    if !installed.is_empty() && environment.join("bin/python").exists() {
        if !installed.contains(S3_CLIENT) {
            report.step(&format!("adding {S3_CLIENT} to {} (once)", environment.display()));
            install(&environment, report).await?;
        }
        report.step(&format!("using {}", program.display()));
        return Ok(program);
    }
    let python = find(path, "python3").ok_or(MlflowInstallError::NoPython)?;
    check_version(&python).await?;
    space::check(cache, "the installation of MLflow", INSTALL_SPACE)?;
    report.step(&format!(
        "installing MLflow {VERSION} into {}: this downloads about {DOWNLOAD} MB once, needs 900 MB on the disk, and takes \
         3 to 5 minutes on two cores",
        environment.display()
    ));
    std::fs::create_dir_all(cache).map_err(io("creating the cache directory"))?;
    let mut venv = Command::new(&python);
    venv.args(["-m", "venv", "--clear"]).arg(&environment);
    run("creating the Python environment", venv, report).await?;
    install(&environment, report).await?;
    Ok(program)
}

/// Installs the packages that an environment lacks.
async fn install(environment: &Path, report: &dyn Reporter) -> Result<(), MlflowInstallError> {
    let packages = format!("mlflow=={VERSION} {S3_CLIENT}");
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"])
        .args(packages.split(' '));
    run("installing MLflow", pip, report).await?;
    let step = "finishing the installation";
    std::fs::write(environment.join(COMPLETE), packages).map_err(|source| MlflowInstallError::Io { step, source })
}

async fn check_version(python: &Path) -> Result<(), MlflowInstallError> {
    let step = "asking Python for its version";
    let code = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = Command::new(python).args(["-c", code]).output().await;
    let output = output.map_err(|source| MlflowInstallError::Io { step, source })?;
    if !output.status.success() {
        let printed = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(MlflowInstallError::Step { step, status: output.status.to_string(), output: printed });
    }
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let number = |version: &str| {
        let (major, minor) = version.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    if number(&found) >= number(OLDEST_PYTHON) {
        return Ok(());
    }
    Err(MlflowInstallError::OldPython { python: python.to_owned(), found })
}

/// Runs a step, reporting each line that it prints as progress.
async fn run(step: &'static str, mut command: Command, report: &dyn Reporter) -> Result<(), MlflowInstallError> {
    let io = |source| MlflowInstallError::Io { step, source };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(io)?;
    let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let (mut out, mut err) = (BufReader::new(stdout).lines(), BufReader::new(stderr).lines());
    let (mut printed, mut progress) = (Vec::new(), InstallProgress::default());
    let follow = async {
        let (mut out_open, mut err_open) = (true, true);
        while out_open || err_open {
            // Both arms are cancel safe: `next_line` keeps what it has read.
            let line = tokio::select! {
                line = out.next_line(), if out_open => { let line = line?; out_open = line.is_some(); line }
                line = err.next_line(), if err_open => { let line = line?; err_open = line.is_some(); line }
            };
            if let Some(line) = line {
                report.progress(&progress.shown(&line));
                printed.push(line);
            }
        }
        child.wait().await
    };
    let status = tokio::time::timeout(INSTALL_LIMIT, follow)
        .await
        .map_err(|_| io(io::Error::from(io::ErrorKind::TimedOut)))?
        .map_err(io)?;
    report.progress("");
    if status.success() {
        return Ok(());
    }
    let output = printed[printed.len().saturating_sub(10)..].join("\n");
    Err(MlflowInstallError::Step { step, status: status.to_string(), output })
}

/// The defaults of MLflow's environment, which the user's own replaces: no telemetry, no jobs, and a long time before a worker
/// is killed that a busy machine delays. By default uvicorn kills it after five seconds, and its requests get no response.
///
/// For jobs, as of LLM judges, MLflow starts eight more processes, which take 1.8 GB and seconds of processor time even if
/// no job ever begins. Older versions ignore settings that they do not know.
pub(super) const ENVIRONMENT: [(&str, &str); 4] = [
    ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ("DO_NOT_TRACK", "true"),
    ("UVICORN_TIMEOUT_WORKER_HEALTHCHECK", "120"),
    ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),
];

/// Returns the command that serves MLflow on a port of this machine, with everything under `data`.
pub(super) fn server(program: &Path, port: u16, data: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["server", "--host", "127.0.0.1", "--workers", "2", "--port", &port.to_string()])
        .arg("--backend-store-uri")
        .arg(format!("sqlite:///{}", data.join("mlflow.db").display()))
        // As in SageMaker, artifacts are on S3, and the server does not serve them.
        .args(["--no-serve-artifacts", "--default-artifact-root", &format!("s3://{}/{}", s3::BUCKET, s3::PREFIX)])
        .current_dir(data);
    command
}
