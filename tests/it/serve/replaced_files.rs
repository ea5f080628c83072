//! A token file in whose place something else appears while the appliance runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::support::appliance::Builder;
use crate::support::eventually;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

/// The name of something, what puts it there, and the problem that the log reports.
type Replacement = (&'static str, fn(&Path), &'static str);

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn tokens_stay_in_force_and_can_be_revoked_later_whatever_takes_the_place_of_their_file() {
    let upstream = Upstream::ok();
    let replacements: [Replacement; 5] = [
        ("named pipe", make_pipe, "it is not a regular file"),
        ("directory", |path| fs::create_dir(path).unwrap(), "directory"),
        ("link to /dev/null", |path| symlink("/dev/null", path).unwrap(), "it is not a regular file"),
        ("link to /dev/zero", |path| symlink("/dev/zero", path).unwrap(), "it is not a regular file"),
        // The C libraries name this error differently.
        ("link to itself", |path| symlink(path, path).unwrap(), "os error 40"),
    ];
    for (what, replace, problem) in replacements {
        let tokens = TokenFile::new();
        let (kept, revoked) = (tokens.add("kept", "read", &[]), tokens.add("revoked", "read", &[]));
        let appliance = Builder::new(&upstream).with_tokens(&tokens).with(&["--reload-interval", "1h"]).start();
        let status =
            |bearer: &str| appliance.connect().request("GET", "/version", &[("Authorization", bearer)], None).status;
        let (path, text) = (tokens.path(), tokens.text());

        fs::remove_file(&path).unwrap();
        replace(&path);
        appliance.signal(Signal::HUP);
        eventually(&format!("the {what} is reported"), || {
            let log = appliance.log();
            log.lines().any(|line| line.contains("cannot reload the tokens") && line.contains(problem))
        });
        assert_eq!((status(&kept.bearer()), status(&revoked.bearer())), (200, 200), "{what}");

        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
        fs::write(&path, text).unwrap();
        tokens.command(&["revoke", "revoked"]);
        appliance.signal(Signal::HUP);
        eventually(&format!("a token is revoked after the {what}"), || status(&revoked.bearer()) == 401);
        assert_eq!(status(&kept.bearer()), 200, "{what}");
    }
}
