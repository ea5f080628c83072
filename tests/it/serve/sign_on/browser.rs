//! A real browser signs in at a certified OpenID provider on this machine.
//!
//! The browser knows the provider as `127.0.0.1` and the appliance as `localhost`, which are two sites.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::GRANTS;
use crate::serve::prefix_proxy::{CONFIGURED, round_robin};
use crate::support::appliance::{Appliance, Builder, TRACKING_ARN};
use crate::support::authority::authority;
use crate::support::browser::Browser;
use crate::support::openid_provider::{CLIENT, OpenIdProvider, SECRET};
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{eventually, quiet_port};

const START: &str = "/_appliance/oidc/start?issuer=idp&next=/";
const AT_PROVIDER: &str = "document.title === 'Sign in at the provider' && document.readyState === 'complete'";

/// Everything but the browser.
struct Site {
    _upstream: Upstream,
    /// The port of the provider, which is started when the addresses of the appliances are known.
    port: u16,
    configuration: PathBuf,
    _directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let upstream = Upstream::start(|request, wire| {
            let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 33\r\n\r\n<title>MLflow</title><p>Hello</p>";
            if request.method == "GET" { wire.send(page) } else { wire.answer("200 OK", "{}") }
        });
        let (directory, port) = (tempfile::tempdir().unwrap(), quiet_port());
        let file = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.display().to_string()
        };
        let text = format!(
            "resource-arn = \"{TRACKING_ARN}\"\nupstream-endpoint = \"{}\"\nca-file = \"{}\"\nsession-key = \"{}\"\n\
             trusted-proxies = \"127.0.0.1\"\n[[issuer]]\nname = \"idp\"\nlabel = \"Corp\"\nurl = \"http://127.0.0.1:{port}\"\n\
             client-id = \"{CLIENT}\"\nclient-secret = \"{}\"\nscopes = \"openid groups\"\n{GRANTS}",
            upstream.url(),
            authority().file().display(),
            file("key", &[7; 32]),
            file("secret", SECRET.as_bytes()),
        );
        let configuration = Path::new(&file("appliance.toml", text.as_bytes())).to_owned();
        Self { _upstream: upstream, port, configuration, _directory: directory }
    }

    fn appliance(&self, arguments: &[&str]) -> Appliance {
        Builder::from_file(&self.configuration).with(arguments).start()
    }

    /// Starts the provider, and waits until the appliances know it.
    #[track_caller]
    fn provider(&self, appliances: &[&Appliance], addresses: &[String]) -> OpenIdProvider {
        let provider = OpenIdProvider::start(self.port, addresses, &json!({}));
        for appliance in appliances {
            eventually("the provider is known", || appliance.log().contains("the keys of an issuer were fetched"));
        }
        provider
    }
}

fn at_localhost(address: SocketAddr) -> String {
    format!("http://localhost:{}", address.port())
}

/// Pictures of what is tested, for people to look at.
fn picture(browser: &mut Browser, name: &str) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sign-on");
    std::fs::create_dir_all(&directory).unwrap();
    browser.picture(&directory.join(name));
}

#[track_caller]
fn signs_in_as(browser: &mut Browser, name: &str) {
    browser.wait_for(AT_PROVIDER);
    let fill = format!(
        "document.querySelector('#login').value = '{name}'; document.querySelector('[type=password]').value = 'secret'; \
         document.querySelector('form').submit()"
    );
    browser.evaluate(&fill);
}

#[track_caller]
fn wait_for_place(browser: &mut Browser, address: &str) {
    browser.wait_for(&format!("location.href === '{address}' && document.title === 'MLflow'"));
}

/// The status of a change that MLflow's page makes.
fn change(browser: &mut Browser) -> serde_json::Value {
    browser.evaluate(
        "fetch('/ajax-api/2.0/mlflow/runs/create', {method: 'POST', body: '{}'}).then((answer) => answer.status)",
    )
}

#[test]
#[ignore = "needs tests/run: Chromium, and Node.js with an OpenID provider"]
fn a_deep_link_survives_the_sign_in_and_the_sign_out_is_complete() {
    let (site, mut browser) = (Site::new(), Browser::start());
    let appliance = site.appliance(&[]);
    let url = at_localhost(appliance.address());
    let _provider = site.provider(&[&appliance], std::slice::from_ref(&url));

    let place = format!("{url}/experiments?from=a%20mail#/experiments/7/runs/a%2Fb");
    browser.open(&place);
    signs_in_as(&mut browser, "ada");
    wait_for_place(&mut browser, &place);
    assert_eq!(browser.evaluate("document.cookie"), "", "scripts see neither cookie");
    assert_eq!(change(&mut browser), 200, "the group is in the user info, and makes ada an administrator");
    appliance.saw("ada", |event| event["caller"] == "ada" && event["role"] == "admin" && event["means"] == "session");

    // The address of the callback works once.
    let callback = browser.requested().into_iter().find(|url| url.contains("/oidc/callback?")).unwrap().to_owned();
    browser.open(&callback);
    browser.wait_for("document.body.innerText.includes('does not accept this sign-in any more')");
    picture(&mut browser, "repeated.png");
    browser.open(&place);
    wait_for_place(&mut browser, &place);

    browser.open(&format!("{url}/_appliance/login"));
    browser.wait_for("document.body.innerText.includes('Signed in as ada')");
    picture(&mut browser, "signed-in.png");
    browser.evaluate("document.querySelector('form[action=\"logout\"] button').click()");
    browser.wait_for("document.title === 'Sign out?' && document.querySelector('#yes') !== null");
    browser.evaluate("document.querySelector('#yes').click()");
    browser.wait_for("location.pathname === '/_appliance/login' && document.body.innerText.includes('signed out')");
    picture(&mut browser, "signed-out.png");
    // Nothing signs the person in again, and the next sign-in asks for the password.
    browser.open(&format!("{url}/_appliance/login?signed-out"));
    browser.wait_for("document.querySelector('a[href*=\"/oidc/start\"]') !== null");
    browser.evaluate("document.querySelector('a[href*=\"/oidc/start\"]').click()");
    signs_in_as(&mut browser, "ada");
    wait_for_place(&mut browser, &format!("{url}/"));
}

