//! The tests of `balancer_jwt.rs`.

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
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(der));
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

fn expected() -> ExpectedBalancerJwt {
    ExpectedBalancerJwt { signer: "arn:lb".into(), issuer: "https://idp".into(), client: Some("c".into()) }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_jwt_of_the_balancer_is_accepted_with_padding() {
    let balancer = Balancer::new();
    for name in ["a", "ab", "abc"] {
        let claims = json!({"sub": name, "groups": ["x", "mlflow"], "team": "blue", "empty": ""});
        let jwt = balancer.sign(&header(), &claims);
        let unverified = UnverifiedBalancerJwt::parse(&jwt).expect("well-formed");
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
fn any_other_jwt_is_rejected() {
    let balancer = Balancer::new();
    let claims = json!({"sub": "ada"});
    let verdict = |jwt: &str, now| {
        UnverifiedBalancerJwt::parse(jwt).and_then(|jwt| jwt.verify(&balancer.key(), &expected(), now)).map(|_| ())
    };
    let with = |name: &str, value: Value| {
        let mut header = header();
        header[name] = value;
        balancer.sign(&header, &claims)
    };
    let good = balancer.sign(&header(), &claims);
    assert_eq!(verdict(&good, at(159)), Ok(()));
    assert_eq!(verdict(&good, at(160)), Err(BalancerJwtError::Expired));
    assert_eq!(verdict(&with("alg", json!("none")), at(0)), Err(BalancerJwtError::Algorithm));
    assert_eq!(verdict(&with("alg", json!("HS256")), at(0)), Err(BalancerJwtError::Algorithm));
    assert_eq!(verdict(&with("signer", json!("arn:other")), at(0)), Err(BalancerJwtError::Signer));
    assert_eq!(verdict(&with("iss", json!("https://evil")), at(0)), Err(BalancerJwtError::Issuer));
    assert_eq!(verdict(&with("client", json!("other")), at(0)), Err(BalancerJwtError::Client));
    assert_eq!(verdict(&with("kid", json!("../evil")), at(0)), Err(BalancerJwtError::Malformed));
    assert_eq!(verdict(&with("exp", json!("soon")), at(0)), Err(BalancerJwtError::Malformed));
    for exp in [json!(u64::MAX), json!(-1), json!(1.5), json!(1e300), json!("1"), json!(null), json!([1])] {
        assert_eq!(verdict(&with("exp", exp.clone()), at(0)), Err(BalancerJwtError::Malformed), "{exp}");
    }
    for exp in (0..=200).map(|less| i64::MAX as u64 - less).chain((0..=200).map(|less| u64::MAX - less)) {
        let verdict = verdict(&with("exp", json!(exp)), at(0));
        assert!(matches!(verdict, Ok(()) | Err(BalancerJwtError::Malformed)), "{exp}: {verdict:?}");
    }
    assert_eq!(verdict(&Balancer::new().sign(&header(), &claims), at(0)), Err(BalancerJwtError::Signature));
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let (head, _) = signed.split_once('.').expect("three parts");
    let other = BASE64_URL_SAFE.encode(json!({"sub": "root"}).to_string());
    assert_eq!(verdict(&format!("{head}.{other}.{signature}"), at(0)), Err(BalancerJwtError::Signature));
    assert_eq!(verdict(&format!("{signed}."), at(0)), Err(BalancerJwtError::Signature));
    for text in ["", ".", "..", "a.b.c", "a.b", &format!("{good}.x"), &"x".repeat(LENGTH_LIMIT + 1)] {
        assert_eq!(verdict(text, at(0)), Err(BalancerJwtError::Malformed));
    }
}

#[test]
fn only_keys_on_p256_are_accepted() {
    for pem in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----"] {
        assert_eq!(PublicKey::from_pem(pem), None);
    }
}
