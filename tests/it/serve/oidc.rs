//! Users who signed in at the load balancer: the appliance trusts only statements with its signature.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::support::appliance::{Appliance, Builder, TRACKING_ARN, run};
use crate::support::authority::authority;
use crate::support::personal::{FORM, OWN, PAGE, token_in};
use crate::support::upstream::Upstream;
use crate::support::{Message as _, eventually, figure};

const BALANCER: &str = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/mlflow/50dc6c495c0c9188";
const ISSUER: &str = "https://idp.corp.example";
const GROUPS: &str = "
[[caller]]
claim = \"groups=mlflow-admins\"
role = \"admin\"
[[caller]]
claim = \"sub=robot\"
name = \"nightly\"
role = \"write\"
targets = \"default\"
[[caller]]
claim = \"*\"
role = \"read\"
";

/// A load balancer that signs, and publishes its key as AWS does.
pub(super) struct Balancer {
    pair: EcdsaKeyPair,
    pub(super) keys: Upstream,
}

impl Balancer {
    pub(super) fn new() -> Self {
        Self::with_keys(|respond| respond())
    }

    /// One whose keys are answered for by `around`, which is given how.
    fn with_keys(
        around: impl Fn(&mut dyn FnMut() -> io::Result<()>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        // The DER of a public key on P-256 up to the point (RFC 5480).
        let prefix = BASE64_STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").unwrap();
        let der = BASE64_STANDARD.encode([&prefix[..], pair.public_key().as_ref()].concat());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &der[..64], &der[64..]);
        let keys = Upstream::start(move |request, wire| {
            let (status, body) =
                if request.target == "/key-1" { ("200 OK", pem.as_str()) } else { ("404 Not Found", "") };
            around(&mut || wire.answer(status, body))
        });
        Self { pair, keys }
    }

    pub(super) fn say(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| BASE64_URL_SAFE.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE.encode(signature))
    }
}

pub(super) fn header(change: &str, value: &Value) -> Value {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(120);
    let mut header = json!({
        "typ": "JWT", "alg": "ES256", "kid": "key-1", "signer": BALANCER, "iss": ISSUER, "client": "mlflow",
        "exp": end.as_secs(),
    });
    if !change.is_empty() {
        header[change] = value.clone();
    }
    header
}

fn start(upstream: &Upstream, keys: &str) -> (Appliance, tempfile::TempDir) {
    start_with(upstream, keys, |_| Vec::new())
}

/// The same with further options, which may name files of the directory.
fn start_with(
    upstream: &Upstream,
    keys: &str,
    more: impl FnOnce(&Path) -> Vec<String>,
) -> (Appliance, tempfile::TempDir) {
    let (builder, directory) = configured(upstream, keys);
    let more = more(directory.path());
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    (builder.with(&more).start(), directory)
}

/// An appliance behind the load balancer, before its start.
pub(super) fn configured(upstream: &Upstream, keys: &str) -> (Builder, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("appliance.toml");
    let toml = format!(
        "resource-arn = \"{TRACKING_ARN}\"\nupstream-endpoint = \"{}\"\nca-file = \"{}\"\noidc-signer = \"{BALANCER}\"\n\
         oidc-issuer = \"{ISSUER}\"\noidc-client-id = \"mlflow\"\noidc-keys-url = \"{keys}\"\n{GROUPS}",
        upstream.url(),
        authority().file().display(),
    );
    std::fs::write(&file, toml).unwrap();
    (Builder::from_file(&file), directory)
}

#[track_caller]
fn status(appliance: &Appliance, method: &str, path: &str, word: &str) -> u16 {
    let answer = appliance.connect().request(method, path, &[("x-amzn-oidc-data", word)], Some(b"{}"));
    if answer.status == 401 {
        assert_eq!(answer.header("x-appliance-error"), "unauthenticated");
    }
    answer.status
}

