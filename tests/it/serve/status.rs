//! The status page in a browser: light and dark, wide and narrow, with and without a mouse.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::support::Message as _;
use crate::support::appliance::{Appliance, Builder};
use crate::support::browser::Browser;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;
use crate::support::{eventually, settled};

/// An upstream whose responses are slow, failed or truncated, by path.
fn upstream() -> Upstream {
    Upstream::start(|request, wire| match request.target.split('?').next().unwrap_or_default() {
        "/api/2.0/mlflow/experiments/search" => {
            std::thread::sleep(Duration::from_millis(40));
            wire.answer("200 OK", "{}")
        }
        "/api/2.0/mlflow/registered-models/get" => wire.answer("500 Internal Server Error", "{}"),
        "/api/2.0/mlflow/metrics/get-history" => {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")?;
            Err(wire.reset())
        }
        "/closed" => Err(wire.close()),
        "/version" => wire.answer("403 Forbidden", "{}"),
        _ => wire.answer("200 OK", "{}"),
    })
}

/// Starts an appliance with requests of all kinds, among them one that tries to inject markup into the page.
fn experienced(upstream: &Upstream) -> (Appliance, TokenFile) {
    let tokens = TokenFile::new();
    let token = tokens.add("ci", "admin", &[]);
    let (sts, _) = super::credentials::sts(3600);
    let appliance = Builder::new(upstream)
        .with(&["--role-arn", super::credentials::ROLE])
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .with_tokens(&tokens)
        .with_admin()
        .start();
    let bearer = token.bearer();
    let known = [("Authorization", bearer.as_str())];
    let ask = |path: &str| appliance.connect().request("GET", path, &known, None).status;
    let mut caller = appliance.connect();
    for _ in 0..60 {
        assert_eq!(caller.request("GET", "/api/2.0/mlflow/runs/get", &known, None).status, 200);
    }
    for _ in 0..8 {
        assert_eq!(ask("/api/2.0/mlflow/experiments/search"), 200);
    }
    assert_eq!(ask("/api/2.0/mlflow/registered-models/get"), 500);
    assert_eq!(ask("/closed"), 502);
    assert_eq!(ask("/version"), 403);
    let mut cut = appliance.connect();
    cut.send(format!(
        "GET /api/2.0/mlflow/metrics/get-history HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\n\r\n"
    ))
    .unwrap();
    assert!(cut.answer(false).is_err());
    let stranger = "/%3Cimg%20src=x%20onerror=alert(1)%3E/'\"%3C/script%3E";
    assert_eq!(appliance.connect().request("GET", stranger, &[("Authorization", "Bearer x")], None).status, 401);
    eventually("all requests are counted", || appliance.metrics().count("appliance_requests_total", &[]) == 73);
    (appliance, tokens)
}

