//! A table of forged, expired, replayed, swapped and oversized tokens. None is accepted, and each has its reason in the log.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD as BASE64};
use ring::hmac;
use serde_json::{Value, json};

use super::{ConfigFile, SEARCH, ask, caller_table, event, issuer_table};
use crate::support::appliance::Appliance;
use crate::support::issuer::{AUDIENCE, SigningKey, TestIssuer, now};
use crate::support::upstream::Upstream;
use crate::support::{Message as _, eventually, figure};

/// The issuers: one with a key of each kind, one with a key of the same `kid`, and one that may use ES384 only.
struct Setup {
    p256: SigningKey,
    ed25519: SigningKey,
    rsa: SigningKey,
    attacker: SigningKey,
    ci: TestIssuer,
    other: TestIssuer,
    strict: TestIssuer,
    other_key: SigningKey,
    strict_key: SigningKey,
}

impl Setup {
    fn new() -> Self {
        let (p256, ed25519, rsa) = (SigningKey::p256(), SigningKey::ed25519(), SigningKey::rsa());
        let (other_key, strict_key) = (SigningKey::p256(), SigningKey::p384());
        let mut encryption = SigningKey::p256().jwk("encryption");
        encryption["use"] = json!("enc");
        let keys = [p256.jwk("ec"), ed25519.jwk("ed"), rsa.jwk("rsa"), encryption];
        Self {
            ci: TestIssuer::new(&keys),
            other: TestIssuer::new(&[other_key.jwk("ec"), SigningKey::p256().jwk("ec-2")]),
            strict: TestIssuer::new(&[strict_key.jwk("ec384")]),
            attacker: SigningKey::p256(),
            p256,
            ed25519,
            rsa,
            other_key,
            strict_key,
        }
    }

    fn start(&self, upstream: &Upstream) -> (Appliance, ConfigFile) {
        let tables = [
            issuer_table("ci", &self.ci, "leeway = \"1s\""),
            issuer_table("other", &self.other, ""),
            issuer_table("strict", &self.strict, "algorithms = \"ES384\""),
            caller_table("ci", "claim = \"repository=corp/*\"\nrole = \"admin\""),
            caller_table("other", "claim = \"*\"\nrole = \"read\""),
            caller_table("strict", "claim = \"*\"\nrole = \"read\""),
        ];
        let file = ConfigFile::new(upstream, &tables.concat());
        (file.start(), file)
    }

    fn claims(&self, name: &str, value: Value) -> Value {
        let mut claims = self.ci.claims(&json!({"repository": "corp/ml-x"}));
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value;
        }
        claims
    }

    fn good(&self) -> String {
        self.p256.token(&head("", Value::Null), &self.claims("none", Value::Null))
    }
}

/// A header, with a change.
fn head(name: &str, value: Value) -> Value {
    let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": "ec"});
    if !name.is_empty() {
        header[name] = value;
    }
    header
}

/// A row: what is wrong, the token, and the reason in the log.
type Row = (&'static str, String, &'static str);

const NOT_JSON: &str = "not an object of JSON";
const MALFORMED: &str = "not three parts of base64url";
const SIGNATURE: &str = "its signature is wrong";
const ALGORITHM: &str = "the issuer may not use its algorithm";
const UNKNOWN_ISSUER: &str = "not one of the configured issuers";
const AUDIENCE_OF_OTHERS: &str = "meant for another audience";
const TYPE: &str = "its type is not that of an access token";
const CRITICAL: &str = "`crit`, `b64` or `zip`";
const HEADER: &str = "a parameter of its header has the wrong type";
const TIME: &str = "is not a valid time";
const DUPLICATE: &str = "a key occurs twice";
const NO_GRANT: &str = "no `[[caller]]` matches its claims";
const NO_KEY: &str = "publishes no key with its `kid`";

