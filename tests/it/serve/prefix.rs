//! The appliance behind a reverse proxy that shows it below a prefix.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::json;
use url::{Position, Url};

use super::prefix_proxy::{CONFIGURED, PLAIN, proxy};
use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::browser::Browser;
use crate::support::caller::{Answer, Caller};
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

/// A browser according to RFC 3986 and RFC 6265: it follows redirects, and stores cookies by their paths.
struct Visitor {
    address: SocketAddr,
    at: Url,
    /// By name and path.
    cookies: BTreeMap<(String, String), String>,
    /// If this is true, it sends the headers that browsers send only to secure addresses.
    is_trusting: bool,
}

impl Visitor {
    fn new(address: SocketAddr, is_trusting: bool) -> Self {
        let at = Url::parse(&format!("http://localhost:{}/", address.port())).unwrap();
        Self { address, at, cookies: BTreeMap::new(), is_trusting }
    }

    fn ask(&mut self, method: &str, to: &str, form: Option<&str>) -> Answer {
        self.at = self.at.join(to).unwrap();
        let (mut method, mut form) = (method.to_owned(), form.map(ToOwned::to_owned));
        for _ in 0..5 {
            let answer = self.once(&method, form.as_deref());
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return answer;
            }
            self.at = self.at.join(answer.header("location")).unwrap();
            (method, form) = ("GET".to_owned(), None);
        }
        panic!("sent around: {}", self.at);
    }

    fn once(&mut self, method: &str, form: Option<&str>) -> Answer {
        let origin = self.at.origin().ascii_serialization();
        let host = &self.at[Position::BeforeHost..Position::AfterPort];
        let path = self.at.path().to_owned();
        let fits = |at: &str| path == at || path.starts_with(&format!("{}/", at.trim_end_matches('/')));
        let sent: Vec<_> = self
            .cookies
            .iter()
            .filter(|((_, at), _)| fits(at))
            .map(|((name, _), value)| format!("{name}={value}"))
            .collect();
        let cookies = sent.join("; ");
        let mut fields = vec![("Host", host), ("Accept", "text/html"), ("Cookie", &cookies)];
        if method == "POST" {
            fields.extend([("Origin", origin.as_str()), ("Content-Type", "application/x-www-form-urlencoded")]);
        }
        if self.is_trusting {
            fields.push(("Sec-Fetch-Site", "same-origin"));
        }
        let mut request = format!("{method} {} HTTP/1.1\r\n", &self.at[Position::BeforePath..Position::AfterQuery]);
        for (name, value) in fields {
            let _ = write!(request, "{name}: {value}\r\n");
        }
        let form = form.unwrap_or_default();
        let mut caller = Caller::connect(self.address);
        caller.send(format!("{request}Content-Length: {}\r\n\r\n{form}", form.len())).unwrap();
        let answer = caller.answer(false).unwrap();
        for set in answer.all("set-cookie") {
            let (pair, attributes) = set.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let at = attributes.split(';').find_map(|one| one.trim().strip_prefix("Path=")).unwrap().to_owned();
            assert!(!name.starts_with("__Host-") || at == "/", "a browser refuses {set}");
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(&(name.to_owned(), at));
            } else {
                self.cookies.insert((name.to_owned(), at), value.to_owned());
            }
        }
        answer
    }

    /// Signs in from a page, and is back there.
    #[track_caller]
    fn goes_in_and_out(&mut self, token: &str, page: &str, shown: &str) {
        let asked = self.ask("GET", page, None);
        assert_eq!((asked.status, self.at.path()), (200, "/mlflow/_appliance/login"), "{page}: {}", asked.text());
        let form = format!("token={token}&next={}", next_field(&asked));
        let address = self.at.to_string();
        let answer = self.ask("POST", &address, Some(&form));
        assert_eq!((answer.status, &self.at[Position::BeforePath..]), (200, shown), "{}", answer.text());
        // A change from the page, as MLflow's own does it.
        let changed = self.ask("POST", "/mlflow/ajax-api/2.0/mlflow/runs/create", Some("{}"));
        assert_eq!(changed.status, 200, "{}", changed.text());
        self.ask("GET", "/mlflow/_appliance/login", None);
        let out = self.ask("POST", "logout", Some(""));
        assert_eq!((out.status, self.at.path()), (200, "/mlflow/_appliance/login"));
        assert!(self.cookies.is_empty(), "{:?}", self.cookies);
        assert_eq!(self.ask("GET", page, None).status, 200);
        assert_eq!(self.at.path(), "/mlflow/_appliance/login");
    }
}