#[test]
fn the_document_has_the_state_of_the_appliance() {
    let upstream = upstream();
    let (appliance, _tokens) = experienced(&upstream);
    let document = appliance.admin("/status.json").json();
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&document["draining"], &document["obstacle"]), (&Value::Bool(false), &Value::Null));
    let hour = &document["hour"];
    let sum = |key: &str| hour[key].as_array().unwrap().iter().map(|step| step.as_u64().unwrap()).sum::<u64>();
    // The 403 of `/version` is MLflow's; the appliance rejected only the request without a valid token.
    assert_eq!((sum("requests"), sum("failed"), sum("rejected")), (73, 3, 1));
    assert_eq!((&hour["step"], &hour["steps"]), (&Value::from(30), &Value::from(120)));
    assert!(hour["moment"]["requests"].as_u64().unwrap() <= 73 && hour["moment"]["seconds"].as_f64().unwrap() > 0.0);
    let last = hour["high_ms"].as_array().unwrap().last().unwrap().as_f64().unwrap();
    assert!(last >= 25.0, "eight of 73 took 40 ms: {last}");
    let target = &document["targets"][0];
    assert_eq!(
        (&target["name"], &target["mode"], &target["path"]),
        (&"default".into(), &"tracking server".into(), &"/".into())
    );
    let left = target["credentials"]["expires"].as_f64().unwrap() - document["now"].as_f64().unwrap();
    assert!((3000.0..=3600.0).contains(&left), "{left}");
    let failures: BTreeMap<_, _> = document["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| (failure["error_code"].as_str().unwrap(), failure))
        .collect();
    let codes: Vec<_> = failures.keys().copied().collect();
    assert_eq!(codes, ["cut-off", "unauthenticated", "upstream-closed", "upstream-denied", "upstream-error"]);
    let log = appliance.log();
    for (code, failure) in failures {
        assert_eq!(failure["is_ours"], code != "unauthenticated", "{code}");
        let caller = if code == "unauthenticated" { Value::Null } else { "ci".into() };
        assert_eq!((&failure["caller"], &failure["count"]), (&caller, &1.into()), "{code}");
        assert!(failure["explanation"].as_str().unwrap().len() > 20, "{code}");
        assert!(log.contains(failure["request_id"].as_str().unwrap()), "{code} is also in the log");
    }
    let size = appliance.admin("/status.json").body.len();
    assert!(size < 20_000, "{size}");
}

#[test]
fn the_page_is_self_contained_and_forbids_other_code() {
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with_admin().start();
    let answer = appliance.admin("/status");
    let text = answer.text();
    let policy = answer.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none';") && !policy.contains("unsafe") && !policy.contains("http"),
        "{policy}"
    );
    for (element, directive) in [("script", "script-src"), ("style", "style-src")] {
        let (_, rest) = text.split_once(&format!("<{element}>")).unwrap();
        let (inside, _) = rest.split_once(&format!("</{element}>")).unwrap();
        let hash = base64::prelude::BASE64_STANDARD.encode(Sha256::digest(inside));
        assert!(policy.contains(&format!("{directive} 'sha256-{hash}'")), "{policy}");
        assert_eq!(text.matches(&format!("<{element}")).count(), 1, "one {element}");
    }
    // The page loads nothing from elsewhere; the namespace of SVG is only a name.
    let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
    for forbidden in
        ["http:", "https:", "//cdn", "@import", "url(", "innerHTML", "eval(", "document.write", " style=\"", " onclick"]
    {
        assert!(!elsewhere.contains(forbidden), "`{forbidden}` is in the page");
    }
    assert!(text.len() < 40_000, "{}", text.len());
}

/// Returns the colours of the light page and of the dark one.
fn colours() -> [BTreeMap<String, [f64; 3]>; 2] {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/serve/admin/page.css");
    let text = std::fs::read_to_string(file).unwrap();
    let (light, rest) = text.split_once("@media (prefers-color-scheme: dark)").unwrap();
    let (dark, _) = rest.split_once("\n}").unwrap();
    [light, dark].map(|part| {
        part.lines()
            .filter_map(|line| line.trim().strip_prefix("--")?.split_once(": #"))
            .map(|(name, value)| {
                let number = u32::from_str_radix(value.trim_end_matches(';'), 16).unwrap();
                (name.to_owned(), [16, 8, 0].map(|shift| f64::from(number >> shift & 255) / 255.0))
            })
            .collect()
    })
}