#[test]
#[ignore = "needs tests/run: Chromium, and Node.js with an OpenID provider"]
fn groups_decide_and_people_without_access_read_why() {
    let (site, mut browser) = (Site::new(), Browser::start());
    let appliance = site.appliance(&[]);
    let url = at_localhost(appliance.address());
    let provider = site.provider(&[&appliance], std::slice::from_ref(&url));
    browser.look_like((1280, 900), "light");
    browser.open(&format!("{url}/"));
    signs_in_as(&mut browser, "bob");
    wait_for_place(&mut browser, &format!("{url}/"));
    assert_eq!(change(&mut browser), 403, "bob may read");

    let mut stranger = Browser::start();
    stranger.look_like((1280, 900), "light");
    stranger.open(&format!("{url}/"));
    signs_in_as(&mut stranger, "eve");
    stranger.wait_for("document.body.innerText.includes('signed in as eve, but you have no access')");
    assert_eq!(stranger.evaluate("document.querySelector('h1').textContent"), "Access denied");
    picture(&mut stranger, "no-access.png");
    appliance.saw("eve", |event| event["error_code"] == "no-grant" && event["status"] == 403);
    // Eve is another person for MLflow, or comes back as one.
    stranger.open(&format!("{url}{START}&again=yes"));
    signs_in_as(&mut stranger, "ada");
    wait_for_place(&mut stranger, &format!("{url}/"));

    let mut doubtful = Browser::start();
    doubtful.look_like((390, 844), "dark");
    doubtful.open(&format!("{url}/"));
    doubtful.wait_for(AT_PROVIDER);
    doubtful.evaluate("document.querySelector('#cancel').click()");
    doubtful.wait_for(
        "document.body.innerText.includes('did not sign you in (access_denied). The person has cancelled <b>it</b>.')",
    );
    picture(&mut doubtful, "cancelled.png");

    drop(provider);
    let unlucky = site.appliance(&[]);
    doubtful.open(&format!("{}/#/x", at_localhost(unlucky.address())));
    doubtful.wait_for("document.body.innerText.includes('cannot be reached at the moment')");
    picture(&mut doubtful, "provider-down.png");
    assert_eq!(change(&mut browser), 403, "bob's session needs no provider");
}

#[test]
#[ignore = "needs tests/run: Chromium, and Node.js with an OpenID provider"]
fn a_button_beside_the_token_takes_the_fragment_along() {
    let (site, mut browser, tokens) = (Site::new(), Browser::start(), TokenFile::new());
    tokens.add("ci", "read", &[]);
    let path = tokens.path();
    let appliance = site.appliance(&["--tokens", path.to_str().unwrap()]);
    let url = at_localhost(appliance.address());
    let _provider = site.provider(&[&appliance], std::slice::from_ref(&url));
    browser.look_like((1280, 900), "light");
    let place = format!("{url}/models?x=1#/models");
    browser.open(&place);
    browser.wait_for(
        "document.querySelector('a[href*=\"/oidc/start\"]') !== null && document.querySelector('#token') !== null",
    );
    assert_eq!(browser.evaluate("document.querySelector('a[href*=\"/oidc/start\"]').textContent"), "Sign in with Corp");
    picture(&mut browser, "both-ways.png");
    browser.evaluate("document.querySelector('a[href*=\"/oidc/start\"]').click()");
    signs_in_as(&mut browser, "ada");
    wait_for_place(&mut browser, &place);
}

#[test]
#[ignore = "needs tests/run: Chromium, and Node.js with an OpenID provider"]
fn two_appliances_take_turns_below_a_prefix() {
    let (site, mut browser) = (Site::new(), Browser::start());
    let (one, two) = (site.appliance(&[]), site.appliance(&[]));
    let proxy = round_robin(vec![one.address(), two.address()], CONFIGURED);
    let url = format!("{}/mlflow", at_localhost(proxy));
    let _provider = site.provider(&[&one, &two], std::slice::from_ref(&url));
    let place = format!("{url}/experiments/7?a=b#/x");
    browser.open(&place);
    signs_in_as(&mut browser, "ada");
    wait_for_place(&mut browser, &place);
    let script = "Promise.all([1, 2, 3, 4].map(() => fetch('version').then((answer) => answer.status)))";
    assert_eq!(browser.evaluate(script), json!([200, 200, 200, 200]));
    for appliance in [&one, &two] {
        appliance.saw("ada", |event| event["caller"] == "ada" && event["status"] == 200);
    }
    let callback = "/_appliance/oidc/callback";
    let took_part = |appliance: &Appliance| appliance.access_log().iter().any(|event| event["path"] != callback);
    assert!(took_part(&one) && took_part(&two));
    browser.open(&format!("{url}/_appliance/login"));
    browser.wait_for("document.querySelector('form[action=\"logout\"] button') !== null");
    browser.evaluate("document.querySelector('form[action=\"logout\"] button').click()");
    browser.wait_for("document.title === 'Sign out?' && document.querySelector('#yes') !== null");
    browser.evaluate("document.querySelector('#yes').click()");
    browser
        .wait_for("location.pathname === '/mlflow/_appliance/login' && document.body.innerText.includes('signed out')");
}
