//! The dashboard and the alert rules: every metric and label in them exists.

use std::collections::BTreeSet;

use rcgen::SanType;
use serde_json::{Value, json};

use crate::support::appliance::{Appliance, Builder, TRACKING_ARN};
use crate::support::authority::authority;
use crate::support::eventually;
use crate::support::issuer::{AUDIENCE, SigningKey, TestIssuer};
use crate::support::scrape::Scrape;
use crate::support::upstream::Upstream;

fn read(name: &str) -> String {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/monitoring").join(name);
    std::fs::read_to_string(file).unwrap()
}

/// Collects all values of a key, at any depth.
fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == key => found.push(text),
                    _ => all(member, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| all(item, key, found)),
        _ => {}
    }
}

/// Returns the metrics in an expression, each with its matchers: label and value.
fn selectors(expression: &str) -> Vec<(String, Vec<(String, String)>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_') {
        rest = &rest[at..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        rest = &rest[end..];
        if word.starts_with("appliance_") || word.starts_with("process_") {
            let braced = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let matchers = braced.map_or("", |(matchers, _)| matchers);
            let pairs = matchers.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
                let (label, value) = pair.split_once("=~").or_else(|| pair.split_once("!~")).unwrap_or_else(|| {
                    pair.split_once("!=").or_else(|| pair.split_once('=')).unwrap_or_else(|| panic!("{expression}"))
                });
                (label.trim().to_owned(), value.trim().trim_matches('"').to_owned())
            });
            found.push((word.to_owned(), pairs.collect()));
        } else if let Some(inner) = rest.strip_prefix('"') {
            rest = inner.split_once('"').map_or("", |(_, after)| after);
        }
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner.split_once('}').map_or("", |(_, after)| after);
        }
    }
    found
}

/// Starts an appliance whose metrics have all series that a rule may use.
fn busy() -> (Appliance, Scrape, tempfile::TempDir) {
    let upstream = Upstream::start(|request, wire| match request.target.as_str() {
        "/closed" => Err(wire.close()),
        _ => wire.answer("500 Internal Server Error", "{}"),
    });
    let (certificate, key) = authority().pair(vec![SanType::DnsName("localhost".try_into().unwrap())]);
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = (file("certificate.pem", &certificate), file("key.pem", &key));
    let (sts, _) = super::credentials::sts(3600);
    let appliance = Builder::new(&upstream)
        .with(&["--tls-certificate", &certificate, "--tls-key", &key, "--role-arn", super::credentials::ROLE])
        .with(&["--artifact-store", "s3://bucket/team", "--artifact-access", "presigned-only"])
        .with(&["--cloudwatch-log-group", "g"])
        .env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://127.0.0.1:9")
        .env("AWS_ENDPOINT_URL_STS", &sts.url())
        .without_waiting()
        .with_admin()
        .start();
    eventually("the appliance is ready", || appliance.admin("/readyz").status == 200);
    let mut caller =
        crate::support::caller::Caller::connect_with_tls(appliance.address(), authority().client(None, &[]));
    assert_eq!(caller.request("GET", "/api/2.0/mlflow-artifacts/artifacts/x", &[], None).status, 307);
    // The last request is rejected before its body is read, and its connection ends with it.
    for path in ["/closed", "/version", "/get-artifact", "/a/../b"] {
        assert!(caller.request("POST", path, &[], Some(b"{}")).status >= 400);
    }
    eventually("all requests are counted", || appliance.metrics().count("appliance_requests_total", &[]) == 5);
    let mut scrape = appliance.metrics();
    let of_issuers = of_issuers(&directory);
    let is_new = |name: &String| !scrape.families.contains_key(name);
    let new: Vec<_> = of_issuers.families.into_iter().filter(|(name, _)| is_new(name)).collect();
    scrape.families.extend(new);
    (appliance, scrape, directory)
}

