//! An identity provider that a test controls: it can lie, repeat itself, and be down. It checks what the appliance sends.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::support::Message as _;
use crate::support::upstream::{Recorded, Upstream, Wire};

pub const CLIENT: &str = "mlflow";
pub const SECRET: &str = "s3cret+&/";

/// The provider.
pub struct StandIn {
    server: Upstream,
    script: Arc<Mutex<Script>>,
}

/// The answers of the provider.
pub struct Script {
    /// Claims that replace those of the ID token; null removes one.
    pub claims: Value,
    pub user_info: Value,
    /// Values that replace those of the discovery document; null removes one.
    pub discovery: Value,
    /// A response of the token endpoint instead of the right one.
    pub token_response: Option<(&'static str, String)>,
    /// The time that the token endpoint takes.
    pub delay: Duration,
    codes: HashMap<String, Authorized>,
    given: usize,
}

/// An authorization request that the provider has granted.
struct Authorized {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

impl StandIn {
    pub fn start() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        let script = Arc::new(Mutex::new(Script {
            claims: json!({}),
            user_info: json!({"sub": "ada"}),
            discovery: json!({}),
            token_response: None,
            delay: Duration::ZERO,
            codes: HashMap::new(),
            given: 0,
        }));
        let told = Arc::clone(&script);
        let server = Upstream::start(move |request, wire| answer(&pair, &told, request, wire));
        Self { server, script }
    }

    /// The value of `iss`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn server(&self) -> &Upstream {
        &self.server
    }

    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// Signs a person in who was redirected to this address, and returns the code.
    #[track_caller]
    pub fn grants(&self, address: &str) -> String {
        let url = Url::parse(address).unwrap();
        assert_eq!(url.as_str().split('?').next().unwrap(), format!("{}/authorize", self.url()));
        let asked: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!((asked["response_type"].as_str(), asked["client_id"].as_str()), ("code", CLIENT));
        assert_eq!(asked["code_challenge_method"], "S256");
        assert!(asked["scope"].split(' ').any(|scope| scope == "openid"), "{asked:?}");
        let mut script = self.script.lock().unwrap();
        script.given += 1;
        let code = format!("code-{}", script.given);
        let [nonce, challenge, redirect_uri] =
            ["nonce", "code_challenge", "redirect_uri"].map(|name| asked[name].clone());
        script.codes.insert(code.clone(), Authorized { nonce, challenge, redirect_uri });
        code
    }
}

fn answer(pair: &EcdsaKeyPair, script: &Mutex<Script>, request: &Recorded, wire: &mut Wire) -> io::Result<()> {
    let issuer = format!("https://{}", request.header("host"));
    match request.target.as_str() {
        "/.well-known/openid-configuration" => {
            let at = |path: &str| format!("{issuer}{path}");
            let mut document = json!({
                "issuer": issuer,
                "authorization_endpoint": at("/authorize"),
                "token_endpoint": at("/token"),
                "userinfo_endpoint": at("/me"),
                "end_session_endpoint": at("/logout"),
                "jwks_uri": at("/jwks"),
                "authorization_response_iss_parameter_supported": true,
            });
            merge(&mut document, &script.lock().unwrap().discovery);
            wire.answer("200 OK", document.to_string())
        }
        "/jwks" => {
            let point = pair.public_key().as_ref();
            let [x, y] = [&point[1..33], &point[33..]].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
            let key = json!({"kty": "EC", "crv": "P-256", "kid": "1", "use": "sig", "x": x, "y": y});
            wire.answer("200 OK", json!({"keys": [key]}).to_string())
        }
        "/token" => {
            let delay = script.lock().unwrap().delay;
            std::thread::sleep(delay);
            let (status, body) = token(pair, &mut script.lock().unwrap(), &issuer, request);
            wire.answer(status, body)
        }
        "/me" => {
            assert_eq!(request.header("authorization"), "Bearer at");
            let info = script.lock().unwrap().user_info.to_string();
            wire.answer("200 OK", info)
        }
        _ => wire.answer("404 Not Found", ""),
    }
}

fn token(pair: &EcdsaKeyPair, script: &mut Script, issuer: &str, request: &Recorded) -> (&'static str, String) {
    if let Some((status, body)) = &script.token_response {
        return (status, body.clone());
    }
    let refused = |status, code: &str| (status, json!({"error": code}).to_string());
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic = BASE64_STANDARD.encode(format!("{}:{}", encoded(CLIENT), encoded(SECRET)));
    if request.header("authorization") != format!("Basic {basic}") {
        return refused("401 Unauthorized", "invalid_client");
    }
    let form: HashMap<String, String> = form_urlencoded::parse(&request.body).into_owned().collect();
    // A code works once.
    let Some(authorized) = form.get("code").and_then(|code| script.codes.remove(code)) else {
        return refused("400 Bad Request", "invalid_grant");
    };
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
    let fits = challenge == authorized.challenge && form["redirect_uri"] == authorized.redirect_uri;
    if !fits || form["grant_type"] != "authorization_code" {
        return refused("400 Bad Request", "invalid_grant");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({
        "iss": issuer, "sub": "ada", "aud": CLIENT, "iat": now, "exp": now + 60, "nonce": authorized.nonce,
        "groups": ["staff", "mlflow-admins"],
    });
    merge(&mut claims, &script.claims);
    let id_token = signed(pair, &json!({"alg": "ES256", "kid": "1", "typ": "JWT"}), &claims);
    ("200 OK", json!({"id_token": id_token, "access_token": "at", "token_type": "Bearer"}).to_string())
}

fn signed(pair: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(header), encode(claims));
    let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn merge(into: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            into[name] = value.clone();
        }
    }
}
