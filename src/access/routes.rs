//! MLflow's routes: the role and the action of a method and a path.
//!
//! The table is the file `routes.txt`. A test walks all routes of an installed MLflow, so that a release with a new one
//! is noticed; until a person has classified it, it needs the strictest role.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use percent_encoding::percent_decode_str;

use super::caller::Role;

const TABLE: &str = include_str!("routes.txt");
/// The prefixes that `*` at the beginning of a route stands for.
const PREFIXES: [&str; 4] = ["/api/2.0", "/api/3.0", "/ajax-api/2.0", "/ajax-api/3.0"];
/// The route of a request that the table does not contain.
pub const UNCLASSIFIED: Route = Route { role: Role::Admin, action: "unclassified:unknown" };

/// A request's path, read once. Policy, gateway and rewriting all look at the same text.
///
/// MLflow's server decodes a path before it looks for the route, `%2F` included; takes slashes at its beginning for one; and
/// redirects a path with a doubled slash to the path with one, unless a route has a place for any path there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePath<'a> {
    read: Cow<'a, str>,
    sent: Cow<'a, str>,
}

impl<'a> RoutePath<'a> {
    /// Reads a path in normal form.
    #[must_use]
    pub fn read(path: &'a str) -> Self {
        if !path.contains("//") && !path.contains("%2F") {
            return Self { read: Cow::Borrowed(path), sent: Cow::Borrowed(path) };
        }
        let plain = path.replace("%2F", "/");
        let rooted = format!("/{}", plain.trim_start_matches('/'));
        let is_route = |path: &str| INDEX.paths.at(&decoded(path)).is_ok();
        let read = if is_route(&rooted) { rooted } else { merged(&rooted) };
        // A path that is no known route passes as it came, but it is judged as MLflow could read it.
        let sent = if is_route(&read) { Cow::Owned(read.clone()) } else { Cow::Borrowed(path) };
        Self { read: Cow::Owned(read), sent }
    }

    /// Returns the path by which everything is decided, with one slash where MLflow sees one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.read
    }

    /// Returns the path to send.
    #[must_use]
    pub fn sent(&self) -> &str {
        &self.sent
    }
}

/// Returns a path with one slash for each row of slashes.
fn merged(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}

fn decoded(path: &str) -> Cow<'_, str> {
    if path.contains('%') { percent_decode_str(path).decode_utf8_lossy() } else { Cow::Borrowed(path) }
}

/// The role and the action of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The least role that may call it.
    pub role: Role,
    /// The action, as `resource:action`.
    pub action: &'static str,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct RouteLine {
    /// An HTTP method, or `QUERY` or `MUTATION` for a field of GraphQL.
    pub method: &'static str,
    /// The path, perhaps with `*` as its beginning, or the field.
    pub path: &'static str,
    /// The role and the action.
    pub route: Route,
}

/// Returns the table's lines, in their order.
pub fn lines() -> impl Iterator<Item = RouteLine> {
    TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let mut words = line.split_whitespace();
        let mut word = || words.next().expect("the table has four columns");
        let (method, path, role, action) = (word(), word(), word(), word());
        RouteLine { method, path, route: Route { role: role.parse().expect("the table names roles"), action } }
    })
}

struct Index {
    paths: matchit::Router<Vec<(&'static str, Route)>>,
    fields: HashMap<(&'static str, &'static str), Route>,
    /// This map is keyed by the type that has the field, and the field.
    nested: HashMap<(&'static str, &'static str), Route>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut by_path: HashMap<String, Vec<(&str, Route)>> = HashMap::new();
    let (mut fields, mut nested) = (HashMap::new(), HashMap::new());
    for RouteLine { method, path, route } in lines() {
        match path.strip_prefix('*') {
            _ if matches!(method, "QUERY" | "MUTATION") => match path.split_once('.') {
                Some(field) => drop(nested.insert(field, route)),
                None => drop(fields.insert((method, path), route)),
            },
            Some(rest) => {
                for prefix in PREFIXES {
                    by_path.entry(format!("{prefix}{rest}")).or_default().push((method, route));
                }
            }
            None => by_path.entry(path.to_owned()).or_default().push((method, route)),
        }
    }
    let mut paths = matchit::Router::new();
    for (path, methods) in by_path {
        paths.insert(path, methods).expect("no two routes of the table are in conflict");
    }
    Index { paths, fields, nested }
});