#[test]
fn a_user_makes_personal_tokens_that_lose_what_the_user_loses() {
    let (upstream, balancer) = (Upstream::ok(), Balancer::new());
    let (appliance, directory) = start_with(&upstream, &balancer.keys.url(), |directory| {
        vec!["--personal-tokens".into(), directory.join("personal.toml").display().to_string()]
    });
    let text = || std::fs::read_to_string(directory.path().join("personal.toml")).unwrap_or_default();
    let admin = balancer.say(&header("", &Value::Null), &json!({"sub": "ada", "groups": ["mlflow-admins"]}));
    let reader = balancer.say(&header("", &Value::Null), &json!({"sub": "ada", "groups": []}));
    let make = |proof: (&str, &str)| {
        let headers = [("x-amzn-oidc-data", admin.as_str()), proof, FORM];
        let form = b"action=make&name=laptop&role=admin&lifetime=1day";
        appliance.connect().request("POST", PAGE, &headers, Some(form))
    };
    // A browser attaches the balancer's cookie to forms of other sites, too.
    for foreign in [("X-Nothing", "1"), ("Origin", "https://evil.example")] {
        assert_eq!(make(foreign).header("x-appliance-error"), "foreign-origin");
    }
    let made = make(OWN);
    assert_eq!(made.status, 200, "{}", made.text());
    let token = format!("Bearer {}", token_in(&made.text()));
    let webhooks = || {
        let headers = [("Authorization", token.as_str())];
        appliance.connect().request("GET", "/api/2.0/mlflow/webhooks", &headers, None).status
    };
    assert_eq!(webhooks(), 200);
    appliance.saw("the person", |event| {
        event["caller"] == "ada" && event["means"] == "personal" && event["role"] == "admin"
    });
    assert!(text().contains("owner = \"oidc\"") && text().contains("role = \"admin\""), "{}", text());
    // The next request of the user shows that the user is only a reader today.
    assert_eq!(status(&appliance, "POST", "/api/2.0/mlflow/runs/search", &reader), 200);
    // The file is written before the tokens in memory are replaced.
    eventually("the token has lost the role", || webhooks() == 403);
    assert!(text().contains("role = \"read\""), "{}", text());
    assert_eq!(status(&appliance, "POST", "/api/2.0/mlflow/runs/search", &admin), 200);
    assert_eq!(webhooks(), 403, "the token does not get the role back");
}

#[test]
fn users_get_the_role_that_their_claims_grant() {
    let (upstream, balancer) = (Upstream::ok(), Balancer::new());
    let (appliance, _directory) = start(&upstream, &balancer.keys.url());
    let (search, create, webhooks) =
        ("/api/2.0/mlflow/runs/search", "/api/2.0/mlflow/runs/create", "/api/2.0/mlflow/webhooks");
    for (claims, expected) in [
        (json!({"sub": "ada", "groups": ["x", "mlflow-admins"]}), [200, 200, 200]),
        (json!({"sub": "robot"}), [200, 200, 403]),
        (json!({"sub": "bob", "groups": "others"}), [200, 403, 403]),
        (json!({"sub": "bad name\n"}), [403, 403, 403]),
        (json!({"email": "no subject"}), [403, 403, 403]),
    ] {
        let word = balancer.say(&header("", &Value::Null), &claims);
        let statuses = [search, create, webhooks].map(|path| status(&appliance, "POST", path, &word));
        assert_eq!(statuses, expected, "{claims}");
    }
    assert_eq!(balancer.keys.requests().len(), 1, "the key was fetched once");
    assert!(upstream.requests().iter().all(|request| !request.has("x-amzn-oidc-data")));
    for caller in ["ada", "nightly", "bob"] {
        appliance.saw(caller, |event| event["caller"] == caller);
    }
    assert_eq!(appliance.get("/version").status, 401, "a request that bypasses the load balancer is unauthenticated");
}

