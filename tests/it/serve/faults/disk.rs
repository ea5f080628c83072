//! A disk that fills up in the middle of an upload.

use super::OWN_MOUNTS;
use crate::support::appliance::Builder;
use crate::support::upstream::Upstream;
use crate::support::{Message as _, figure};

const ROUNDS: usize = 10;

#[test]
#[ignore = "needs tests/run: mount namespaces"]
fn a_full_disk_causes_a_503_until_there_is_room() {
    let upstream = Upstream::ok();
    let spool = tempfile::tempdir().unwrap();
    let path = spool.path().to_str().unwrap();
    let mount = format!("mount -t tmpfs -o size=4m none {path} && exec \"$@\"");
    let under = [OWN_MOUNTS, &["sh", "-c", &mount, "sh"]].concat();
    let appliance = Builder::new(&upstream).with(&["--spool-directory", path]).under(&under).start();
    for round in 0..ROUNDS {
        let large = appliance.connect().request("PUT", "/large", &[], Some(&vec![b'a'; 8 << 20]));
        assert_eq!((large.status, large.header("x-appliance-error")), (503, "spool-failed"), "{round}");
        large.header("retry-after").parse::<u32>().expect("seconds");
        assert_eq!(appliance.connect().request("POST", "/small", &[], Some(b"{}")).status, 200, "{round}");
        // Fits if, and only if, nothing of the large one is left.
        assert_eq!(appliance.connect().request("PUT", "/fits", &[], Some(&vec![b'a'; 3 << 20])).status, 200, "{round}");
    }
    assert!(appliance.log().contains("No space left on device"), "the log says why: {}", appliance.log());
    let seen = upstream.requests();
    assert!(seen.iter().all(|request| request.target != "/large"), "a truncated body is never forwarded");
    assert_eq!(seen.len(), 2 * ROUNDS);
    figure(&format!("disk: full {ROUNDS} times in the middle of an upload, {} other requests succeeded", 2 * ROUNDS));
}
