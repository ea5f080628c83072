//! The account of a caller as MLflow's page shows it: the appliance answers, because managed MLflow knows no users.

use serde_json::{Value, json};

use crate::support::Message as _;
use crate::support::appliance::{APP_ARN, Builder, TRACKING_ARN};
use crate::support::authority::authority;
use crate::support::tokens::TokenFile;
use crate::support::upstream::Upstream;

const CURRENT: &str = "/ajax-api/2.0/mlflow/users/current";

#[test]
fn mlflows_page_learns_who_its_user_is() {
    let upstream = Upstream::ok();
    let directory = tempfile::tempdir().unwrap();
    let (file, tokens) = (directory.path().join("appliance.toml"), TokenFile::new());
    let table = |name: &str, arn: &str| {
        format!("[[target]]\nname = \"{name}\"\nresource-arn = \"{arn}\"\nupstream-endpoint = \"{}\"\n", upstream.url())
    };
    let (trusted, path) = (authority().file(), tokens.path());
    let common = format!("ca-file = \"{}\"\ntokens = \"{}\"\n", trusted.display(), path.display());
    std::fs::write(&file, common + &table("research", TRACKING_ARN) + &table("ads", APP_ARN)).unwrap();
    let (ada, root) = (tokens.add("ada", "read", &["--targets", "ads"]), tokens.add("root", "admin", &[]));
    let appliance = Builder::from_file(&file).start();
    let ask = |path: &str, headers: &[(&str, &str)]| appliance.connect().request("GET", path, headers, None);

    let bearer = ada.bearer();
    let authorization = [("Authorization", &*bearer)];
    for path in [CURRENT, "/api/2.0/mlflow/users/current", "/api/2.0//mlflow/users/current"] {
        let answer = ask(&format!("/t/ads{path}"), &authorization);
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{path}");
        let expected = json!({"user": {"id": 1, "username": "ada", "is_admin": false}, "is_basic_auth": false});
        assert_eq!(answer.json(), expected, "{path}");
    }
    let is_logged =
        |event: &Value| event["caller"] == "ada" && event["action"] == "users:get-current" && event["mlflow"] == "ads";
    appliance.saw("the request in the log", |event| is_logged(event) && event["status"] == 200);

    let roles = ask("/t/ads/ajax-api/3.0/mlflow/users/roles/list?username=ada", &authorization).json();
    assert_eq!((&roles["roles"][0]["name"], &roles["roles"][0]["workspace"]), (&json!("read"), &json!("default")));
    let own = "/ajax-api/3.0/mlflow/users/current/permissions";
    assert_eq!(ask(&format!("/t/ads{own}"), &authorization).json()["is_admin"], false);
    assert_eq!(ask(own, &[("Authorization", &*root.bearer())]).json()["is_admin"], true);

    // It is a request as any other: for authentication, for the targets of a caller, and for methods.
    assert_eq!(ask(CURRENT, &[]).status, 401);
    let elsewhere = ask(CURRENT, &authorization);
    assert_eq!((elsewhere.status, elsewhere.header("x-appliance-error")), (403, "target-not-allowed"));
    let post = appliance.connect().request("POST", &format!("/t/ads{CURRENT}"), &authorization, Some(b"{}"));
    assert_eq!((post.status, post.header("x-appliance-error")), (403, "role-too-low"));
    assert_eq!(upstream.requests().len(), 0, "managed MLflow is not asked");
}
