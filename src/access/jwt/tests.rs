use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

fn claims(value: Value) -> JwtClaims {
    let Value::Object(object) = value else { panic!("{value}") };
    JwtClaims::from(object)
}

#[test]
fn patterns_match_texts_lists_and_nested_claims() {
    let token = claims(json!({
        "repository": "corp/ml-x", "flag": true, "level": 7, "empty": "", "groups": ["a", "ml-b", 3],
        "realm_access": {"roles": ["x"]}, "a.b": "exact", "a": {"b": "nested"}, "https://corp/role": "admin",
        "kubernetes.io": {"namespace": "ml", "pod.name": {"x": "y"}}, "object": {"x": 1}, "nothing": null,
    }));
    for (pattern, expected) in [
        ("repository=corp/ml-x", true),
        ("repository=corp/*", true),
        ("repository=*/ml-*", true),
        ("repository=*", true),
        ("repository=*x", true),
        ("repository=c*p/*-*x", true),
        ("repository=corp/ml-x*", true),
        ("repository=**", true),
        ("repository=corp/ml", false),
        ("repository=ml-x", false),
        ("repository=*y", false),
        ("repository=corp/ml-x*x", false),
        ("repository=CORP/*", false),
        ("flag=true", true),
        ("level=7", true),
        ("level=*", true),
        ("groups=ml-*", true),
        ("groups=3", true),
        ("groups=c", false),
        ("realm_access.roles=x", true),
        ("realm_access.roles.x=x", false),
        ("a.b=exact", true),
        ("/a/b=nested", true),
        ("https://corp/role=admin", true),
        ("kubernetes.io.namespace=ml", true),
        ("/kubernetes.io/namespace=ml", true),
        ("kubernetes.io.pod.name.x=y", true),
        ("/https:~1~1corp~1role=admin", true),
        ("object=*", false),
        ("nothing=*", false),
        ("missing=*", false),
        ("kubernetes.io=*", false),
        ("/a=*", false),
    ] {
        assert_eq!(ClaimPattern::parse(pattern).expect(pattern).matches(&token), expected, "{pattern}");
    }
    assert!(ClaimPattern::parse("a=b=c").expect("a value with a sign").matches(&claims(json!({"a": "b=c"}))));
    for pattern in ["", "a", "=b", "a=", "/=b", "a\n=b", &format!("{}=b", "a".repeat(300))] {
        assert!(ClaimPattern::parse(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn a_long_pattern_takes_no_long_time() {
    let pattern = ClaimPattern::parse(&format!("a={}b", "*a".repeat(2000))).expect("a pattern");
    assert!(!pattern.matches(&claims(json!({"a": "a".repeat(16_000)}))));
}

#[test]
fn only_keys_that_can_verify_are_taken_from_a_set() {
    let (x, y) = (BASE64.encode([1; 32]), BASE64.encode([2; 32]));
    let rsa = |bits: usize| BASE64.encode([&[0x80][..], &vec![1; bits / 8 - 1]].concat());
    let with_zero = BASE64.encode([&[0, 0x80][..], &[1; 255]].concat());
    let cases = [
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}), Ok(())),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "key_ops": ["verify"]}), Ok(())),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": x}), Ok(())),
        (json!({"kty": "RSA", "n": rsa(2048), "e": "AQAB"}), Ok(())),
        (json!({"kty": "RSA", "n": with_zero, "e": "AQAB", "d": "a private part is ignored"}), Ok(())),
        (json!({"kty": "RSA", "n": rsa(8192), "e": "AQAB"}), Ok(())),
        (json!({"kty": "RSA", "n": rsa(1024), "e": "AQAB"}), Err(KeyRejected::Rsa)),
        (json!({"kty": "RSA", "n": rsa(16_384), "e": "AQAB"}), Err(KeyRejected::Rsa)),
        (json!({"kty": "RSA", "n": rsa(2048), "e": "Aw"}), Err(KeyRejected::Rsa)),
        (json!({"kty": "RSA", "n": rsa(2048), "e": "AQAA"}), Err(KeyRejected::Rsa)),
        (json!({"kty": "RSA", "n": rsa(2048)}), Err(KeyRejected::Malformed)),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "enc"}), Err(KeyRejected::Use)),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "key_ops": ["sign"]}), Err(KeyRejected::Use)),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": "AA"}), Err(KeyRejected::Malformed)),
        (json!({"kty": "EC", "crv": "P-256", "x": x}), Err(KeyRejected::Malformed)),
        (json!({"kty": "EC", "crv": "P-521", "x": x, "y": y}), Err(KeyRejected::Kind)),
        (json!({"kty": "EC", "crv": "secp256k1", "x": x, "y": y}), Err(KeyRejected::Kind)),
        (json!({"kty": "OKP", "crv": "X25519", "x": x}), Err(KeyRejected::Kind)),
        (json!({"kty": "oct", "k": x}), Err(KeyRejected::Kind)),
        (json!({"kty": 1}), Err(KeyRejected::Malformed)),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": 7}), Err(KeyRejected::Malformed)),
        (json!("key"), Err(KeyRejected::Malformed)),
    ];
    for (jwk, expected) in cases {
        assert_eq!(VerificationKey::from_jwk(&jwk).map(|_| ()), expected, "{jwk}");
    }
}

