//! Rate limits: rejected requests count as well, by address where the caller is not known, and keep no other caller out.

use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::caller::Answer;
use crate::support::tokens::{Token, TokenFile};
use crate::support::upstream::Upstream;

const OWN: (&str, &str) = ("Origin", "http://localhost:5000");
const PAGE: (&str, &str) = ("Accept", "text/html");
const CREATE: &str = "/api/2.0/mlflow/runs/create";
const SLOW: [&str; 4] = ["--caller-rate-limit", "1", "--caller-burst-limit", "3"];

struct Scene {
    appliance: Appliance,
    _upstream: Upstream,
    reader: Token,
    other: Token,
}

fn scene(arguments: &[&str]) -> Scene {
    let (upstream, tokens) = (Upstream::ok(), TokenFile::new());
    let (reader, other) = (tokens.add("reader", "read", &[]), tokens.add("other", "write", &[]));
    let appliance = Builder::new(&upstream).with_tokens(&tokens).with(arguments).start();
    Scene { appliance, _upstream: upstream, reader, other }
}

impl Scene {
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let body = (method == "POST").then_some(body.as_bytes());
        self.appliance.connect().request(method, path, headers, body)
    }

    /// Asks eight times, and says how often which status came.
    #[track_caller]
    fn storm(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str, expected: u16) {
        let statuses: Vec<u16> = (0..8).map(|_| self.ask(method, path, headers, body).status).collect();
        let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
        // One or two more come by while it asks.
        assert!((3..=5).contains(&count(expected)) && count(429) == 8 - count(expected), "{path}: {statuses:?}");
        let refused = self.ask(method, path, headers, body);
        if refused.status == 429 {
            assert_eq!((refused.header("x-appliance-error"), refused.header("retry-after")), ("rate-limited", "1"));
        }
    }
}

#[test]
fn a_rejected_request_counts_against_its_caller() {
    for (method, path, expected) in
        [("POST", CREATE, 403), ("GET", "/t/nonsense/version", 404), ("GET", "/_appliance/../x", 400)]
    {
        let scene = scene(&SLOW);
        let bearer = scene.reader.bearer();
        scene.storm(method, path, &[("Authorization", &bearer)], "{}", expected);
        let other = scene.other.bearer();
        assert_eq!(scene.ask("GET", "/version", &[("Authorization", &other)], "").status, 200, "{path}");
    }
}

#[test]
fn a_redirect_to_a_target_counts_against_the_rate_limit() {
    let (upstream, tokens) = (Upstream::ok(), TokenFile::new());
    let token = tokens.add("reader", "read", &[]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    let toml = format!(
        "ca-file = \"{}\"\n[[target]]\nname = \"a\"\nresource-arn = \"{}\"\nupstream-endpoint = \"{}\"\n",
        crate::support::authority::authority().file().display(),
        crate::support::appliance::TRACKING_ARN,
        upstream.url()
    );
    std::fs::write(&file, toml).unwrap();
    let appliance = Builder::from_file(&file).with_tokens(&tokens).with(&SLOW).start();
    let bearer = token.bearer();
    let ask = |_| appliance.connect().request("GET", "/t/a", &[("Authorization", &bearer)], None).status;
    let statuses: Vec<u16> = (0..6).map(ask).collect();
    assert_eq!(
        (statuses[..3].to_vec(), statuses.iter().filter(|status| **status == 429).count() >= 2),
        (vec![308; 3], true),
        "{statuses:?}"
    );
}

#[test]
fn unauthenticated_requests_count_by_address_and_keep_no_caller_out() {
    for (method, path, headers, body, expected) in [
        ("GET", "/version", &[][..], "", 401),
        ("GET", "/version", &[("Authorization", "Bearer mlfa_wrong")], "", 401),
        ("GET", "/", &[PAGE], "", 303),
        ("GET", "/", &[PAGE, ("Cookie", "appliance-session=over")], "", 303),
        ("POST", "/_appliance/login", &[OWN], "token=mlfa_wrong", 401),
        ("POST", CREATE, &[("Origin", "https://evil.example")], "{}", 403),
        ("GET", "/a/../b", &[], "", 400),
    ] {
        let scene = scene(&SLOW);
        scene.storm(method, path, headers, body, expected);
        let valid = scene.other.bearer();
        assert_eq!(scene.ask("GET", "/version", &[("Authorization", &valid)], "").status, 200, "{path}");
        assert_eq!(scene.ask("GET", "/_appliance/login", &[PAGE], "").status, 200, "{path}: the page is still there");
        let form = format!("token={}", scene.reader.text);
        assert_eq!(scene.ask("POST", "/_appliance/login", &[OWN], &form).status, 303, "{path}: signing in still works");
        assert_eq!(scene.ask("GET", "/_appliance/healthz", &[], "").status, 200, "{path}");
    }
}

#[test]
fn signing_in_counts_against_the_callers_rate_limit() {
    let scene = scene(&SLOW);
    let form = format!("token={}", scene.reader.text);
    scene.storm("POST", "/_appliance/login", &[OWN], &form, 303);
    let other = format!("token={}", scene.other.text);
    assert_eq!(scene.ask("POST", "/_appliance/login", &[OWN], &other).status, 303);
}

#[test]
fn the_default_limit_of_rejections_affects_no_browser() {
    let scene = scene(&[]);
    let mut caller = scene.appliance.connect();
    let statuses: Vec<u16> = (0..3000).map(|_| caller.get("/version").status).collect();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(statuses[..1000].iter().all(|status| *status == 401), "a thousand at once are nothing unusual");
    assert!(refused > 100, "{refused}");
    let valid = scene.other.bearer();
    assert_eq!(scene.ask("GET", "/version", &[("Authorization", &valid)], "").status, 200);
}

#[test]
fn requests_behind_a_proxy_count_by_client_address() {
    let scene = scene(&[&SLOW[..], &["--trusted-proxies", "127.0.0.1"]].concat());
    scene.storm("GET", "/version", &[("X-Forwarded-For", "198.51.100.7")], "", 401);
    scene.storm("GET", "/a/../b", &[("X-Forwarded-For", "198.51.100.8")], "", 400);
    let other = scene.ask("GET", "/version", &[("X-Forwarded-For", "198.51.100.9")], "");
    assert_eq!(other.status, 401, "another client behind the same proxy");
    let spoofed = |number: u8| {
        let hops = format!("203.0.113.{number}, 198.51.100.10");
        scene.ask("GET", "/version", &[("X-Forwarded-For", &hops)], "").status
    };
    let statuses: Vec<u16> = (1..=8).map(spoofed).collect();
    assert!(statuses.contains(&429), "what the client says of itself gives it no other limit: {statuses:?}");
}