#[test]
fn only_statements_of_the_configured_load_balancer_are_trusted() {
    let (upstream, balancer, other) = (Upstream::ok(), Balancer::new(), Balancer::new());
    let (appliance, _directory) = start(&upstream, &balancer.keys.url());
    let claims = json!({"sub": "ada", "groups": ["mlflow-admins"]});
    let good = balancer.say(&header("", &Value::Null), &claims);
    let parts: Vec<&str> = good.split('.').collect();
    let none = BASE64_URL_SAFE.encode(header("alg", &json!("none")).to_string());
    let mut words = vec![
        ("another key", other.say(&header("", &Value::Null), &claims)),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("algorithm none", format!("{none}.{}.", parts[1])),
        ("changed claims", {
            let changed = BASE64_URL_SAFE.encode(json!({"sub": "root"}).to_string());
            format!("{}.{changed}.{}", parts[0], parts[2])
        }),
        ("four parts", format!("{good}.x")),
        ("nothing", String::new()),
        ("not base64", "?.?.?".to_owned()),
    ];
    for (name, value) in [
        ("alg", json!("HS256")),
        ("signer", json!(BALANCER.replace("mlflow", "evil"))),
        ("iss", json!("https://evil.example")),
        ("client", json!("another-app")),
        ("exp", json!(1)),
        ("kid", json!("unknown")),
        ("kid", json!("../key-1")),
        ("kid", json!("key-1?x=")),
    ] {
        words.push((name, balancer.say(&header(name, &value), &claims)));
    }
    for (why, word) in &words {
        assert_eq!(status(&appliance, "GET", "/version", word), 401, "{why}");
    }
    assert_eq!(upstream.requests().len(), 0);
    let asked: Vec<String> = balancer.keys.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(asked.iter().filter(|target| *target == "/unknown").count(), 1);
    assert!(asked.iter().all(|target| matches!(target.as_str(), "/key-1" | "/unknown")), "{asked:?}");
    assert_eq!(status(&appliance, "GET", "/version", &good), 200);
    assert!(!appliance.log().contains(parts[1]), "claims are not logged");
}

#[test]
fn times_that_no_clock_can_represent_are_rejected_before_verification() {
    let (upstream, balancer) = (Upstream::ok(), Balancer::new());
    let (appliance, _directory) = start(&upstream, &balancer.keys.url());
    let claims = json!({"sub": "ada", "exp": u64::MAX, "nbf": i64::MIN, "iat": 1e300});
    let mut caller = appliance.connect();
    let far = [i64::MAX as u64, i64::MAX as u64 - 1, i64::MAX as u64 - 61, u64::MAX, u64::MAX - 60, u64::MAX - 61];
    let odd = [json!(-1), json!(-1e300), json!(0.5), json!(1e308), json!("1"), json!(null), json!({}), json!([])];
    for exp in far.iter().map(|exp| json!(exp)).chain(odd) {
        let word = balancer.say(&header("exp", &exp), &claims);
        let forged = format!("{}x", word.trim_end_matches('='));
        let answer = caller.request("GET", "/version", &[("x-amzn-oidc-data", &forged)], None);
        assert_eq!(answer.status, 401, "{exp}, on the same connection");
    }
    for (name, value) in [("nbf", json!(u64::MAX)), ("iat", json!(-1)), ("iat", json!(1e300)), ("nbf", json!("x"))] {
        let word = balancer.say(&header(name, &value), &claims);
        assert_eq!(status(&appliance, "GET", "/version", &word), 200, "{name} is not asked for");
    }
    assert!(!appliance.has_panicked(), "{}", appliance.log());
}

#[test]
fn made_up_keys_are_fetched_a_few_at_a_time_and_keep_no_user_out() {
    const STRANGERS: usize = 400;
    let upstream = Upstream::ok();
    let slow = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let is_stormy = Arc::new(AtomicBool::new(true));
    let (counts, waits) = (Arc::clone(&slow), Arc::clone(&is_stormy));
    let balancer = Balancer::with_keys(move |respond| {
        let (now, most) = &*counts;
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // Until all have asked, so that the number of fetches does not depend on how fast this machine asks.
        for _ in 0..80 {
            std::thread::sleep(Duration::from_millis(50));
            if !waits.load(Ordering::SeqCst) {
                break;
            }
        }
        now.fetch_sub(1, Ordering::SeqCst);
        respond()
    });
    let (appliance, _directory) = start(&upstream, &balancer.keys.url());
    let made_up =
        |number: usize| balancer.say(&header("kid", &json!(format!("made-up-{number}"))), &json!({"sub": "x"}));
    let good = balancer.say(&header("", &Value::Null), &json!({"sub": "ada"}));
    let rejected = AtomicUsize::new(0);
    let (real, took) = std::thread::scope(|scope| {
        let storm: Vec<_> = (0..STRANGERS)
            .map(|number| {
                let (appliance, rejected, word) = (&appliance, &rejected, made_up(number));
                scope.spawn(move || {
                    let status = status(appliance, "GET", "/version", &word);
                    rejected.fetch_add(1, Ordering::SeqCst);
                    status
                })
            })
            .collect();
        // Eight fetches and a queue of 64 remain.
        eventually("the others are rejected", || rejected.load(Ordering::SeqCst) >= STRANGERS - 72);
        is_stormy.store(false, Ordering::SeqCst);
        let began = Instant::now();
        let real = status(&appliance, "GET", "/version", &good);
        let took = began.elapsed();
        for stranger in storm {
            assert_eq!(stranger.join().unwrap(), 401);
        }
        (real, took)
    });
    let fetched = balancer.keys.requests().len();
    figure(&format!(
        "made-up keys: {STRANGERS} at once, {fetched} fetched, {} at a time; a user in the middle waited {took:.1?}",
        slow.1.load(Ordering::SeqCst)
    ));
    assert_eq!(real, 200, "a user whose key is not known yet");
    assert!(slow.1.load(Ordering::SeqCst) <= 8 && fetched < STRANGERS / 2, "{fetched}");
    let mut asked: Vec<String> = balancer.keys.requests().into_iter().map(|request| request.target).collect();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), fetched, "none was asked for twice");
}