#[test]
fn a_set_is_bounded_and_its_keys_are_chosen_by_name_and_algorithm() {
    let key = |id: &str, more: Value| {
        let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode([1; 32]), "kid": id});
        more.as_object().expect("an object").iter().for_each(|(name, value)| jwk[name] = value.clone());
        jwk
    };
    let set = |keys: &[Value]| KeySet::parse(json!({"keys": keys}).to_string().as_bytes());
    let keys = set(&[key("a", json!({})), key("b", json!({"alg": "EdDSA"})), key("c", json!({"alg": "ES256"}))]);
    let keys = keys.expect("a set");
    let chosen = |id, algorithm| keys.choose(id, algorithm).map(|_| ());
    assert_eq!(chosen(Some("a"), JwtAlgorithm::EdDsa), Ok(()));
    assert_eq!(chosen(Some("b"), JwtAlgorithm::EdDsa), Ok(()));
    assert_eq!(chosen(Some("c"), JwtAlgorithm::EdDsa), Err(JwtError::UnknownKey), "the key is for another algorithm");
    assert_eq!(chosen(Some("a"), JwtAlgorithm::Rs256), Err(JwtError::UnknownKey));
    assert_eq!(chosen(Some("d"), JwtAlgorithm::EdDsa), Err(JwtError::UnknownKey));
    assert_eq!(chosen(None, JwtAlgorithm::EdDsa), Err(JwtError::AmbiguousKey));
    let twice = set(&[key("a", json!({})), key("a", json!({}))]).expect("a set");
    assert_eq!(twice.choose(Some("a"), JwtAlgorithm::EdDsa).map(|_| ()), Err(JwtError::AmbiguousKey));
    assert_eq!(set(&vec![key("a", json!({})); 101]), Err(KeySetError::TooMany));
    assert_eq!(set(&[]), Err(KeySetError::Unusable(None)));
    for text in ["", "[]", "{\"keys\": 1}", "{\"keys\": [], \"keys\": []}", "{\"keys\": []} x"] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn times_are_compared_with_the_leeway() {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("a key");
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let jwk = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": BASE64.encode(x), "y": BASE64.encode(y)}]});
    let keys = KeySet::parse(jwk.to_string().as_bytes()).expect("a set");
    let issuer = JwtIssuer {
        name: "ci".into(),
        url: "https://idp".to_owned(),
        audiences: vec!["us".to_owned()],
        audience_claim: "aud".to_owned(),
        algorithms: JwtAlgorithm::DEFAULT.to_vec(),
        leeway: Duration::from_secs(60),
        name_claim: ClaimPath::parse("sub").expect("a path"),
    };
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
    let verified = |times: &Value, now: SystemTime| {
        let mut claims = json!({"iss": "https://idp", "aud": ["x", "us"], "sub": "ada"});
        times.as_object().expect("an object").iter().for_each(|(name, value)| claims[name] = value.clone());
        let signed = format!("{}.{}", BASE64.encode(r#"{"alg":"ES256"}"#), BASE64.encode(claims.to_string()));
        let signature = pair.sign(&random, signed.as_bytes()).expect("a signature");
        let token = format!("{signed}.{}", BASE64.encode(signature));
        let jwt = UnverifiedJwt::parse(&token)?;
        jwt.verify(&issuer, &issuer.audiences, &keys, now).and_then(|claims| issuer.end(claims))
    };
    let times = json!({"exp": 1000, "nbf": 900, "iat": 900.5});
    assert_eq!(verified(&times, at(950)), Ok(at(1060)));
    assert_eq!(verified(&times, at(1059)), Ok(at(1060)));
    assert_eq!(verified(&times, at(1060)), Err(JwtError::Expired));
    assert_eq!(verified(&times, at(841)), Ok(at(1060)));
    assert_eq!(verified(&times, at(840)), Err(JwtError::IssuedInFuture));
    assert_eq!(verified(&times, at(839)), Err(JwtError::NotYetValid));
    assert_eq!(verified(&json!({"exp": 253_402_300_799_u64}), at(1)), Ok(at(253_402_300_859)));
    for exp in [json!(253_402_300_800_u64), json!(u64::MAX), json!(-0.1), json!("1"), json!(null), json!([])] {
        assert_eq!(verified(&json!({"exp": exp}), at(1)), Err(JwtError::Time), "{exp}");
    }
    assert_eq!(verified(&json!({}), at(1)), Err(JwtError::NoExpiry));
}

#[test]
fn algorithms_have_one_name_each() {
    for name in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"] {
        assert_eq!(name.parse::<JwtAlgorithm>().map(JwtAlgorithm::as_str), Ok(name));
    }
    for name in ["", "none", "HS256", "rs256", "ES512", "ES256K", "RS256 "] {
        assert!(name.parse::<JwtAlgorithm>().is_err(), "{name}");
    }
}
