//! Account: answers the question of MLflow's page who its user is, which managed MLflow cannot know.
//!
//! MLflow 3.17 and later ask, as `mlflow/server/auth` of an MLflow with its own users answers. The page then shows the
//! caller's name, and its account page the caller's role and permissions. Older versions never ask.

use actix_web::HttpResponse;
use actix_web::http::header;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::access::caller::{Caller, Role};
use crate::serve::pipeline::authorize::Authorized;

/// The resource of the actions that are answered here.
const RESOURCE: &str = "users:";
/// The caller's number among MLflow's users. The page shows nobody else.
const USER_ID: u64 = 1;
/// The number of the caller's role among MLflow's roles.
const ROLE_ID: u64 = 1;

/// The name of the workspace of an MLflow that has no workspaces.
const WORKSPACE: &str = "default";

/// Answers a request about the caller's account; nothing if it is about something else.
pub(super) fn answer(authorized: &Authorized<'_>) -> Option<HttpResponse> {
    let resource = authorized.action.strip_prefix(RESOURCE)?;
    let routed = &authorized.routed;
    let document = document(resource, routed.caller, &routed.query)?;
    Some(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(document))
}

fn document(action: &str, caller: &Caller, query: &str) -> Option<Value> {
    Some(match action {
        // `is_admin` would offer the administration of MLflow's own users, and `is_basic_auth` a change of the password. Neither
        // exists here.
        "get-current" => json!({"user": user(caller), "is_basic_auth": false}),
        "list-own-permissions" => {
            json!({"is_admin": caller.role == Role::Admin, "permissions": permissions(caller.role)})
        }
        "list" => json!({"users": [user(caller)]}),
        "list-roles" => {
            let asked = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "username");
            let is_about_caller = asked.is_none_or(|(_, name)| name == caller.name);
            let role = json!({
                "id": ROLE_ID,
                "name": caller.role.as_str(),
                "workspace": WORKSPACE,
                "description": null,
                "permissions": permissions(caller.role),
            });
            json!({"roles": if is_about_caller { vec![role] } else { Vec::new() }})
        }
        _ => return None,
    })
}

fn user(caller: &Caller) -> Value {
    json!({"id": USER_ID, "username": caller.name, "is_admin": false})
}

/// Returns what a role may do, in MLflow's words. MLflow's page enables its controls by it.
fn permissions(role: Role) -> Vec<Value> {
    let (resources, permission): (&[&str], _) = match role {
        Role::Read => (&["experiment", "registered_model"], "READ"),
        Role::Write => (&["experiment", "registered_model"], "MANAGE"),
        // The page calls a role with this permission an administrator's.
        Role::Admin => (&["experiment", "registered_model", "workspace"], "MANAGE"),
    };
    let permission = |(index, resource): (usize, &&str)| {
        json!({
            "id": index + 1,
            "role_id": ROLE_ID,
            "role_name": role.as_str(),
            "workspace": WORKSPACE,
            "resource_type": resource,
            "resource_pattern": "*",
            "permission": permission,
        })
    };
    resources.iter().enumerate().map(permission).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::caller::{AuthMethod, Targets};
    use crate::access::routes;

    fn caller(role: Role) -> Caller {
        Caller {
            name: "ada+b".to_owned(),
            role,
            targets: Targets::All,
            auth_method: AuthMethod::Session,
            issuer: None,
            expires: None,
        }
    }

    #[test]
    fn every_route_of_users_has_an_answer() {
        let actions = routes::lines().filter_map(|line| line.route.action.strip_prefix(RESOURCE));
        let answered = actions.filter(|action| document(action, &caller(Role::Read), "").is_some()).count();
        assert_eq!(answered, 4, "and each of them once");
        assert!(routes::lines().filter(|line| line.route.action.starts_with(RESOURCE)).count() == answered);
        assert_eq!(document("get-all", &caller(Role::Admin), ""), None);
    }

    #[test]
    fn the_answers_name_the_caller_and_the_role() {
        let current = document("get-current", &caller(Role::Admin), "").expect("an answer");
        let expected = json!({"user": {"id": 1, "username": "ada+b", "is_admin": false}, "is_basic_auth": false});
        assert_eq!(current, expected);
        for (role, permission, is_admin) in
            [(Role::Read, "READ", false), (Role::Write, "MANAGE", false), (Role::Admin, "MANAGE", true)]
        {
            let own = document("list-own-permissions", &caller(role), "").expect("an answer");
            assert_eq!(own["is_admin"], is_admin);
            assert_eq!(own["permissions"][0]["permission"], permission);
            let roles = document("list-roles", &caller(role), "username=ada%2Bb").expect("an answer");
            assert_eq!(roles["roles"][0]["name"], role.as_str());
            // MLflow's page looks for this permission to call a role an administrator's.
            let is_managing = |given: &Value| given["resource_type"] == "workspace" && given["permission"] == "MANAGE";
            let permissions = roles["roles"][0]["permissions"].as_array().expect("a list");
            assert_eq!(permissions.iter().any(is_managing), is_admin);
            let others = document("list-roles", &caller(role), "username=bob").expect("an answer");
            assert_eq!(others, json!({"roles": []}));
        }
    }
}