#[test]
fn more_made_up_keys_than_the_cache_holds_keep_no_user_out() {
    let (upstream, balancer) = (Upstream::ok(), Balancer::new());
    let (appliance, _directory) = start(&upstream, &balancer.keys.url());
    let good = balancer.say(&header("", &Value::Null), &json!({"sub": "ada"}));
    for round in 0..2 {
        for number in 0..70 {
            let word = balancer.say(&header("kid", &json!(format!("made-up-{round}-{number}"))), &json!({"sub": "x"}));
            assert_eq!(status(&appliance, "GET", "/version", &word), 401);
        }
        assert_eq!(status(&appliance, "GET", "/version", &good), 200, "round {round}");
    }
    let asked = balancer.keys.requests().into_iter().filter(|request| request.target == "/key-1").count();
    assert_eq!(asked, 1, "the key that is used is kept");
}

#[test]
fn many_users_at_once_need_one_fetch() {
    let upstream = Upstream::ok();
    let balancer = Balancer::with_keys(|respond| {
        std::thread::sleep(Duration::from_millis(200));
        respond()
    });
    let (appliance, _directory) = start(&upstream, &balancer.keys.url());
    let good = balancer.say(&header("", &Value::Null), &json!({"sub": "ada"}));
    std::thread::scope(|scope| {
        let users: Vec<_> = (0..50).map(|_| scope.spawn(|| status(&appliance, "GET", "/version", &good))).collect();
        assert!(users.into_iter().all(|user| user.join().unwrap() == 200));
    });
    assert_eq!(balancer.keys.requests().len(), 1);
}

#[test]
fn cached_keys_outlast_an_outage_of_their_endpoint() {
    let (upstream, balancer) = (Upstream::ok(), Balancer::new());
    let (appliance, _directory) = start(&upstream, "https://127.0.0.1:1");
    let word = balancer.say(&header("", &Value::Null), &json!({"sub": "ada"}));
    assert_eq!(status(&appliance, "GET", "/version", &word), 401);
    eventually("the operator is told", || appliance.log().contains("cannot fetch the load balancer's public key"));
    assert!(appliance.log().contains("oidc-keys-url"), "{}", appliance.log());
    assert_eq!(appliance.get("/_appliance/healthz").status, 200);
}

#[test]
fn an_incomplete_configuration_is_explained() {
    let variables = [("SM_MLFLOW_RESOURCE_ARN", TRACKING_ARN)];
    for (arguments, expected) in [
        (&["--oidc-signer", BALANCER][..], "set `oidc-issuer`"),
        (
            &["--oidc-signer", "arn:aws:s3:::bucket", "--oidc-issuer", ISSUER],
            "not the ARN of an Application Load Balancer",
        ),
        (&["--oidc-issuer", ISSUER], "no load balancer is trusted"),
        (&["--oidc-signer", BALANCER, "--oidc-issuer", ISSUER], "no role is granted to them"),
    ] {
        let output = run(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat(), &variables);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(78) && said.contains(expected), "{said}");
    }
}
