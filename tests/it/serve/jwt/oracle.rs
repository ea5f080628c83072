//! Tokens that another implementation has signed.

use serde_json::{Value, json};

use super::{ConfigFile, SEARCH, ask, caller_table, event, issuer_table};
use crate::support::issuer::{AUDIENCE, TestIssuer};
use crate::support::python;
use crate::support::upstream::Upstream;

#[test]
#[ignore = "needs tests/run: a Python environment with joserfc"]
fn tokens_of_another_implementation_are_accepted_with_each_algorithm() {
    let bin = python::environment();
    let (upstream, issuer) = (Upstream::ok(), TestIssuer::new(&[]));
    let signed = python::run(&bin, "jwt_signer.py", &[&issuer.url(), AUDIENCE], b"");
    issuer.publish(signed["keys"].as_array().unwrap());
    let all = "algorithms = [\"RS256\", \"RS384\", \"RS512\", \"PS256\", \"PS384\", \"PS512\", \"ES256\", \"ES384\", \"EdDSA\"]";
    let caller = caller_table("ci", "claim = \"*\"\nrole = \"read\"");
    let tokens = signed["tokens"].as_array().unwrap();
    for (more, accepts) in [
        (all, &(|_: &str| true) as &dyn Fn(&str) -> bool),
        ("", &|algorithm| ["RS256", "PS256", "ES256", "EdDSA"].contains(&algorithm)),
    ] {
        let file = ConfigFile::new(&upstream, &(issuer_table("ci", &issuer, more) + &caller));
        let appliance = file.start();
        for Signed { algorithm, subject, token } in tokens.iter().map(Signed::of) {
            let answer = ask(&appliance, "POST", SEARCH, token);
            let expected = if accepts(algorithm) { (200, json!(subject)) } else { (401, Value::Null) };
            let found = (answer.status, event(&appliance, &answer)["caller"].clone());
            assert_eq!(found, expected, "{subject}: {}", answer.text());
        }
    }
    assert!(tokens.len() >= 13, "{}", tokens.len());
}

struct Signed<'a> {
    algorithm: &'a str,
    subject: &'a str,
    token: &'a str,
}

impl<'a> Signed<'a> {
    fn of(value: &'a Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap();
        Self { algorithm: text("algorithm"), subject: text("subject"), token: text("token") }
    }
}
