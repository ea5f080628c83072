//! The templates in this binary, and what they say of themselves: parameters, resources, what is kept on deletion.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;

/// A stack of ours. The order is that in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StackKind {
    /// The network, for both modes.
    Networking,
    /// Studio, for both modes; only if it is asked for.
    SagemakerDomain,
    /// The managed MLflow of a mode.
    Mlflow,
    /// The appliance of a mode.
    Appliance,
}

impl StackKind {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Networking, Self::SagemakerDomain, Self::Mlflow, Self::Appliance];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Networking => "networking",
            Self::SagemakerDomain => "sagemaker-domain",
            Self::Mlflow => "mlflow",
            Self::Appliance => "appliance",
        }
    }

    /// Whether there is one for both modes.
    #[must_use]
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Networking | Self::SagemakerDomain)
    }

    /// The template's text, without its comments.
    #[must_use]
    pub fn text(self) -> String {
        inflated(self.built().0)
    }

    /// What the template says of itself.
    #[must_use]
    pub(super) fn template(self) -> Template {
        serde_json::from_str(&inflated(self.built().1)).expect("it was written when this was built")
    }

    /// What `build.rs` has made, compressed: the text, and what it says of itself.
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
        }
    }
}

fn inflated(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).expect("it was written when this was built");
    text
}

/// What a template says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Template {
    /// What can be chosen.
    pub parameters: BTreeMap<String, TemplateParameter>,
    /// What must hold among those choices.
    pub rules: Vec<Rule>,
    /// What some resources depend on.
    pub conditions: BTreeMap<String, Value>,
    /// What it makes.
    pub resources: BTreeMap<String, TemplateResource>,
    /// What it tells later stacks, and people.
    pub outputs: BTreeSet<String>,
}

/// A parameter of a template.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TemplateParameter {
    /// Such as `String`, `Number` or `CommaDelimitedList`.
    pub r#type: String,
    /// What it is for.
    pub description: String,
    /// What it is if nobody says.
    pub default: Option<Scalar>,
    /// What it may be.
    pub allowed_values: Vec<Scalar>,
    /// What the whole of it has to match.
    pub allowed_pattern: Option<String>,
    /// What to say if it does not.
    pub constraint_description: Option<String>,
    /// For numbers.
    pub min_value: Option<f64>,
    /// For numbers.
    pub max_value: Option<f64>,
    /// In characters.
    pub min_length: Option<usize>,
    /// In characters.
    pub max_length: Option<usize>,
    /// Not to be shown.
    pub no_echo: bool,
}

/// A value as it is written.
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

/// What must hold among the values of parameters; the expressions are evaluated by [`super::rules`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Rule {
    /// When.
    pub rule_condition: Option<Value>,
    /// What.
    pub assertions: Vec<Assertion>,
}

/// A part of a rule.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Assertion {
    /// What must hold.
    pub assert: Value,
    /// What to say if it does not.
    pub assert_description: String,
}

/// A resource of a template.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TemplateResource {
    /// Such as `AWS::EC2::Subnet`.
    pub r#type: String,
    /// The condition under which it is made; always, without one.
    pub condition: Option<String>,
    /// `Retain` and `RetainExceptOnCreate` keep it when the stack goes.
    pub deletion_policy: Option<String>,
    /// The service that it leads to, if it is an endpoint, with `${AWS::Region}` in its name.
    pub service: Option<String>,
}

impl TemplateResource {
    /// Whether it stays when its stack is deleted.
    #[must_use]
    pub(super) fn is_retained(&self) -> bool {
        self.deletion_policy.as_deref().is_some_and(|policy| policy.starts_with("Retain"))
    }
}
