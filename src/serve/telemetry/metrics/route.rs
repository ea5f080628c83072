//! The class of a route: the resource in `action`, with the rare resources grouped.
//!
//! The table of routes has dozens of resources and may grow; the number of counters must not.

/// A class of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteClass {
    Experiments,
    Runs,
    Metrics,
    Artifacts,
    /// Logged models.
    Models,
    /// Registered models and their versions.
    Registry,
    Traces,
    Datasets,
    /// Scorers, reviews, issues, prompts and the jobs that work on them.
    Evaluation,
    /// The AI gateway and its configuration.
    Gateway,
    /// The web page with its account page, and GraphQL documents that are not parsed.
    Ui,
    /// Features beyond experiments: webhooks, workspaces, the assistant.
    Administration,
    /// The server's health and version.
    Server,
    /// A route that is not in the table.
    Unclassified,
    /// The request ended before it was routed.
    None,
}

impl RouteClass {
    /// All classes with the names that labels have, in the order of their indices.
    pub(crate) const ALL: [(Self, &'static str); 15] = [
        (Self::Experiments, "experiments"),
        (Self::Runs, "runs"),
        (Self::Metrics, "metrics"),
        (Self::Artifacts, "artifacts"),
        (Self::Models, "models"),
        (Self::Registry, "registry"),
        (Self::Traces, "traces"),
        (Self::Datasets, "datasets"),
        (Self::Evaluation, "evaluation"),
        (Self::Gateway, "gateway"),
        (Self::Ui, "ui"),
        (Self::Administration, "administration"),
        (Self::Server, "server"),
        (Self::Unclassified, "unclassified"),
        (Self::None, "none"),
    ];

    /// Returns the class of an action of the table of routes.
    #[must_use]
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

    /// Returns the name that labels have.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
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

    #[test]
    fn indices_and_names_of_classes_are_unique() {
        let mut words = std::collections::HashSet::new();
        for (index, (class, name)) in RouteClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
            assert!(words.insert(name));
        }
    }
}