/// Tokens whose text is not that of a signed token.
fn misshapen(setup: &Setup) -> Vec<Row> {
    let good = setup.good();
    let parts: Vec<&str> = good.split('.').collect();
    let (header, claims) = (head("", Value::Null).to_string(), setup.claims("none", Value::Null).to_string());
    let with_header = |text: &str| setup.p256.token_of(text, &claims);
    let with_claims = |text: &str| setup.p256.token_of(&header, text);
    let encrypted = setup.p256.token(&head("enc", json!("A256GCM")), &setup.claims("none", Value::Null));
    let padded = format!("{}.{}.{}", BASE64_URL_SAFE.encode(&header), parts[1], parts[2]);
    let standard =
        format!("{}.{}.{}", BASE64_STANDARD.encode("{\"alg\":\"ES256\",\"x\":\"???~~~\"}"), parts[1], parts[2]);
    vec![
        (
            "it is oversized",
            setup.p256.token(&head("", Value::Null), &setup.claims("x", json!("x".repeat(16_000)))),
            "longer than 16 KiB",
        ),
        ("two parts", format!("{}.{}", parts[0], parts[1]), MALFORMED),
        ("four parts", format!("{good}.x"), MALFORMED),
        ("nine parts", "a.".repeat(8) + "a", MALFORMED),
        ("only dots", "..".to_owned(), NOT_JSON),
        ("JWE with five parts", format!("{good}.x.y"), "it is encrypted"),
        ("JWE in three parts", encrypted, "it is encrypted"),
        ("base64 with padding", padded, MALFORMED),
        ("base64 of another alphabet", standard, MALFORMED),
        ("white space inside", good.replacen('.', ". ", 1), MALFORMED),
        ("characters that are not base64", format!("?{good}"), MALFORMED),
        ("bits after the end of the signature", with_stray_bits(&good), MALFORMED),
        ("a character after the end of the signature", format!("{good}A"), SIGNATURE),
        ("a header that is a list", with_header("[\"ES256\"]"), NOT_JSON),
        ("a header that is no JSON", with_header("alg: ES256"), NOT_JSON),
        ("a header with something after it", with_header(&format!("{header} {header}")), NOT_JSON),
        ("an empty header", format!(".{}.{}", parts[1], parts[2]), NOT_JSON),
        ("claims that are a text", with_claims("\"sub\""), NOT_JSON),
        ("claims that are no JSON", with_claims("sub=ada"), NOT_JSON),
        ("claims that are not UTF-8", format!("{}.{}.{}", parts[0], BASE64.encode([0xff, 0xfe]), parts[2]), NOT_JSON),
        (
            "claims that are nested too deeply",
            with_claims(&format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500))),
            NOT_JSON,
        ),
        ("a repeated `alg`", with_header(&header.replacen('{', "{\"alg\":\"none\",", 1)), DUPLICATE),
        ("a repeated `sub`", with_claims(&claims.replacen('{', "{\"sub\":\"root\",", 1)), DUPLICATE),
        ("a repeated `aud` with escapes", with_claims(&claims.replacen('{', "{\"\\u0061ud\":\"x\",", 1)), DUPLICATE),
        ("a repeated key inside", with_claims(&claims.replacen('{', "{\"x\":[{\"a\":1,\"a\":2}],", 1)), DUPLICATE),
    ]
}

/// The token with bits in its last character that belong to no byte.
fn with_stray_bits(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    format!(
        "{rest}{}",
        match last {
            "A" => "B",
            "Q" => "R",
            "g" => "h",
            "w" => "x",
            other => panic!("{other}"),
        }
    )
}