/// Returns the contrast ratio of WCAG 2.2.
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let [r, g, b] =
            colour.map(|part| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn light_and_dark_colours_have_enough_contrast() {
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 0.01);
    let both = colours();
    assert!(both[0].len() >= 15 && both[0].keys().eq(both[1].keys()), "both have all colours");
    for colours in both {
        for (front, backs, least) in [
            ("text", &["page", "card"][..], 7.0),
            ("quiet", &["page", "card"], 4.5),
            ("link", &["page", "card"], 4.5),
            ("good", &["good-card"], 4.5),
            ("warn", &["warn-card"], 4.5),
            ("bad", &["bad-card", "card"], 4.5),
            // Graphics need less contrast than text.
            ("focus", &["page", "card"], 3.0),
            ("first", &["card"], 3.0),
            ("second", &["card"], 3.0),
            ("third", &["card"], 3.0),
            ("fourth", &["card"], 3.0),
        ] {
            for back in backs {
                let ratio = contrast(colours[front], colours[*back]);
                assert!(ratio >= least, "{front} on {back}: {ratio:.2}");
            }
        }
    }
}

/// Returns the directory of the screenshots.
fn pictures() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("status-page");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
#[ignore = "needs tests/run: Chromium"]
fn the_page_fits_every_screen_and_colour_scheme() {
    let mut browser = Browser::start();
    let upstream = upstream();
    let (appliance, _tokens) = experienced(&upstream);
    let url = format!("http://{}/status", appliance.admin_address());
    for (name, window, scheme) in [
        ("light", (1280, 900), "light"),
        ("dark", (1280, 900), "dark"),
        ("tablet", (800, 1000), "light"),
        ("phone", (360, 740), "light"),
        ("phone-dark", (360, 740), "dark"),
        // A wide page at 400 %, as WCAG 1.4.10 has it.
        ("narrow", (320, 640), "light"),
    ] {
        browser.look_like(window, scheme);
        browser.open(&url);
        browser.wait_for("document.querySelectorAll('#failures li').length === 4");
        browser.evaluate("document.querySelector('input[value=all]').click()");
        browser.wait_for("document.querySelectorAll('#failures li').length === 5");
        let overflow = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(overflow, 0, "{name}: the page does not scroll sideways");
        let table = "document.querySelector('#callers').closest('.scroll')";
        let hidden = browser.evaluate(&format!("{table}.scrollWidth - {table}.clientWidth"));
        assert_eq!(hidden, 0, "{name}: no figure of a caller is beyond the edge");
        browser.picture(&pictures().join(format!("{name}.png")));
        let page = browser.evaluate("document.body.innerText");
        let page = page.as_str().unwrap();
        for said in [
            "ready",
            "Requests",
            "ci admin",
            "not authenticated",
            "tracking server in us-east-1",
            "renewed automatically; expire in 5",
            "upstream-closed",
            "cut-off",
        ] {
            assert!(page.contains(said), "{name}: {said}: {page}");
        }
        // A client's path is text.
        assert!(page.contains("%3Cimg%20src=x%20onerror=alert(1)%3E"), "{page}");
        assert_eq!(browser.evaluate("document.images.length + document.scripts.length"), 1);
    }
    let elsewhere: Vec<_> = browser
        .requested()
        .into_iter()
        .filter(|asked| {
            !asked.starts_with(&format!("http://{}/", appliance.admin_address())) && !asked.starts_with("data:")
        })
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

#[test]
#[ignore = "needs tests/run: Chromium"]
fn the_page_is_live_and_shows_when_the_appliance_is_gone() {
    let mut browser = Browser::start();
    let upstream = upstream();
    let (mut appliance, _tokens) = experienced(&upstream);
    browser.look_like((1280, 900), "light");
    browser.open(&format!("http://{}/status", appliance.admin_address()));
    browser.wait_for("document.querySelector('#state').textContent === 'ready'");
    let requests = "[...document.querySelectorAll('#targets dd')].map((fact) => fact.textContent).find((text) => text.includes('failed'))";
    assert_eq!(browser.evaluate(requests), "72, 3 failed, 0 rejected");
    assert_eq!(appliance.connect().request("GET", "/x", &[("Authorization", "Bearer x")], None).status, 401);
    browser.wait_for("document.querySelector('#tiles').innerText.includes('1 rejected')");
    let countdown = "[...document.querySelectorAll('#targets dd')].map((fact) => fact.textContent).find((text) => text.includes('expire'))";
    let before = browser.evaluate(countdown);
    browser.wait_for(&format!("{countdown} !== {before}"));

    // The page can be paused.
    browser.evaluate("document.querySelector('#pause').click()");
    assert_eq!(browser.evaluate("document.querySelector('#pause').getAttribute('aria-pressed')"), "true");
    // The document that it may have been asking for at that moment.
    let mut page = || browser.evaluate("document.querySelector('main').innerText");
    let paused = settled("the page stops", &mut page);
    assert_eq!(appliance.connect().request("GET", "/x", &[("Authorization", "Bearer x")], None).status, 401);
    // It would ask again after two seconds, and its clocks would go on after one.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(page(), paused, "nothing changes while it is paused");
    browser.evaluate("document.querySelector('#pause').click()");
    browser.wait_for(&format!("document.querySelector('main').innerText !== {paused}"));

    appliance.signal(rustix::process::Signal::TERM);
    assert!(appliance.ended().success());
    browser.wait_for("!document.querySelector('#notice').hidden");
    let notice = browser.evaluate("document.querySelector('#notice').textContent");
    assert!(notice.as_str().unwrap().starts_with("The appliance does not respond. The figures are from"), "{notice}");
    browser.look_like((900, 900), "light");
    browser.wait_for("document.querySelector('#state').textContent === 'no response'");
    browser.picture(&pictures().join("gone.png"));
}

#[test]
#[ignore = "needs tests/run: Chromium"]
fn the_page_shows_why_the_appliance_is_not_ready() {
    let mut browser = Browser::start();
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).without_credentials().with_admin().start();
    eventually("the chain has been tried", || appliance.log().contains("no AWS credentials were found"));
    browser.look_like((1280, 900), "dark");
    browser.open(&format!("http://{}/status", appliance.admin_address()));
    browser.wait_for("document.querySelector('#state').textContent === 'not ready: no AWS credentials were found'");
    browser
        .wait_for("document.querySelector('#failures').innerText.includes('No failure needs action since the start')");
    browser.picture(&pictures().join("not-ready.png"));
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

#[test]
#[ignore = "needs tests/run: Chromium"]
fn rates_are_easy_to_imagine_and_only_what_needs_attention_is_coloured() {
    let mut browser = Browser::start();
    let upstream = Upstream::ok();
    let appliance = Builder::new(&upstream).with_admin().start();
    browser.look_like((1280, 900), "light");
    browser.open(&format!("http://{}/status", appliance.admin_address()));
    browser.wait_for("document.querySelector('#state').textContent === 'ready'");
    let token = "{ count: 1, end_soon: true, first_expires: now() + 86405 }";
    for (expression, expected) in [
        ("rate(59, 10)", "5.9/s"),
        ("rate(1, 10)", "1 in 10 s"),
        ("rate(0, 10)", "0/s"),
        (
            "expiry({ held: true, expires: now() + 30.5, failure: null }).join()",
            "renewed automatically; expire in 30 s,",
        ),
        ("expiry({ held: true, expires: now() + 30.5, failure: 'x' }).join()", "renewal failed; expire in 30 s,warn"),
        ("expiry({ held: true, expires: now() - 1, failure: null }).join()", "expired,bad"),
        ("expiry({ held: true, expires: null, failure: null }).join()", "held, do not expire,"),
        ("moved(0, 0)", "–"),
        ("moved(3 << 20, 2)", "3 MiB + 2 by URL"),
        (&format!("tokenEnd({{ tokens: {token} }}).join()"), "in 1 d,warn"),
        (&format!("tokenEnd({{ tokens: {{ ...{token}, count: 2, end_soon: false }} }}).join()"), "in 1 d (1 of 2),"),
        ("tokenEnd({ tokens: { count: 1, end_soon: false, first_expires: null } }).join()", "never,"),
        ("tokenEnd({ tokens: null, token_expires: now() + 86405 }).join()", "in 1 d,"),
        ("tokenEnd({ tokens: null, token_expires: now() - 7205 }).join()", "2 h ago,"),
        ("tokenEnd({ tokens: null, token_expires: null }).join()", "–,"),
    ] {
        // A no-break space stands between a number and its unit.
        let shown = browser.evaluate(expression).as_str().unwrap().replace('\u{a0}', " ");
        assert_eq!(shown, expected, "{expression}");
    }
    assert_eq!(
        browser.evaluate("time(1.5) + size(2048) + span(1) + percent(1, 2)"),
        "1.5\u{a0}ms2\u{a0}KiB1\u{a0}s50\u{a0}%"
    );
}

#[test]
#[ignore = "needs tests/run: Chromium"]
fn keyboard_and_screen_reader_reach_everything() {
    let mut browser = Browser::start();
    let upstream = upstream();
    let (appliance, _tokens) = experienced(&upstream);
    browser.look_like((1280, 900), "light");
    browser.open(&format!("http://{}/status", appliance.admin_address()));
    browser.wait_for("document.querySelectorAll('#charts svg[role=img]').length === 3");
    let mut reached = Vec::new();
    for _ in 0..15 {
        browser.press("Tab");
        let focus = browser.evaluate(
            "(() => { const it = document.activeElement; const seen = getComputedStyle(it); return it === document.body ? '' : `${it.tagName.toLowerCase()}|${it.getAttribute('aria-label') || it.textContent.trim().slice(0, 30) || it.value}|${seen.outlineStyle !== 'none'}`; })()",
        );
        reached.push(focus.as_str().unwrap().to_owned());
    }
    let order: Vec<_> = reached.iter().map(|focus| focus.split('|').next().unwrap()).collect();
    assert_eq!(order[..9], ["a", "button", "input", "svg", "svg", "svg", "summary", "div", "a"], "{reached:?}");
    assert!(reached[..10].iter().all(|focus| focus.ends_with("|true")), "focus is seen: {reached:?}");
    assert!(reached[3].contains("Requests in the last "), "{reached:?}");

    // The arrow keys select single steps of a chart.
    browser.evaluate("document.querySelector('#charts svg[role=img]').focus()");
    browser.press("End");
    browser.wait_for("document.querySelector('.reading').textContent.includes('all')");
    browser.press("ArrowLeft");
    browser.press("Home");
    // The chart begins at the start of the appliance, so its first step has a value.
    browser.wait_for("/all [0-9]/.test(document.querySelector('.reading').textContent)");
    // The figures are also in a table.
    browser.evaluate("document.querySelector('summary').focus()");
    browser.press("Enter");
    browser.wait_for("document.querySelectorAll('#hour tbody tr').length >= 1");

    let tree = browser.call("Accessibility.getFullAXTree", &serde_json::json!({}));
    let nodes = tree["nodes"].as_array().unwrap();
    let named = |role: &str| -> Vec<&str> {
        let of_role = nodes.iter().filter(|node| node["ignored"] == false && node["role"]["value"] == role);
        of_role.map(|node| node["name"]["value"].as_str().unwrap_or_default()).collect()
    };
    let headings: Vec<_> = named("heading").into_iter().map(|name| name.split(',').next().unwrap()).collect();
    assert_eq!(
        headings,
        [
            "MLflow appliance",
            "Now",
            "Failures",
            "Since the start",
            "Response time by share",
            "Callers",
            "Targets",
            "Configuration"
        ]
    );
    for role in ["button", "link", "radio", "image", "DisclosureTriangle", "columnheader"] {
        let names = named(role);
        assert!(!names.is_empty() && names.iter().all(|name| !name.is_empty()), "{role}: {names:?}");
    }
    assert_eq!((named("main").len(), named("banner").len(), named("contentinfo").len()), (1, 1, 1));
}
