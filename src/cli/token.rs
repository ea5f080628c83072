//! `appliance token`: makes, lists and revokes access tokens in a token file.

use std::fs::File;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;

use super::examples;
use super::failure::{Class, Failure};
use super::output::{document, try_show};
use super::values;
use crate::access::caller::{self, Role, Targets};
use crate::access::token;
use crate::access::tokens::{TokenEntry, Tokens};
use crate::{clock, serve};

/// Hand out and revoke access tokens
#[derive(Debug, clap::Subcommand)]
#[command(after_help = examples::TOKEN)]
pub(super) enum Token {
    /// Make a token, and show it this once
    #[command(after_help = examples::TOKEN_NEW)]
    New {
        /// Whose it is: 2 to 64 letters, digits and `+=,.@_-`
        #[arg(long)]
        name: String,
        /// What it allows: `read`, `write` or `admin`
        #[arg(long)]
        role: Role,
        /// Names of targets, comma-separated; the only one without a name is `default` [default: all]
        #[arg(long)]
        targets: Option<String>,
        /// How long it holds, as in `90d`, or `never`
        #[arg(long, default_value = "90d", value_name = "DURATION")]
        expires: String,
        #[command(flatten)]
        common: Common,
    },
    /// Show what is known of each token
    #[command(after_help = examples::TOKEN_LIST)]
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Make tokens invalid
    #[command(after_help = examples::TOKEN_REVOKE)]
    Revoke {
        /// The id of one token, or the name of their owner
        #[arg(value_name = "ID|NAME")]
        which: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// The token file
    #[arg(long)]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Token {
    /// Does it.
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::New { name, role, targets, expires, common } => {
                let now = clock::now();
                let entry = entry(name, role, targets.as_deref(), &expires, now).map_err(|what| usage(&what))?;
                let (new, entry) = entry;
                let count = change(&common.file, true, |tokens| {
                    tokens.add(entry).map_err(|what| usage(&what))?;
                    Ok(tokens.entries().len())
                })?;
                shown(&common, &json!({"id": new.id, "token": new.to_string()}), || {
                    let file = common.file.display();
                    format!("{new}\n\nKeep it now: it is not shown again. {file} holds {count} token(s), as hashes.")
                })
            }
            Self::List { common } => {
                let tokens = read(&common.file, false)?;
                let now = clock::now();
                let entries: Vec<_> = tokens.entries().iter().map(|entry| described(entry, now)).collect();
                shown(&common, &json!(entries), || table(&tokens, now))
            }
            Self::Revoke { which, common } => {
                let revoked = change(&common.file, false, |tokens| {
                    let revoked = tokens.revoke(&which);
                    if revoked.is_empty() {
                        Err(usage(&format!("there is no token `{}`", which.escape_debug())))
                    } else {
                        Ok(revoked)
                    }
                })?;
                let ids: Vec<_> = revoked.iter().map(|entry| entry.id.as_str()).collect();
                shown(&common, &json!({"revoked": ids}), || format!("revoked: {}", ids.join(", ")))
            }
        }
    }
}

fn entry(
    name: String,
    role: Role,
    targets: Option<&str>,
    expires: &str,
    now: SystemTime,
) -> Result<(token::NewToken, TokenEntry), String> {
    caller::check_name(&name)?;
    let targets = targets.map(values::target_names).transpose()?.map_or(Targets::All, Targets::Named);
    let expires = match expires {
        "never" => None,
        text => {
            let lifetime = values::duration(text).map_err(|what| format!("`--expires {text}`: {what}"))?;
            Some(now.checked_add(lifetime).ok_or("`--expires` lies too far ahead")?)
        }
    };
    let new = token::generate(&ring::rand::SystemRandom::new()).map_err(|error| error.to_string())?;
    let entry = TokenEntry { id: new.id.clone(), name, role, targets, created: now, expires, hash: new.hash };
    Ok((new, entry))
}

fn usage(what: &str) -> Failure {
    Failure::said(Class::Configuration, what, Some("see `appliance token --help`"))
}

fn read(path: &Path, may_be_missing: bool) -> Result<Tokens, Failure> {
    if may_be_missing && !path.exists() {
        return Ok(Tokens::default());
    }
    serve::read_tokens(path)
        .map_err(|what| Failure::said(Class::Configuration, &what, Some("name the token file with `--file`")))
}

/// Changes a file while nobody else does, and so that a reader sees either the old one or the new one, whole.
fn change<T>(
    path: &Path,
    may_be_missing: bool,
    how: impl FnOnce(&mut Tokens) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        let what = format!("`{}` cannot be written: {error}", path.display());
        Failure::said(Class::Failed, &what, Some("choose a file in a writable directory"))
    };
    let path = &target(path).map_err(|error| failed(&error))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lock = File::open(directory).map_err(|error| failed(&error))?;
    lock.lock().map_err(|error| failed(&error))?;
    let mut tokens = read(path, may_be_missing)?;
    let result = how(&mut tokens)?;
    // Made with mode 0600, and given owner and mode of the file it replaces, so that whoever could read it still can.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(|error| failed(&error))?;
    if let Ok(old) = path.metadata() {
        // Before the mode, which could open it to the wrong group.
        fchown(file.as_file(), Some(old.uid()), Some(old.gid())).map_err(|error| failed(&error))?;
        file.as_file().set_permissions(old.permissions()).map_err(|error| failed(&error))?;
    }
    file.write_all(tokens.to_string().as_bytes()).map_err(|error| failed(&error))?;
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error.error))?;
    Ok(result)
}

/// The file that a path leads to, which may not exist yet.
///
/// A file is replaced by renaming a new one, which would replace a link instead, and leave the file behind it that the
/// appliance reads as it was.
fn target(path: &Path) -> io::Result<PathBuf> {
    /// As many links as Linux follows.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match path.read_link() {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            // Not a link, or nothing there.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symbolic links lead there"))
}

fn described(entry: &TokenEntry, now: SystemTime) -> serde_json::Value {
    let time = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
    json!({
        "id": entry.id,
        "name": entry.name,
        "role": entry.role.as_str(),
        "targets": match &entry.targets { Targets::All => None, Targets::Named(names) => Some(names) },
        "created": time(entry.created),
        "expires": entry.expires.map(time),
        "expired": entry.expires.is_some_and(|expires| expires <= now),
    })
}

fn table(tokens: &Tokens, now: SystemTime) -> String {
    if tokens.entries().is_empty() {
        return "there are no tokens".to_owned();
    }
    let date = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string()[..10].to_owned();
    let rows = tokens.entries().iter().map(|entry| {
        let targets = match &entry.targets {
            Targets::All => "all".to_owned(),
            Targets::Named(names) => names.join(","),
        };
        let expires = match entry.expires {
            None => "never".to_owned(),
            Some(expires) if expires <= now => format!("{} (expired)", date(expires)),
            Some(expires) => date(expires),
        };
        [entry.id.clone(), entry.name.clone(), entry.role.to_string(), targets, date(entry.created), expires]
    });
    let heading = ["ID", "NAME", "ROLE", "TARGETS", "CREATED", "EXPIRES"].map(ToOwned::to_owned);
    let rows: Vec<_> = std::iter::once(heading).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn shown(common: &Common, machine: &serde_json::Value, people: impl FnOnce() -> String) -> Result<(), Failure> {
    let text = if common.json { document(machine) } else { people() };
    try_show(&text).map_err(|error| {
        Failure::said(
            Class::Failed,
            &format!("cannot write to standard output: {error}"),
            Some("look at where it leads"),
        )
    })
}
