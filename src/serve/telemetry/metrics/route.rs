//! The class of a route: the resource in `action`, with the rare resources grouped.
//!
//! The table of routes has dozens of resources and may grow; the number of counters must not.

use crate::labelled::labelled;

labelled! {
    /// A class of routes.
    pub(crate) enum RouteClass {
        Experiments = "experiments",
        Runs = "runs",
        Metrics = "metrics",
        Artifacts = "artifacts",
        /// Logged models.
        Models = "models",
        /// Registered models and their versions.
        Registry = "registry",
        Traces = "traces",
        Datasets = "datasets",
        /// Scorers, reviews, issues, prompts and the jobs that work on them.
        Evaluation = "evaluation",
        /// The AI gateway and its configuration.
        Gateway = "gateway",
        /// The web page with its account page, and GraphQL documents that are not parsed.
        Ui = "ui",
        /// Features beyond experiments: webhooks, workspaces, the assistant.
        Administration = "administration",
        /// The server's health and version.
        Server = "server",
        /// A route that is not in the table.
        Unclassified = "unclassified",
        /// The request ended before it was routed.
        None = "none",
    }
}

impl RouteClass {
    /// Returns the class of an action of the table of routes.
    pub(crate) fn of(action: Option<&str>) -> Self {
        let Some(action) = action else { return Self::None };
        let resource = action.split_once(':').map_or(action, |(resource, _)| resource);
        match resource {
            "experiments" => Self::Experiments,
            "runs" => Self::Runs,
            "metrics" => Self::Metrics,
            "artifacts" => Self::Artifacts,
            "logged-models" => Self::Models,
            "registered-models" | "model-versions" => Self::Registry,
            "traces" => Self::Traces,
            "datasets" => Self::Datasets,
            "scorers" | "label-schemas" | "review-queues" | "issues" | "prompt-optimization" | "jobs" => {
                Self::Evaluation
            }
            "ui" | "ui-telemetry" | "users" | "graphql" => Self::Ui,
            "webhooks" | "workspaces" | "assistant" | "mcp-servers" | "skills" | "demo" | "personal-tokens" => {
                Self::Administration
            }
            "health" | "version" | "server-info" | "options" => Self::Server,
            _ if resource.starts_with("gateway") => Self::Gateway,
            _ => Self::Unclassified,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::routes;

    #[test]
    fn every_resource_of_the_table_has_a_class() {
        let mut checked = 0;
        for line in routes::lines() {
            let class = RouteClass::of(Some(line.route.action));
            assert!(!matches!(class, RouteClass::Unclassified | RouteClass::None), "{}", line.route.action);
            checked += 1;
        }
        assert!(checked > 200, "{checked}");
        assert_eq!(RouteClass::of(Some(routes::UNCLASSIFIED.action)), RouteClass::Unclassified);
        assert_eq!(RouteClass::of(Some(routes::of("OPTIONS", "/x").action)), RouteClass::Server);
        assert_eq!(RouteClass::of(None), RouteClass::None);
    }
}
