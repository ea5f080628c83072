//! What an Application Load Balancer says of a user who signed in there: the JWT in `x-amzn-oidc-data`.
//!
//! It is signed with ES256 by a key that AWS publishes per region. Two things differ from an ordinary JWT: the header
//! holds `signer` and `exp`, and all parts are base64url *with* padding, which common JWT libraries refuse.
//! (<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html>)

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::caller::Subject;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Claims of a user in many groups; headers are limited to less.
const LENGTH_LIMIT: usize = 64 * 1024;
/// The balancer's clock may be ahead or behind by as much. Seconds.
const LEEWAY_S: u64 = 60;
/// What precedes the point in the DER of a public key on P-256 (RFC 5480).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Whose word is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// ARN of the load balancer.
    pub signer: String,
    /// The identity provider.
    pub issuer: String,
    /// The client id at the provider; any if it is not set.
    pub client: Option<String>,
}

/// A key that signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

/// Why the word is not believed. None of these texts holds anything of the JWT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// Not three parts of base64url, or not the JSON that it should be.
    #[error("it is malformed")]
    Malformed,
    /// Another algorithm than ES256.
    #[error("it is not signed with ES256")]
    Algorithm,
    /// Signed by another load balancer.
    #[error("it was signed by another load balancer")]
    Signer,
    /// From another identity provider.
    #[error("it is from another identity provider")]
    Issuer,
    /// Meant for another application.
    #[error("it is meant for another client of the identity provider")]
    Client,
    /// Past its time.
    #[error("it has expired")]
    Expired,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// There is no key of that name, or it cannot be obtained.
    #[error("the key that signed it could not be obtained")]
    NoKey,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    signer: String,
    iss: String,
    client: String,
    exp: u64,
}

/// A JWT that has the right form, of which nothing is believed yet.
pub struct Unverified<'a> {
    header: Header,
    signed: &'a str,
    signature: Vec<u8>,
    payload: Vec<u8>,
}

/// What is said of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

impl PublicKey {
    /// Reads PEM text.
    #[must_use]
    pub fn from_pem(text: &str) -> Option<Self> {
        let body = text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
        let body: String = body.split_whitespace().collect();
        let der = BASE64_STANDARD.decode(body).ok()?;
        let point = der.strip_prefix(&P256_PREFIX)?;
        (point.len() == 65 && point[0] == 4).then(|| Self(point.to_vec()))
    }
}

impl<'a> Unverified<'a> {
    /// Takes a JWT apart.
    ///
    /// # Errors
    /// [`OidcError::Malformed`] and [`OidcError::Algorithm`].
    pub fn parse(text: &'a str) -> Result<Self, OidcError> {
        if text.len() > LENGTH_LIMIT {
            return Err(OidcError::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(OidcError::Malformed)?;
        let (header, payload) =
            signed.split_once('.').filter(|(_, rest)| !rest.contains('.')).ok_or(OidcError::Malformed)?;
        let decode = |part: &str| BASE64.decode(part).map_err(|_| OidcError::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| OidcError::Malformed)?;
        // SECURITY: the algorithm is ours to choose, never the token's; `none` and HMAC with a public key end here.
        if header.alg != "ES256" {
            return Err(OidcError::Algorithm);
        }
        // SECURITY: the key's name becomes part of a URL.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if header.kid.is_empty() || header.kid.len() > 64 || !header.kid.bytes().all(is_name) {
            return Err(OidcError::Malformed);
        }
        Ok(Self { header, signed, signature: decode(signature)?, payload: decode(payload)? })
    }

    /// Which key is said to have signed it.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.header.kid
    }

    /// Checks what costs nothing: whose it claims to be, and until when it holds.
    ///
    /// # Errors
    /// [`OidcError`].
    pub fn check(&self, expected: &Expected, now: SystemTime) -> Result<(), OidcError> {
        if self.header.signer != expected.signer {
            return Err(OidcError::Signer);
        }
        if self.header.iss != expected.issuer {
            return Err(OidcError::Issuer);
        }
        if expected.client.as_ref().is_some_and(|client| *client != self.header.client) {
            return Err(OidcError::Client);
        }
        // SECURITY: nobody has verified the number yet, and adding to a time panics where it overflows.
        let end = self.header.exp.checked_add(LEEWAY_S).map(Duration::from_secs);
        let end = end.and_then(|end| UNIX_EPOCH.checked_add(end)).ok_or(OidcError::Malformed)?;
        if end <= now { Err(OidcError::Expired) } else { Ok(()) }
    }

    /// Checks everything, and gives what is said of the user.
    ///
    /// # Errors
    /// [`OidcError`].
    pub fn verify(self, key: &PublicKey, expected: &Expected, now: SystemTime) -> Result<Claims, OidcError> {
        self.check(expected, now)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.0)
            .verify(self.signed.as_bytes(), &self.signature)
            .map_err(|_| OidcError::Signature)?;
        let claims: Map<String, Value> = serde_json::from_slice(&self.payload).map_err(|_| OidcError::Malformed)?;
        Ok(Claims(claims))
    }
}