/// Tokens whose header asks for something else.
fn headers(setup: &Setup) -> Vec<Row> {
    let change = |name: &str, value: Value| setup.p256.token(&head(name, value), &setup.claims("none", Value::Null));
    let jwk = setup.attacker.jwk("ec");
    let own_key =
        |name: &str, value: Value| setup.attacker.token(&head(name, value), &setup.claims("none", Value::Null));
    let unsigned = |algorithm: &str| {
        let header = BASE64.encode(head("alg", json!(algorithm)).to_string());
        format!("{header}.{}.", BASE64.encode(setup.claims("none", Value::Null).to_string()))
    };
    // The public key as the secret of an HMAC, the classic confusion.
    let confused = |secret: &[u8]| {
        let header = BASE64.encode(head("alg", json!("HS256")).to_string());
        let signed = format!("{header}.{}", BASE64.encode(setup.claims("none", Value::Null).to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        format!("{signed}.{}", BASE64.encode(tag))
    };
    let public = setup.p256.jwk("ec");
    let modulus = BASE64.decode(setup.rsa.jwk("rsa")["n"].as_str().unwrap()).unwrap();
    vec![
        ("algorithm none", unsigned("none"), ALGORITHM),
        ("algorithm None", unsigned("None"), ALGORITHM),
        ("an empty algorithm", unsigned(""), ALGORITHM),
        ("HMAC with the public key as JSON", confused(public.to_string().as_bytes()), ALGORITHM),
        ("HMAC with the modulus", confused(&modulus), ALGORITHM),
        ("an algorithm that is not on the list", change("alg", json!("ES384")), ALGORITHM),
        ("an algorithm in lower case", change("alg", json!("es256")), ALGORITHM),
        ("an algorithm that is a number", change("alg", json!(256)), HEADER),
        ("no algorithm", setup.p256.token(&json!({"kid": "ec"}), &setup.claims("none", Value::Null)), HEADER),
        (
            "the key of another algorithm",
            setup.p256.token(&json!({"alg": "RS256", "kid": "ec"}), &setup.claims("none", Value::Null)),
            NO_KEY,
        ),
        ("critical extensions", change("crit", json!(["exp"])), CRITICAL),
        ("an empty list of critical extensions", change("crit", json!([])), CRITICAL),
        ("an unencoded payload", change("b64", json!(false)), CRITICAL),
        ("compressed claims", change("zip", json!("DEF")), CRITICAL),
        ("a logout token", change("typ", json!("logout+jwt")), TYPE),
        ("a security event", change("typ", json!("secevent+jwt")), TYPE),
        ("a DPoP proof", change("typ", json!("dpop+jwt")), TYPE),
        ("a JWS in general", change("typ", json!("JOSE")), TYPE),
        ("a type that is a list", change("typ", json!(["JWT"])), HEADER),
        (
            "an old logout token",
            setup.p256.token(
                &json!({"alg": "ES256", "kid": "ec"}),
                &setup.claims("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}})),
            ),
            TYPE,
        ),
        ("its own key in `jwk`", own_key("jwk", jwk), SIGNATURE),
        ("its own key set in `jku`", own_key("jku", json!("https://attacker.example/keys")), SIGNATURE),
        ("its own certificate in `x5c`", own_key("x5c", json!(["MIIB"])), SIGNATURE),
        ("its own certificate at `x5u`", own_key("x5u", json!("https://attacker.example/cert")), SIGNATURE),
        ("a `kid` that is a number", change("kid", json!(1)), HEADER),
        ("a very long `kid`", change("kid", json!("k".repeat(600))), HEADER),
        (
            "no `kid` where several keys fit",
            setup.other_key.token(&json!({"alg": "ES256"}), &setup.claims("iss", json!(setup.other.url()))),
            "several keys of its issuer fit",
        ),
        (
            "no `kid`, signed by another kind of key",
            setup.rsa.token(&json!({"alg": "ES256"}), &setup.claims("none", Value::Null)),
            SIGNATURE,
        ),
    ]
}

/// Tokens that are signed by the wrong key, or changed afterwards.
fn signatures(setup: &Setup) -> Vec<Row> {
    let good = setup.good();
    let parts: Vec<&str> = good.split('.').collect();
    let (header, claims) = (head("", Value::Null), setup.claims("none", Value::Null));
    let changed = BASE64.encode(setup.claims("repository", json!("corp/other")).to_string());
    let zeros = BASE64.encode([0; 64]);
    let raw = BASE64.decode(parts[2]).unwrap();
    let cut = BASE64.encode(&raw[..63]);
    let longer = BASE64.encode([&raw[..], &[0]].concat());
    let rsa = |algorithm: &str| setup.rsa.token(&json!({"alg": algorithm, "kid": "rsa"}), &claims);
    let pss_as_pkcs1 = {
        let header = BASE64.encode(json!({"alg": "RS256", "kid": "rsa"}).to_string());
        let signed = format!("{header}.{}", BASE64.encode(claims.to_string()));
        format!("{signed}.{}", BASE64.encode(setup.rsa.sign("PS256", signed.as_bytes())))
    };
    vec![
        ("an attacker's key", setup.attacker.token(&header, &claims), SIGNATURE),
        ("the key of another issuer with the same `kid`", setup.other_key.token(&header, &claims), SIGNATURE),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), SIGNATURE),
        ("a signature of zeros", format!("{}.{}.{zeros}", parts[0], parts[1]), SIGNATURE),
        ("a signature that is cut", format!("{}.{}.{cut}", parts[0], parts[1]), SIGNATURE),
        ("a signature that is longer", format!("{}.{}.{longer}", parts[0], parts[1]), SIGNATURE),
        ("changed claims", format!("{}.{changed}.{}", parts[0], parts[2]), SIGNATURE),
        (
            "a changed header",
            format!("{}.{}.{}", BASE64.encode(head("x", json!(1)).to_string()), parts[1], parts[2]),
            SIGNATURE,
        ),
        ("PSS in the place of PKCS #1", pss_as_pkcs1, SIGNATURE),
        ("RS512, which is not on the list", rsa("RS512"), ALGORITHM),
        ("the key for encryption", setup.p256.token(&head("kid", json!("encryption")), &claims), NO_KEY),
        ("ECDSA with the key for Ed25519", setup.p256.token(&head("kid", json!("ed")), &claims), NO_KEY),
        ("a made-up `kid`", setup.p256.token(&head("kid", json!("../../etc/passwd")), &claims), NO_KEY),
        (
            "Ed25519 by another key",
            SigningKey::ed25519().token(&json!({"alg": "EdDSA", "kid": "ed"}), &claims),
            SIGNATURE,
        ),
        (
            "ES256 where only ES384 is allowed",
            {
                let claims = setup.strict.claims(&json!({}));
                setup.p256.token(&json!({"alg": "ES256", "kid": "ec384"}), &claims)
            },
            ALGORITHM,
        ),
    ]
}

/// Tokens that an issuer has signed, and that are not for this appliance, or not now.
fn claims(setup: &Setup) -> Vec<Row> {
    let header = head("", Value::Null);
    let with = |name: &str, value: Value| setup.p256.token(&header, &setup.claims(name, value));
    let of_strict =
        setup.strict_key.token(&json!({"alg": "ES384", "kid": "ec384"}), &setup.claims("iss", json!(setup.ci.url())));
    vec![
        ("no issuer", with("iss", Value::Null), UNKNOWN_ISSUER),
        ("another issuer", with("iss", json!("https://attacker.example")), UNKNOWN_ISSUER),
        ("the issuer with a slash", with("iss", json!(format!("{}/", setup.ci.url()))), UNKNOWN_ISSUER),
        ("the issuer in capitals", with("iss", json!(setup.ci.url().to_uppercase())), UNKNOWN_ISSUER),
        ("the issuer's path", with("iss", json!(format!("{}/x", setup.ci.url()))), UNKNOWN_ISSUER),
        ("a list of issuers", with("iss", json!([setup.ci.url()])), UNKNOWN_ISSUER),
        ("issuer `other`, signed by `ci`", with("iss", json!(setup.other.url())), SIGNATURE),
        ("issuer `ci`, signed by `strict`", of_strict, ALGORITHM),
        ("no audience", with("aud", Value::Null), AUDIENCE_OF_OTHERS),
        ("another audience", with("aud", json!("https://other.corp.example")), AUDIENCE_OF_OTHERS),
        ("the audience with a slash", with("aud", json!(format!("{AUDIENCE}/"))), AUDIENCE_OF_OTHERS),
        ("a list of other audiences", with("aud", json!(["a", "b"])), AUDIENCE_OF_OTHERS),
        ("a list within a list of audiences", with("aud", json!([[AUDIENCE]])), AUDIENCE_OF_OTHERS),
        ("an audience that is an object", with("aud", json!({AUDIENCE: 1})), AUDIENCE_OF_OTHERS),
        ("no expiry", with("exp", Value::Null), "it has no expiry"),
        ("it has expired", with("exp", json!(now() - 5)), "it has expired"),
        ("it expired in 1970", with("exp", json!(0)), "it has expired"),
        ("it is not valid yet", with("nbf", json!(now() + 100)), "it is not valid yet"),
        ("it was issued in the future", with("iat", json!(now() + 100)), "issued in the future"),
        ("an expiry that is a text", with("exp", json!("9999999999")), TIME),
        ("an expiry that no clock shows", with("exp", json!(1e300)), TIME),
        ("the largest expiry", with("exp", json!(u64::MAX)), TIME),
        ("a negative expiry", with("exp", json!(-1)), TIME),
        ("a start that is a list", with("nbf", json!([])), TIME),
        ("an issue that is true", with("iat", json!(true)), TIME),
    ]
}

/// Tokens that are valid, and to which nothing is granted.
fn without_grant(setup: &Setup) -> Vec<Row> {
    let header = head("", Value::Null);
    let with = |name: &str, value: Value| setup.p256.token(&header, &setup.claims(name, value));
    vec![
        ("another repository", with("repository", json!("evil/corp/x")), NO_GRANT),
        ("no repository", with("repository", Value::Null), NO_GRANT),
        ("a repository that is an object", with("repository", json!({"corp/": 1})), NO_GRANT),
        ("no name", with("sub", Value::Null), "the claim that names the caller is missing"),
        ("an empty name", with("sub", json!("")), "the claim that names the caller is missing"),
        ("a name that is a list", with("sub", json!(["ada"])), "the claim that names the caller is missing"),
    ]
}

#[test]
fn no_forged_expired_swapped_or_oversized_token_is_accepted() {
    let (upstream, setup) = (Upstream::ok(), Setup::new());
    let (appliance, _file) = setup.start(&upstream);
    let rejected = [misshapen(&setup), headers(&setup), signatures(&setup), claims(&setup)].concat();
    let denied = without_grant(&setup);
    let all = rejected.iter().map(|row| (row, 401)).chain(denied.iter().map(|row| (row, 403)));
    let before = upstream.requests().len();
    let mut checked = 0;
    std::thread::scope(|scope| {
        // Those with an unknown key wait for newer keys.
        let checks: Vec<_> = all
            .map(|((what, token, reason), status)| {
                let appliance = &appliance;
                scope.spawn(move || {
                    let answer = ask(appliance, "POST", SEARCH, token);
                    assert_eq!(answer.status, status, "{what}: {}", answer.text());
                    let event = event(appliance, &answer);
                    let cause = event["cause"].as_str().unwrap();
                    assert!(cause.contains(reason), "{what}: {cause}");
                    let code = if status == 401 { "unauthenticated" } else { "no-grant" };
                    assert_eq!((event["error_code"].as_str(), &event["caller"]), (Some(code), &Value::Null), "{what}");
                    assert_eq!(answer.header("x-appliance-error"), code, "{what}");
                })
            })
            .collect();
        for check in checks {
            check.join().unwrap();
            checked += 1;
        }
    });
    assert_eq!(upstream.requests().len(), before, "nothing was forwarded");
    assert!(checked >= 60, "{checked}");
    figure(&format!("forged tokens: {checked} rejected, each with its reason in the log"));
    let log = appliance.log();
    assert!(!appliance.has_panicked(), "{log}");
    for (what, token, _) in rejected.iter().chain(&denied) {
        let claims = token.split('.').nth(1).unwrap_or_default();
        assert!(claims.len() < 20 || !log.contains(claims), "{what}: the log has a part of the token");
    }

    let answer = ask(&appliance, "POST", SEARCH, &setup.good());
    assert_eq!(answer.status, 200, "a good token: {}", answer.text());
    let event = event(&appliance, &answer);
    assert_eq!((&event["caller"], &event["means"], &event["issuer"]), (&json!("ada"), &json!("jwt"), &json!("ci")));
    let scrape = appliance.admin("/metrics").text();
    for sample in ["issuer=\"ci\",result=\"accepted\"} 1", "issuer=\"(none)\",result=\"unknown-issuer\"} 6"] {
        assert!(scrape.contains(&format!("appliance_jwt_verifications_total{{{sample}")), "{sample}: {scrape}");
    }
}

#[test]
fn a_token_is_not_accepted_after_its_end_even_if_it_is_remembered() {
    let (upstream, setup) = (Upstream::ok(), Setup::new());
    let (appliance, _file) = setup.start(&upstream);
    let end = now() + 3;
    let token = setup.p256.token(&head("", Value::Null), &setup.claims("exp", json!(end)));
    assert_eq!(ask(&appliance, "POST", SEARCH, &token).status, 200);
    assert_eq!(ask(&appliance, "POST", SEARCH, &token).status, 200, "it is remembered");
    // One second of leeway.
    eventually("the token has expired", || ask(&appliance, "POST", SEARCH, &token).status == 401);
    assert!(now() > end && now() <= end + 4);
    let replayed = ask(&appliance, "POST", SEARCH, &token);
    assert!(event(&appliance, &replayed)["cause"].as_str().unwrap().contains("it has expired"));
}

#[test]
fn each_kind_of_key_and_algorithm_is_verified() {
    let (upstream, setup) = (Upstream::ok(), Setup::new());
    let (appliance, _file) = setup.start(&upstream);
    let claims = setup.claims("none", Value::Null);
    for (key, header) in [
        (&setup.p256, json!({"alg": "ES256", "kid": "ec", "typ": "JWT"})),
        (&setup.p256, json!({"alg": "ES256", "kid": "ec", "typ": "at+jwt"})),
        (&setup.p256, json!({"alg": "ES256", "kid": "ec", "typ": "application/at+JWT"})),
        (&setup.p256, json!({"alg": "ES256", "kid": "ec", "x5t": "x", "jku": "https://ignored.example"})),
        (&setup.p256, json!({"alg": "ES256"})),
        (&setup.ed25519, json!({"alg": "EdDSA", "kid": "ed"})),
        (&setup.ed25519, json!({"alg": "Ed25519"})),
        (&setup.rsa, json!({"alg": "RS256", "kid": "rsa"})),
        (&setup.rsa, json!({"alg": "PS256", "kid": "rsa"})),
    ] {
        let answer = ask(&appliance, "POST", SEARCH, &key.token(&header, &claims));
        assert_eq!(answer.status, 200, "{header}: {}", answer.text());
    }
    let token = setup.strict_key.token(&json!({"alg": "ES384", "kid": "ec384"}), &setup.strict.claims(&json!({})));
    assert_eq!(ask(&appliance, "POST", SEARCH, &token).status, 200);
    assert!(
        upstream
            .requests()
            .iter()
            .all(|request| !request.all("authorization").iter().any(|value| value.contains("eyJ")))
    );
}
