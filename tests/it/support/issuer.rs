//! An issuer of JWTs: it publishes keys as providers do, and signs any claims.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaKeyPair,
};
use serde_json::{Value, json};

use super::upstream::{Recorded, Upstream, Wire};

/// The audience of the tokens in tests.
pub const AUDIENCE: &str = "https://mlflow.corp.example";

/// A key that signs.
pub enum SigningKey {
    Ecdsa(EcdsaKeyPair, &'static str, usize),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl SigningKey {
    pub fn p256() -> Self {
        Self::ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", 32)
    }

    pub fn p384() -> Self {
        Self::ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", 48)
    }

    fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm, curve: &'static str, length: usize) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Ecdsa(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap(), curve, length)
    }

    pub fn ed25519() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    /// The only RSA key of the tests: ring generates none.
    pub fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(include_bytes!("keys/rsa-2048.pk8")).unwrap()))
    }

    /// The public key as a JSON Web Key.
    pub fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Ecdsa(pair, curve, length) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(*length);
                json!({"kty": "EC", "crv": curve, "kid": id, "use": "sig", "x": BASE64.encode(x), "y": BASE64.encode(y)})
            }
            Self::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": BASE64.encode(pair.public_key())})
            }
            Self::Rsa(pair) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "kid": id, "use": "sig", "n": BASE64.encode(public.n), "e": BASE64.encode(public.e)})
            }
        }
    }

    /// The signature of a text.
    pub fn sign(&self, algorithm: &str, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(pair, ..) => pair.sign(&random, text).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(text).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let padding: &dyn ring::signature::RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, text, &mut signature).unwrap();
                signature
            }
        }
    }

    /// A token with this header and these claims.
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// A token with a header and claims as they are written here.
    pub fn token_of(&self, header: &str, claims: &str) -> String {
        let algorithm = serde_json::from_str::<Value>(header).ok();
        let algorithm = algorithm.and_then(|header| header["alg"].as_str().map(ToOwned::to_owned));
        let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let signature = self.sign(&algorithm.unwrap_or_default(), signed.as_bytes());
        format!("{signed}.{}", BASE64.encode(signature))
    }
}

/// Answers a request in place of the issuer, and returns true, or leaves it to the issuer.
pub type Interception = dyn FnMut(&Recorded, &mut Wire) -> Option<io::Result<()>> + Send;

/// A running issuer.
pub struct TestIssuer {
    pub server: Upstream,
    keys: Arc<Mutex<Value>>,
    interception: Arc<Mutex<Option<Box<Interception>>>>,
}

impl TestIssuer {
    /// One with these keys.
    pub fn new(keys: &[Value]) -> Self {
        Self::start(keys, false)
    }

    /// One with these keys that speaks TLS.
    pub fn secure(keys: &[Value]) -> Self {
        Self::start(keys, true)
    }

    fn start(keys: &[Value], is_secure: bool) -> Self {
        let keys = Arc::new(Mutex::new(json!({"keys": keys})));
        let interception = Arc::<Mutex<Option<Box<Interception>>>>::default();
        let (published, first) = (Arc::clone(&keys), Arc::clone(&interception));
        let answer = move |request: &Recorded, wire: &mut Wire| {
            if let Some(answer) = first.lock().unwrap().as_mut()
                && let Some(done) = answer(request, wire)
            {
                return done;
            }
            let host = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).unwrap().1.clone();
            let scheme = if is_secure { "https" } else { "http" };
            let url = format!("{scheme}://{host}");
            let body = match request.target.as_str() {
                "/.well-known/openid-configuration" => json!({"issuer": url, "jwks_uri": format!("{url}/keys")}),
                "/keys" => published.lock().unwrap().clone(),
                _ => return wire.answer("404 Not Found", ""),
            };
            wire.answer("200 OK", body.to_string())
        };
        let server = if is_secure { Upstream::start(answer) } else { Upstream::plain(answer) };
        Self { server, keys, interception }
    }

    /// The issuer's `iss`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Publishes other keys.
    pub fn publish(&self, keys: &[Value]) {
        *self.keys.lock().unwrap() = json!({"keys": keys});
    }

    /// Answers differently from now on.
    pub fn intercept(&self, answer: impl FnMut(&Recorded, &mut Wire) -> Option<io::Result<()>> + Send + 'static) {
        *self.interception.lock().unwrap() = Some(Box::new(answer));
    }

    /// Answers as usual again.
    pub fn behave(&self) {
        *self.interception.lock().unwrap() = None;
    }

    /// The number of requests for its keys.
    pub fn fetches(&self) -> usize {
        self.server.requests().iter().filter(|request| request.target == "/keys").count()
    }

    /// Claims that are accepted, with these in addition.
    pub fn claims(&self, more: &Value) -> Value {
        let mut claims = json!({"iss": self.url(), "aud": AUDIENCE, "sub": "ada", "iat": now(), "exp": now() + 300});
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