/// The hidden field of the form, as a browser sends it.
fn next_field(page: &Answer) -> String {
    let text = page.text();
    let value = text.split("name=\"next\" value=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

const CASES: [(&str, &str); 4] = [
    ("/mlflow/", "/mlflow/"),
    ("/mlflow/experiments/1?tab=a%20b", "/mlflow/experiments/1?tab=a%20b"),
    ("/mlflow/t/team/", "/mlflow/t/team/"),
    ("/mlflow/t/team?x=1", "/mlflow/t/team/?x=1"),
];

fn appliance(upstream: &Upstream, tokens: &TokenFile, more: &str) -> (Appliance, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ca = crate::support::authority::authority().file();
    let arn = crate::support::appliance::TRACKING_ARN;
    let text = format!(
        "ca-file = \"{}\"\ntokens = \"{}\"\n{more}[[target]]\nname = \"team\"\nresource-arn = \"{arn}\"\nupstream-endpoint = \"{}\"\n",
        ca.display(),
        tokens.path().display(),
        upstream.url()
    );
    std::fs::write(file.path(), text).unwrap();
    (Builder::from_file(file.path()).start(), file)
}

#[test]
fn a_person_signs_in_behind_a_proxy_that_sends_no_forwarded_headers() {
    let (upstream, tokens) = (Upstream::ok(), TokenFile::new());
    let token = tokens.add("ada", "admin", &[]);
    let (appliance, _file) = appliance(&upstream, &tokens, "");
    for (page, shown) in CASES {
        Visitor::new(proxy(appliance.address(), PLAIN), true).goes_in_and_out(&token.text, page, shown);
    }
}

#[test]
fn the_cookie_is_limited_to_the_prefix_of_a_trusted_proxy() {
    let (upstream, tokens) = (Upstream::ok(), TokenFile::new());
    let token = tokens.add("ada", "admin", &[]);
    let (appliance, _file) = appliance(&upstream, &tokens, "trusted-proxies = \"127.0.0.1\"\n");
    let address = proxy(appliance.address(), CONFIGURED);
    for (page, shown) in CASES {
        for is_trusting in [true, false] {
            Visitor::new(address, is_trusting).goes_in_and_out(&token.text, page, shown);
        }
    }
    let mut visitor = Visitor::new(address, true);
    visitor.ask("GET", "/mlflow/", None);
    let login = visitor.at.to_string();
    visitor.ask("POST", &login, Some(&format!("token={}&next=%2F", token.text)));
    let paths: Vec<_> = visitor.cookies.keys().map(|(_, path)| path.as_str()).collect();
    assert_eq!(paths, ["/mlflow"]);
}

#[test]
fn only_a_trusted_proxy_and_a_plain_path_decide_about_the_cookie() {
    let (upstream, tokens) = (Upstream::ok(), TokenFile::new());
    let token = tokens.add("ada", "admin", &[]);
    let form = format!("token={}&next=%2F", token.text);
    let cookie = |appliance: &Appliance, fields: &[(&str, &str)]| {
        let own = [("Origin", "http://localhost:5000"), ("Content-Type", "application/x-www-form-urlencoded")];
        let answer = appliance.connect().request(
            "POST",
            "/_appliance/login",
            &[&own[..], fields].concat(),
            Some(form.as_bytes()),
        );
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header("set-cookie").to_owned()
    };
    let builder = || Builder::new(&upstream).with_tokens(&tokens);
    let (open, trusting) = (builder().start(), builder().with(&["--trusted-proxies", "127.0.0.1"]).start());
    let said = ("X-Forwarded-Prefix", "/mlflow/");
    assert!(cookie(&open, &[said]).contains("; Path=/; "));
    assert!(cookie(&trusting, &[said]).contains("; Path=/mlflow; "));
    assert!(cookie(&trusting, &[("X-Forwarded-Prefix", "/a/b")]).contains("; Path=/a/b; "));
    let secure = cookie(&trusting, &[said, ("X-Forwarded-Proto", "https")]);
    assert!(secure.starts_with("__Host-") && secure.contains("; Path=/; "), "{secure}");
    for text in ["/a;Domain=evil.example", "/../x", "//evil", "mlflow", "/a, /b", "/a b", "/%2e%2e"] {
        let set = cookie(&trusting, &[("X-Forwarded-Prefix", text)]);
        assert!(set.contains("; Path=/; ") && !set.contains("evil"), "{text}: {set}");
    }
    assert!(cookie(&trusting, &[said, ("X-Forwarded-Prefix", "/other")]).contains("; Path=/; "));
}

#[test]
fn redirects_of_mlflow_itself_stay_below_the_prefix() {
    let upstream = Upstream::start(|_, wire| {
        wire.send("HTTP/1.1 308 Permanent Redirect\r\nLocation: /next?a=b\r\nContent-Length: 0\r\n\r\n")
    });
    let start = |trusted| Builder::new(&upstream).with(&["--trusted-proxies", trusted]).start();
    let prefixed = [("X-Forwarded-Prefix", "/mlflow")];
    let location =
        |appliance: &Appliance| appliance.connect().request("GET", "/x", &prefixed, None).header("location").to_owned();
    assert_eq!(location(&start("127.0.0.1")), "/mlflow/next?a=b");
    assert_eq!(location(&start("192.0.2.1")), "/next?a=b");
}

#[test]
#[ignore = "needs tests/run: Chromium"]
fn a_browser_signs_in_below_a_prefix_and_out_again() {
    let mut browser = Browser::start();
    let page = "<!doctype html><title>MLflow</title><p>welcome";
    let upstream = Upstream::start(move |_, wire| {
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}", page.len()))
    });
    let tokens = TokenFile::new();
    let token = tokens.add("ada", "admin", &[]);
    for (more, tells) in [("", PLAIN), ("trusted-proxies = \"127.0.0.1\"\n", CONFIGURED)] {
        let (appliance, _file) = appliance(&upstream, &tokens, more);
        let address = proxy(appliance.address(), tells);
        browser.open(&format!("http://localhost:{}/mlflow/t/team?x=1#/runs/7", address.port()));
        browser.wait_for("location.pathname === '/mlflow/_appliance/login' && document.activeElement.id === 'token'");
        browser.call("Input.insertText", &json!({"text": token.text}));
        browser.press("Enter");
        browser.wait_for("document.body.innerText === 'welcome'");
        let shown = browser.evaluate("location.pathname + location.search + location.hash");
        assert_eq!(shown, "/mlflow/t/team/?x=1#/runs/7");
        let change = "fetch('ajax-api/2.0/mlflow/runs/create', {method: 'POST', body: '{}'}).then((one) => one.status)";
        assert_eq!(browser.evaluate(change), 200);
        browser.evaluate("location.href = '/mlflow/_appliance/login'");
        browser.wait_for("document.querySelectorAll('form').length === 2");
        browser.evaluate("isOld = true; document.querySelector('form[action] button').click()");
        browser.wait_for(
            "!window.isOld && document.readyState === 'complete' && location.pathname === '/mlflow/_appliance/login'",
        );
        browser.open(&format!("http://localhost:{}/mlflow/", address.port()));
        browser.wait_for("location.pathname === '/mlflow/_appliance/login' && document.activeElement.id === 'token'");
    }
}