impl Claims {
    /// A claim that is a text and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// True if a grant to `subject` is meant for this user.
    #[must_use]
    pub fn fit(&self, subject: &Subject) -> bool {
        match subject {
            Subject::AnyUser => true,
            Subject::Claim { name, value } => match self.0.get(name) {
                Some(Value::String(text)) => text == value,
                Some(Value::Array(list)) => list.iter().any(|item| item.as_str() == Some(value)),
                _ => false,
            },
            Subject::Certificate(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_URL_SAFE;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    struct Balancer(EcdsaKeyPair);

    impl Balancer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
            Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("a key"))
        }

        fn key(&self) -> PublicKey {
            let der = [P256_PREFIX.as_slice(), self.0.public_key().as_ref()].concat();
            let pem =
                format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(der));
            PublicKey::from_pem(&pem).expect("PEM")
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let encode = |value: &Value| BASE64_URL_SAFE.encode(value.to_string());
            let signed = format!("{}.{}", encode(header), encode(claims));
            let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).expect("signed");
            format!("{signed}.{}", BASE64_URL_SAFE.encode(signature))
        }
    }

    fn header() -> Value {
        json!({"typ": "JWT", "kid": "k-1", "alg": "ES256", "iss": "https://idp", "client": "c", "signer": "arn:lb", "exp": 100})
    }

    fn expected() -> Expected {
        Expected { signer: "arn:lb".into(), issuer: "https://idp".into(), client: Some("c".into()) }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn what_the_balancer_signed_is_believed_padding_and_all() {
        let balancer = Balancer::new();
        for name in ["a", "ab", "abc"] {
            let claims = json!({"sub": name, "groups": ["x", "mlflow"], "team": "blue", "empty": ""});
            let jwt = balancer.sign(&header(), &claims);
            let unverified = Unverified::parse(&jwt).expect("well-formed");
            assert_eq!(unverified.key_id(), "k-1");
            let claims = unverified.verify(&balancer.key(), &expected(), at(100)).expect("believed");
            assert_eq!((claims.text("sub"), claims.text("empty"), claims.text("groups")), (Some(name), None, None));
            let claim = |name: &str, value: &str| Subject::Claim { name: name.into(), value: value.into() };
            assert!(claims.fit(&claim("groups", "mlflow")) && claims.fit(&claim("team", "blue")));
            assert!(!claims.fit(&claim("groups", "admins")) && !claims.fit(&claim("missing", "")));
            assert!(claims.fit(&Subject::AnyUser) && !claims.fit(&Subject::Certificate("dns:x".into())));
        }
    }

    #[test]
    fn nothing_else_is() {
        let balancer = Balancer::new();
        let claims = json!({"sub": "ada"});
        let verdict = |jwt: &str, now| {
            Unverified::parse(jwt).and_then(|jwt| jwt.verify(&balancer.key(), &expected(), now)).map(|_| ())
        };
        let with = |name: &str, value: Value| {
            let mut header = header();
            header[name] = value;
            balancer.sign(&header, &claims)
        };
        let good = balancer.sign(&header(), &claims);
        assert_eq!(verdict(&good, at(159)), Ok(()));
        assert_eq!(verdict(&good, at(160)), Err(OidcError::Expired));
        assert_eq!(verdict(&with("alg", json!("none")), at(0)), Err(OidcError::Algorithm));
        assert_eq!(verdict(&with("alg", json!("HS256")), at(0)), Err(OidcError::Algorithm));
        assert_eq!(verdict(&with("signer", json!("arn:other")), at(0)), Err(OidcError::Signer));
        assert_eq!(verdict(&with("iss", json!("https://evil")), at(0)), Err(OidcError::Issuer));
        assert_eq!(verdict(&with("client", json!("other")), at(0)), Err(OidcError::Client));
        assert_eq!(verdict(&with("kid", json!("../evil")), at(0)), Err(OidcError::Malformed));
        assert_eq!(verdict(&with("exp", json!("soon")), at(0)), Err(OidcError::Malformed));
        for exp in [json!(u64::MAX), json!(-1), json!(1.5), json!(1e300), json!("1"), json!(null), json!([1])] {
            assert_eq!(verdict(&with("exp", exp.clone()), at(0)), Err(OidcError::Malformed), "{exp}");
        }
        for exp in (0..=200).map(|less| i64::MAX as u64 - less).chain((0..=200).map(|less| u64::MAX - less)) {
            let verdict = verdict(&with("exp", json!(exp)), at(0));
            assert!(matches!(verdict, Ok(()) | Err(OidcError::Malformed)), "{exp}: {verdict:?}");
        }
        assert_eq!(verdict(&Balancer::new().sign(&header(), &claims), at(0)), Err(OidcError::Signature));
        let (signed, signature) = good.rsplit_once('.').expect("three parts");
        let (head, _) = signed.split_once('.').expect("three parts");
        let other = BASE64_URL_SAFE.encode(json!({"sub": "root"}).to_string());
        assert_eq!(verdict(&format!("{head}.{other}.{signature}"), at(0)), Err(OidcError::Signature));
        assert_eq!(verdict(&format!("{signed}."), at(0)), Err(OidcError::Signature));
        for text in ["", ".", "..", "a.b.c", "a.b", &format!("{good}.x"), &"x".repeat(LENGTH_LIMIT + 1)] {
            assert_eq!(verdict(text, at(0)), Err(OidcError::Malformed));
        }
    }

    #[test]
    fn only_keys_on_p256_are_keys() {
        for pem in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----"] {
            assert_eq!(PublicKey::from_pem(pem), None);
        }
    }
}