/// Returns the metrics of an appliance with two issuers, of which one cannot be reached.
fn of_issuers(directory: &tempfile::TempDir) -> Scrape {
    let key = SigningKey::p256();
    let issuer = TestIssuer::new(&[key.jwk("k")]);
    let table = |name: &str, url: &str| {
        format!(
            "[[issuer]]\nname = \"{name}\"\nurl = \"{url}\"\naudience = \"{AUDIENCE}\"\n\
             [[caller]]\nissuer = \"{name}\"\nclaim = \"*\"\nrole = \"read\"\n"
        )
    };
    let tables = table("up", &issuer.url()) + &table("down", "http://127.0.0.1:9");
    let path = directory.path().join("issuers.toml");
    std::fs::write(&path, format!("resource-arn = \"{TRACKING_ARN}\"\n{tables}")).unwrap();
    let appliance = Builder::from_file(&path).with_admin().start();
    let fetches = |issuer: &str, result: &str| {
        let labels = [("issuer", issuer), ("result", result)];
        appliance.metrics().count("appliance_issuer_fetches_total", &labels)
    };
    eventually("both were asked", || fetches("up", "ok") > 0 && fetches("down", "failed") > 0);
    let claims = issuer.claims(&json!({"aud": "another", "sub": "ada"}));
    let bearer = format!("Bearer {}", key.token(&json!({"alg": "ES256", "kid": "k"}), &claims));
    assert_eq!(appliance.connect().request("GET", "/version", &[("Authorization", &*bearer)], None).status, 401);
    let scrape = appliance.metrics();
    // The rules say so: keys of one and none of the other.
    let keys = |issuer: &str| scrape.count("appliance_issuer_keys", &[("issuer", issuer)]);
    assert_eq!((keys("up"), keys("down"), fetches("down", "ok")), (1, 0, 0));
    scrape
}

#[test]
fn every_metric_of_the_dashboard_and_the_rules_exists() {
    let (_appliance, scrape, _directory) = busy();
    let dashboard: Value = serde_json::from_str(&read("grafana.json")).unwrap();
    let rules: Value = serde_saphyr::from_str(&read("alerts.yaml")).unwrap();
    let mut expressions = Vec::new();
    all(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 25, "{}", expressions.len());
    let of_dashboard = expressions.len();
    all(&rules, "expr", &mut expressions);
    assert!(expressions.len() - of_dashboard > 10);
    // The labels that Prometheus and Grafana add.
    let added = ["job", "instance", "le"];
    let mut used = BTreeSet::new();
    for expression in expressions {
        let selectors = selectors(expression);
        assert!(!selectors.is_empty(), "{expression}");
        assert_eq!(expression.matches('(').count(), expression.matches(')').count(), "{expression}");
        for (name, matchers) in selectors {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let is_known = |name: &str| scrape.families.contains_key(name);
            let family = if is_known(&name) { name.as_str() } else { base.unwrap_or(&name) };
            assert!(is_known(family), "`{name}` does not exist: {expression}");
            assert_eq!(name != family, scrape.families[family].kind == "histogram", "{expression}");
            let samples = &scrape.families[family].samples;
            assert!(!samples.is_empty(), "`{family}` has no samples");
            for (label, value) in matchers.iter().filter(|(label, _)| !added.contains(&label.as_str())) {
                let values: BTreeSet<_> = samples.iter().filter_map(|(_, labels, _)| labels.get(label)).collect();
                assert!(!values.is_empty(), "`{family}` has no label `{label}`: {expression}");
                let is_literal = !value.contains(['$', '|', '.']);
                let is_seen = values.contains(value) || value == "artifacts";
                assert!(!is_literal || is_seen, "`{family}` has no {label} `{value}`: {expression}");
            }
            used.insert(family.to_owned());
        }
    }
    // Every metric is used.
    let ours: BTreeSet<_> = scrape.families.keys().filter(|name| name.starts_with("appliance_")).cloned().collect();
    let unused: Vec<_> = ours.difference(&used).filter(|name| *name != "appliance_draining").collect();
    assert!(unused.is_empty(), "neither the dashboard nor a rule uses {unused:?}");
}

#[test]
fn rules_are_complete_and_panels_do_not_overlap() {
    let rules: Value = serde_saphyr::from_str(&read("alerts.yaml")).unwrap();
    let mut names = BTreeSet::new();
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let name = rule["alert"].as_str().unwrap();
        assert!(name.starts_with("Appliance") && names.insert(name), "{name}");
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        assert!(rule["for"].is_string(), "{name}: a single scrape is no alert");
        for key in ["summary", "description"] {
            assert!(rule["annotations"][key].as_str().is_some_and(|text| text.len() > 20), "{name}: {key}");
        }
    }
    let dashboard: Value = serde_json::from_str(&read("grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{title}");
        for place in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
            assert!(taken.insert(place), "`{title}` lies over another at {place:?}");
        }
    }
}

#[test]
fn the_page_of_metrics_has_every_metric() {
    let (_appliance, scrape, _directory) = busy();
    let page =
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operate/metrics.md"))
            .unwrap();
    for name in scrape.families.keys().filter(|name| name.starts_with("appliance_")) {
        assert!(page.contains(&format!("`{name}")), "docs/operate/metrics.md does not have `{name}`");
    }
}
