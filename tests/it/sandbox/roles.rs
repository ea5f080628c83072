//! The roles, the targets, the sign-in page and the status page of a sandbox, by the addresses and tokens that it prints.

use std::path::Path;

use crate::support::Message as _;
use crate::support::caller::{Answer, Caller};
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{OK, Upstream};

/// A sandbox of both modes before something that says yes to everything.
fn sandbox(behind: &Upstream) -> Sandbox {
    Sandbox::start(Path::new("/usr/bin"), &["--mlflow-url", &behind.url()])
}

/// Sends a request to a URL on this machine.
#[track_caller]
pub fn send(url: &str, method: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap_or((url, ""));
    let mut caller = Caller::connect(address.parse().unwrap_or_else(|error| panic!("{url}: {error}")));
    caller.request(method, &format!("/{path}"), headers, body.map(str::as_bytes))
}

#[test]
fn each_role_works_as_printed_on_both_targets_and_no_token_is_required() {
    let behind = Upstream::plain(|_, wire| wire.send(OK));
    let sandbox = sandbox(&behind);
    let url = sandbox.url("tracking").to_owned();
    assert_eq!(sandbox.url("serverless"), format!("{url}/t/serverless"));
    let named = format!("{url}/t/tracking");
    for target in [url.as_str(), sandbox.url("serverless"), &named] {
        for (role, expected) in
            [("read", [200, 403, 403]), ("write", [200, 200, 403]), ("admin", [200, 200, 200]), ("", [200, 200, 200])]
        {
            let bearer = format!("Bearer {}", sandbox.ready["tokens"][role].as_str().unwrap_or_default());
            let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
            let headers = if role.is_empty() { &headers[1..] } else { &headers };
            let status = |method: &str, path: &str| {
                let body = (method == "POST").then_some("{}");
                send(&format!("{target}/api/2.0/mlflow/{path}"), method, headers, body).status
            };
            let got = [
                status("GET", "experiments/search?max_results=1"),
                status("POST", "runs/create"),
                status("GET", "webhooks"),
            ];
            assert_eq!(got, expected, "`{role}` at {target}");
        }
        let unknown = [("Authorization", "Bearer mlfa_unknown")];
        assert_eq!(send(&format!("{target}/version"), "GET", &unknown, None).status, 401, "{target}");
    }
    let said = sandbox.interrupt();
    for mode in ["tracking", "serverless"] {
        let (verified, refused) = super::tally(&said, mode);
        assert!(verified >= 9 && refused == 0, "only what a role allows reaches the endpoint: {said}");
    }
}

#[test]
fn a_person_signs_in_with_a_printed_token() {
    let behind = Upstream::plain(|_, wire| wire.send(OK));
    let sandbox = sandbox(&behind);
    let page = sandbox.text("sign_in");
    let shown = send(page, "GET", &[("Accept", "text/html")], None);
    assert_eq!((shown.status, shown.header("content-type").starts_with("text/html")), (200, true));
    let form = format!("token={}&next=%2F", sandbox.ready["tokens"]["read"].as_str().unwrap());
    // The caller's `Host` is this one, and a browser names the page's origin.
    let own = [("Origin", "http://localhost:5000"), ("Content-Type", "application/x-www-form-urlencoded")];
    let signed_in = send(page, "POST", &own, Some(&form));
    assert_eq!(signed_in.status, 303, "{}", signed_in.text());
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let create = format!("{}/ajax-api/2.0/mlflow/runs/create", sandbox.url("serverless"));
    let with_session = [("Origin", "http://localhost:5000"), ("Cookie", &cookie), ("Content-Type", "application/json")];
    let refused = send(&create, "POST", &with_session, Some("{}"));
    assert_eq!(refused.status, 403, "the session has the token's role: {}", refused.text());
    let read = format!("{}/ajax-api/2.0/mlflow/experiments/search?max_results=1", sandbox.url("serverless"));
    assert_eq!(send(&read, "GET", &with_session[..2], None).status, 200);
}

#[test]
fn the_status_page_and_the_metrics_show_both_targets() {
    let behind = Upstream::plain(|_, wire| wire.send(OK));
    let sandbox = sandbox(&behind);
    for mode in ["tracking", "serverless"] {
        assert_eq!(send(&format!("{}/version", sandbox.url(mode)), "GET", &[], None).status, 200);
    }
    let page = send(sandbox.text("status"), "GET", &[], None);
    assert_eq!((page.status, page.header("content-type").starts_with("text/html")), (200, true));
    let status = send(&format!("{}.json", sandbox.text("status")), "GET", &[], None).text();
    for target in ["/t/tracking/", "/t/serverless/"] {
        assert!(status.contains(target), "`{target}` is missing in {status}");
    }
    let metrics = send(sandbox.text("metrics"), "GET", &[], None).text();
    for target in ["tracking", "serverless"] {
        assert!(metrics.contains(&format!("=\"{target}\"")), "{target}: {metrics}");
    }
}
