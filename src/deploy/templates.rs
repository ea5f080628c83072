//! The templates in this binary, and their description: parameters, resources, retention on deletion.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;

/// The kind of a stack. The order is that of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StackKind {
    /// The network, for both modes.
    Networking,
    /// Studio, for both modes; only on demand.
    SagemakerDomain,
    /// The managed MLflow of a mode.
    Mlflow,
    /// The appliance of a mode, on instances.
    Appliance,
    /// The appliance of a mode, on Fargate.
    Fargate,
}

impl StackKind {
    /// All kinds, in the order of creation.
    pub const ALL: [Self; 5] = [Self::Networking, Self::SagemakerDomain, Self::Mlflow, Self::Appliance, Self::Fargate];

    /// Returns the name of the kind.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Networking => "networking",
            Self::SagemakerDomain => "sagemaker-domain",
            Self::Mlflow => "mlflow",
            Self::Appliance => "appliance",
            Self::Fargate => "fargate",
        }
    }

    /// Returns true if both modes share the stack.
    #[must_use]
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Networking | Self::SagemakerDomain)
    }

    /// Returns the template's text, without its comments.
    #[must_use]
    pub fn text(self) -> String {
        inflated(self.built().0)
    }

    /// Returns the description of the template.
    #[must_use]
    pub(super) fn template(self) -> Template {
        serde_json::from_str(&inflated(self.built().1)).expect("it was written when this was built")
    }

    /// Returns the text and the description, which `build.rs` has compressed.
    fn built(self) -> (&'static [u8], &'static [u8]) {
        macro_rules! built {
            ($name:literal) => {
                (
                    include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".yaml.gz")),
                    include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".json.gz")),
                )
            };
        }
        match self {
            Self::Networking => built!("networking"),
            Self::SagemakerDomain => built!("sagemaker-domain"),
            Self::Mlflow => built!("mlflow"),
            Self::Appliance => built!("appliance"),
            Self::Fargate => built!("fargate"),
        }
    }
}

fn inflated(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).expect("it was written when this was built");
    text
}

/// The description of a template.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Template {
    /// The parameters by name.
    pub parameters: BTreeMap<String, TemplateParameter>,
    /// The rules among the values of parameters.
    pub rules: Vec<Rule>,
    /// The conditions on which some resources depend.
    pub conditions: BTreeMap<String, Value>,
    /// The resources by logical id.
    pub resources: BTreeMap<String, TemplateResource>,
    /// The names of the outputs, which later stacks and people read.
    pub outputs: BTreeSet<String>,
}

/// A parameter of a template.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TemplateParameter {
    /// The type, such as `String`, `Number` or `CommaDelimitedList`.
    pub r#type: String,
    /// The purpose of the parameter.
    pub description: String,
    /// The default value.
    pub default: Option<Scalar>,
    /// The values that are allowed; any if the list is empty.
    pub allowed_values: Vec<Scalar>,
    /// The pattern that the whole value has to match.
    pub allowed_pattern: Option<String>,
    /// The message for a value that breaks a constraint.
    pub constraint_description: Option<String>,
    /// The least value of a number.
    pub min_value: Option<f64>,
    /// The largest value of a number.
    pub max_value: Option<f64>,
    /// The least length in characters.
    pub min_length: Option<usize>,
    /// The largest length in characters.
    pub max_length: Option<usize>,
    /// True if the value must not be shown.
    pub no_echo: bool,
}

/// A value as it stands in the template.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub(super) enum Scalar {
    /// `true`
    Bool(bool),
    /// `3`
    Integer(i64),
    /// `0.5`
    Number(f64),
    /// `'text'`
    Text(String),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => write!(formatter, "{value}"),
            Self::Integer(value) => write!(formatter, "{value}"),
            Self::Number(value) => write!(formatter, "{value}"),
            Self::Text(value) => formatter.write_str(value),
        }
    }
}

/// A rule among the values of parameters, which [`super::rules`] evaluates.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Rule {
    /// The condition under which the rule applies; without one it always does.
    pub rule_condition: Option<Value>,
    /// The assertions that must hold then.
    pub assertions: Vec<Assertion>,
}

/// An assertion of a rule.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Assertion {
    /// The expression that must be true.
    pub assert: Value,
    /// The message for an expression that is false.
    pub assert_description: String,
}

/// A resource of a template.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TemplateResource {
    /// The resource type, such as `AWS::EC2::Subnet`.
    pub r#type: String,
    /// The condition under which the resource is created; without one it always is.
    pub condition: Option<String>,
    /// `Retain` and `RetainExceptOnCreate` keep the resource when the stack is deleted.
    pub deletion_policy: Option<String>,
    /// The service of a VPC endpoint, with `${AWS::Region}` in its name.
    pub service: Option<String>,
}

impl TemplateResource {
    /// Returns true if the resource is retained when its stack is deleted.
    #[must_use]
    pub(super) fn is_retained(&self) -> bool {
        self.deletion_policy.as_deref().is_some_and(|policy| policy.starts_with("Retain"))
    }
}