/// Returns the route of a request. `path` is percent-encoded, and as MLflow reads it: [`RoutePath`].
#[must_use]
pub fn of(method: &str, path: &str) -> Route {
    let decoded = decoded(path);
    if path.contains('%') && decoded.split('/').any(|segment| matches!(segment, "." | "..")) {
        return UNCLASSIFIED;
    }
    if method == "OPTIONS" {
        return Route { role: Role::Read, action: "options:get" };
    }
    let method = if method == "HEAD" { "GET" } else { method };
    INDEX
        .paths
        .at(&decoded)
        .ok()
        .and_then(|found| found.value.iter().find(|(known, _)| *known == method))
        .map_or(UNCLASSIFIED, |(_, route)| *route)
}

/// Returns the route of a field at the top of a GraphQL operation; `operation` is `QUERY` or `MUTATION`.
#[must_use]
pub fn of_field(operation: &str, field: &str) -> Route {
    INDEX.fields.get(&(operation, field)).copied().unwrap_or(UNCLASSIFIED)
}

/// Returns the route of a field below the top, or nothing if the field above it has already supplied its value.
#[must_use]
pub fn of_nested_field(parent: &str, field: &str) -> Option<Route> {
    INDEX.nested.get(&(parent, field)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, role: Role, action: &str) {
        assert_eq!(of(method, path), Route { role, action: of(method, path).action }, "{method} {path}");
        assert_eq!(of(method, path).action, action, "{method} {path}");
    }

    #[test]
    fn a_post_that_only_reads_needs_the_role_read() {
        check("POST", "/api/2.0/mlflow/runs/search", Role::Read, "runs:search");
        check("POST", "/ajax-api/2.0/mlflow/runs/search", Role::Read, "runs:search");
        check("POST", "/api/2.0mlflow/experiments/search-datasets", Role::Read, "experiments:search-datasets");
        check("POST", "/api/3.0/mlflow/traces/search", Role::Read, "traces:search");
        check("POST", "/api/2.0/mlflow/runs/create", Role::Write, "runs:create");
        check("POST", "/api/2.0/mlflow/experiments/delete", Role::Write, "experiments:delete");
        check("DELETE", "/api/2.0/mlflow/registered-models/delete", Role::Write, "registered-models:delete");
        check("DELETE", "/api/3.0/mlflow/traces/tr-1/tags", Role::Write, "traces:delete-tag");
        check("POST", "/v1/traces", Role::Write, "traces:export");
        check("POST", "/api/2.0/mlflow/webhooks", Role::Admin, "webhooks:create");
        check("GET", "/", Role::Read, "ui:get");
        check("HEAD", "/get-artifact", Role::Read, "artifacts:get");
        check("POST", "/gateway/gemini/v1beta/models/x:generateContent", Role::Write, "gateway:invoke");
        check("GET", "/api/2.0/mlflow-artifacts/artifacts/0/a/b.txt", Role::Read, "artifacts:get");
    }

    #[test]
    fn an_unknown_route_needs_the_strictest_role() {
        for (method, path) in [
            ("GET", "/api/9.0/mlflow/runs/get"),
            ("POST", "/api/2.0/mlflow/runs/obliterate"),
            ("PATCH", "/api/2.0/mlflow/runs/search"),
            ("GET", "/api/2.0/mlflow/runs/get/"),
            ("GET", "/api/2.0//mlflow/runs/get"),
            ("get", "/api/2.0/mlflow/runs/get"),
            ("QUERY", "mlflowGetRun"),
            ("GET", "/elsewhere"),
        ] {
            assert_eq!(of(method, path), UNCLASSIFIED, "{method} {path}");
        }
        assert_eq!(of_field("QUERY", "mlflowDropEverything"), UNCLASSIFIED);
        assert_eq!(of_field("MUTATION", "mlflowGetRun"), UNCLASSIFIED);
        assert_eq!(of_field("QUERY", "mlflowGetRun").action, "runs:get");
    }

    #[test]
    fn an_encoded_slash_cannot_hide_an_action() {
        check("DELETE", "/api/3.0/mlflow/traces/x%2Ftags", Role::Write, "traces:delete-tag");
        check("POST", "/api/2.0/mlflow%2Fruns/create", Role::Write, "runs:create");
        assert_eq!(of("GET", "/api/3.0/mlflow/traces/a%2F..%2F..%2Fwebhooks"), UNCLASSIFIED);
    }

    #[test]
    fn a_path_is_read_as_mlflow_reads_it() {
        for (path, read, sent) in [
            ("/api/2.0/mlflow/runs/get", "/api/2.0/mlflow/runs/get", "/api/2.0/mlflow/runs/get"),
            ("//api/2.0/mlflow/runs/get", "/api/2.0/mlflow/runs/get", "/api/2.0/mlflow/runs/get"),
            ("////graphql", "/graphql", "/graphql"),
            ("//", "/", "/"),
            ("/%2Fapi/2.0/mlflow/runs/get", "/api/2.0/mlflow/runs/get", "/api/2.0/mlflow/runs/get"),
            ("/api/2.0//mlflow%2Fruns///get", "/api/2.0/mlflow/runs/get", "/api/2.0/mlflow/runs/get"),
            ("/api/3.0/mlflow/traces/x%2Ftags", "/api/3.0/mlflow/traces/x/tags", "/api/3.0/mlflow/traces/x/tags"),
            // A place for any path has its slashes, as MLflow leaves them there.
            (
                "//api/2.0/mlflow-artifacts/artifacts/a//b%2Fc%20d",
                "/api/2.0/mlflow-artifacts/artifacts/a//b/c%20d",
                "/api/2.0/mlflow-artifacts/artifacts/a//b/c%20d",
            ),
            (
                "/api//2.0/mlflow-artifacts/artifacts/a//b",
                "/api/2.0/mlflow-artifacts/artifacts/a/b",
                "/api/2.0/mlflow-artifacts/artifacts/a/b",
            ),
            // No route: judged by what it could be, and sent as it is.
            ("//double//slash/", "/double/slash/", "//double//slash/"),
            ("/a%2Fb/%2", "/a/b/%2", "/a%2Fb/%2"),
            ("/api/2.0/mlflow%2Fruns/new", "/api/2.0/mlflow/runs/new", "/api/2.0/mlflow%2Fruns/new"),
            ("/api/2.0/mlflow/runs/get//", "/api/2.0/mlflow/runs/get/", "/api/2.0/mlflow/runs/get//"),
            // Encoded twice is another text.
            ("/api/2.0/mlflow%252Fruns/get", "/api/2.0/mlflow%252Fruns/get", "/api/2.0/mlflow%252Fruns/get"),
            ("/%20", "/%20", "/%20"),
        ] {
            let found = RoutePath::read(path);
            assert_eq!((found.as_str(), found.sent()), (read, sent), "{path}");
            assert_eq!(RoutePath::read(read).as_str(), read, "{path}");
        }
    }

    #[test]
    fn no_route_is_listed_twice() {
        let mut seen = std::collections::HashSet::new();
        for line in lines() {
            assert!(seen.insert((line.method, line.path)), "{} {}", line.method, line.path);
            assert!(
                line.route.action.split_once(':').is_some_and(|(left, right)| !left.is_empty() && !right.is_empty())
            );
        }
        assert!(seen.len() > 200, "{}", seen.len());
    }
}
