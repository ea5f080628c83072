//! `appliance token` on tokens that AWS keeps: two operators at once lose nothing.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::appliance::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, full_binary, run};
use crate::support::tokens::TokenFile;
use crate::support::upstream::{Recorded, Upstream};
use crate::support::{Message, python, quiet_port};

/// The text of a token file with one token each.
fn tables(names: &[&str]) -> Vec<String> {
    let file = TokenFile::new();
    for name in names {
        file.add(name, "read", &[]);
    }
    file.text().split("\n[[token]]").skip(1).map(|table| format!("\n[[token]]{table}")).collect()
}

/// Runs `appliance token` on a secret that a server keeps.
fn token(server: &Upstream, arguments: &[&str]) -> (Option<i32>, String, String) {
    let variables = [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL", &server.url()),
    ];
    let output = run(&[&["token"], arguments].concat(), &variables);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The requests for one operation.
fn inputs(server: &Upstream, operation: &str) -> Vec<Value> {
    let is_meant = |request: &Recorded| request.header("x-amz-target").ends_with(&format!(".{operation}"));
    let requests = server.requests().into_iter().filter(is_meant);
    requests.map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

/// The change that another writer makes right before a write of ours.
type Interference = Box<dyn FnOnce(&mut Vec<String>) + Send>;

/// A Parameter Store with one parameter. Before its writes, others act in their order.
fn parameter_store(versions: Vec<String>, others: Vec<Interference>) -> Upstream {
    let state = Mutex::new((versions, others.into_iter()));
    Upstream::plain(move |request, wire| {
        let (versions, others) = &mut *state.lock().unwrap();
        let input: Value = serde_json::from_slice(&request.body).unwrap();
        let answer = match request.header("x-amz-target") {
            // Two versions on a page.
            "AmazonSSM.GetParameterHistory" => {
                let from = input["NextToken"].as_str().map_or(0, |next| next.parse().unwrap());
                let page = versions.iter().enumerate().skip(from).take(2).map(|(at, value)| {
                    json!({"Name": "/mlflow/tokens", "Version": at + 1, "Value": value, "Type": "SecureString",
                           "KeyId": "alias/own", "Tier": "Advanced"})
                });
                let page: Vec<_> = page.collect();
                let next = (from + 2 < versions.len()).then(|| (from + 2).to_string());
                json!({"Parameters": page, "NextToken": next})
            }
            "AmazonSSM.PutParameter" => {
                if let Some(other) = others.next() {
                    other(versions);
                }
                versions.push(input["Value"].as_str().unwrap().to_owned());
                json!({"Version": versions.len()})
            }
            other => panic!("{other}"),
        };
        wire.answer("200 OK", answer.to_string())
    })
}

#[test]
fn a_change_that_was_overwritten_in_the_parameter_store_is_restored() {
    let tables = tables(&["old", "kept", "second", "third"]);
    let text = |chosen: &[usize]| chosen.iter().map(|at| tables[*at].as_str()).collect::<String>();
    let (second, third) = (text(&[1, 2]), tables[3].clone());
    let server = parameter_store(
        vec![String::from("# nothing yet\n"), text(&[0]), text(&[0, 1])],
        vec![
            // Before our first write, another writer revokes `old` and adds `second`.
            Box::new(move |versions| versions.push(second)),
            // A third one reads what that write left, without `second`, and adds `third` before we repair it.
            Box::new(move |versions| versions.push(versions.last().unwrap().clone() + &third)),
        ],
    );
    let arn = "ssm:arn:aws:ssm:eu-central-1:123456789012:parameter/mlflow/tokens";
    let (code, _, said) = token(&server, &["new", "--name", "mine", "--role", "write", "--file", arn]);
    assert_eq!(code, Some(0), "{said}");
    let writes = inputs(&server, "PutParameter");
    let names = |write: &Value| {
        let text = write["Value"].as_str().unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("name = "));
        names.map(|name| name.trim_matches('"').to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&writes[0]), ["old", "kept", "mine"]);
    let mut all = names(writes.last().unwrap());
    all.sort();
    assert_eq!(all, ["kept", "mine", "second", "third"], "after {} writes", writes.len());
    assert_eq!(writes.len(), 3, "one to write, two to repair");
    for write in &writes {
        // AWS accepts no ARN here, and would fall back to its own key.
        assert_eq!(write["Name"], "/mlflow/tokens");
        assert_eq!(
            (&write["KeyId"], &write["Type"], &write["Tier"]),
            (&json!("alias/own"), &json!("SecureString"), &json!("Advanced"))
        );
    }
    let signed = server.requests();
    let authorization = signed[0].header("authorization");
    assert!(authorization.contains("/eu-central-1/ssm/aws4_request"), "the region of the ARN: {authorization}");
}

#[test]
fn a_writer_with_an_old_copy_does_not_bring_a_revoked_token_back() {
    let tables = tables(&["kept", "gone", "other"]);
    let text = |chosen: &[usize]| chosen.iter().map(|at| tables[*at].as_str()).collect::<String>();
    // Another writer has read the tokens before `gone` was revoked, and adds `other` right before our write.
    let stale = text(&[0, 1, 2]) + "# revoked:\n";
    let revoked = format!("{}# revoked: {}\n", text(&[0]), id(&tables[1]));
    let server = parameter_store(vec![text(&[0, 1]), revoked], vec![Box::new(move |versions| versions.push(stale))]);
    let arguments = ["new", "--name", "mine", "--role", "write", "--file", "ssm:/mlflow/tokens"];
    let (code, _, said) = token(&server, &arguments);
    assert_eq!(code, Some(0), "{said}");
    let writes = inputs(&server, "PutParameter");
    let last = writes.last().unwrap()["Value"].as_str().unwrap();
    for (name, is_there) in [("kept", true), ("mine", true), ("other", true), ("gone", false)] {
        assert_eq!(last.contains(&format!("name = \"{name}\"")), is_there, "{name}: {last}");
    }
}

/// The id in a token's table.
fn id(table: &str) -> String {
    let line = table.lines().find_map(|line| line.strip_prefix("id = ")).unwrap();
    line.trim_matches('"').to_owned()
}

#[test]
fn without_another_writer_the_parameter_store_is_read_and_written_once() {
    let server = parameter_store(vec![tables(&["old"])[0].clone()], Vec::new());
    let (code, stdout, said) = token(&server, &["revoke", "old", "--file", "ssm:/mlflow/tokens"]);
    assert_eq!((code, stdout.starts_with("revoked: ")), (Some(0), true), "{said}");
    assert_eq!(server.requests().len(), 2);
    assert!(!inputs(&server, "PutParameter")[0]["Value"].as_str().unwrap().contains("[[token]]"));
}

/// Secrets Manager with one secret. Other writers are faster than the first `conflicts` writes of ours; after that, the first
/// answer that a label has moved gets lost.
fn secrets_manager(tables: Vec<String>, conflicts: usize) -> Upstream {
    let versions = vec![("v0".to_owned(), tables[0].clone())];
    let state = Mutex::new((versions, "v0".to_owned(), 0, false));
    Upstream::plain(move |request, wire| {
        let (versions, current, moves, was_lost) = &mut *state.lock().unwrap();
        let input: Value = serde_json::from_slice(&request.body).unwrap();
        let text = |key: &str| input[key].as_str().unwrap_or_default().to_owned();
        let answer = match request.header("x-amz-target") {
            "secretsmanager.GetSecretValue" => {
                let (_, value) = versions.iter().find(|(version, _)| version == current).unwrap();
                json!({"VersionId": current, "SecretString": value})
            }
            "secretsmanager.PutSecretValue" => {
                assert_eq!(input["VersionStages"], json!(["appliance-next"]), "AWS would move AWSCURRENT by itself");
                versions.push((text("ClientRequestToken"), text("SecretString")));
                json!({"VersionId": text("ClientRequestToken")})
            }
            "secretsmanager.UpdateSecretVersionStage" => {
                *moves += 1;
                if *moves <= conflicts {
                    let (_, value) = versions.iter().find(|(version, _)| version == current).unwrap();
                    let other = value.clone() + tables.get(*moves).map_or("", String::as_str);
                    *current = format!("other-{moves}");
                    versions.push((current.clone(), other));
                }
                assert_eq!(input["VersionStage"], "AWSCURRENT");
                if text("RemoveFromVersionId") != *current {
                    let refusal = json!({"__type": "InvalidParameterException", "Message": "the label is elsewhere"});
                    return wire.answer("400 Bad Request", refusal.to_string());
                }
                *current = text("MoveToVersionId");
                if !std::mem::replace(was_lost, true) {
                    return wire.answer("500 Internal Server Error", "{\"__type\":\"InternalServiceError\"}");
                }
                json!({})
            }
            other => panic!("{other}"),
        };
        wire.answer("200 OK", answer.to_string())
    })
}

#[test]
fn secrets_manager_moves_its_label_only_from_the_version_that_was_read() {
    let server = secrets_manager(tables(&["old", "second", "third"]), 2);
    let (code, stdout, said) =
        token(&server, &["create", "--name", "mine", "--role", "write", "--file", "secretsmanager:mlflow"]);
    assert_eq!((code, stdout.starts_with("mlfa_")), (Some(0), true), "{said}");
    let moves = inputs(&server, "UpdateSecretVersionStage");
    let from: Vec<_> = moves.iter().map(|input| input["RemoveFromVersionId"].as_str().unwrap()).collect();
    // The answer to the third was lost, and the fourth repeats it: AWS refuses that, and the current version is ours.
    assert_eq!(from, ["v0", "other-1", "other-2", "other-2"]);
    let (_, list, _) = token(&server, &["ls", "--json", "--file", "secretsmanager:mlflow"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let names: Vec<_> = list.as_array().unwrap().iter().map(|token| token["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["old", "second", "third", "mine"]);
}

#[test]
fn a_writer_that_others_always_overtake_gives_up() {
    let server = secrets_manager(tables(&["old"]), usize::MAX);
    let (code, stdout, said) = token(&server, &["rm", "old", "--file", "secretsmanager:mlflow"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{said}");
    assert!(said.contains("others changed `mlflow` at the same time") && said.contains("hint: repeat"), "{said}");
    assert_eq!(inputs(&server, "UpdateSecretVersionStage").len(), 12);
}

#[test]
fn a_refusal_names_the_permission_that_is_missing() {
    let server = Upstream::plain(|_, wire| {
        let refusal =
            json!({"__type": "AccessDeniedException", "Message": "User: arn:aws:iam::1:user/a is not authorized"});
        wire.answer("400 Bad Request", refusal.to_string())
    });
    for (place, action) in
        [("ssm:/mlflow/tokens", "ssm:GetParameterHistory"), ("secretsmanager:mlflow", "secretsmanager:GetSecretValue")]
    {
        let (code, _, said) = token(&server, &["rm", "x", "--file", place]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("is not authorized") && said.contains(&format!("hint: allow `{action}` on")), "{said}");
    }
}

#[test]
fn a_place_that_holds_no_tokens_is_rejected_before_anything_is_asked() {
    let server = Upstream::ok();
    for (place, expected) in [
        ("credential:tokens", "name the file that the unit loads"),
        ("ssm:", "the name of the secret is invalid"),
        ("secretsmanager:a b", "the name of the secret is invalid"),
    ] {
        let (code, _, said) = token(&server, &["list", "--file", place]);
        assert!(code == Some(2) && said.contains(expected) && said.contains("hint:"), "{said}");
    }
    let nowhere = run(&["token", "list", "--file", "ssm:/t"], &[]);
    let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(nowhere.status.code() == Some(2) && said.contains("no region is configured"), "{said}");
    assert!(server.requests().is_empty());
}

#[test]
#[ignore = "needs tests/run: a Python environment with MLflow, botocore and moto"]
fn several_operators_at_once_lose_nothing() {
    let (bin, program) = (python::environment(), full_binary());
    for service in ["ssm", "secretsmanager"] {
        let port = quiet_port().to_string();
        let result = python::run(&bin, "moto_tokens.py", &[&port, program.to_str().unwrap(), service], b"");
        assert!(result["checks"].as_u64().unwrap() >= 17, "{service}: {result}");
    }
}
