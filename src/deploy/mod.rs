//! `deploy`: creates, updates and deletes the stacks. For each stack it collects the parameter values, shows the change set,
//! asks for consent and follows the events. Each stack gets the outputs of the stacks before it.
//!
//! AWS continues an operation that was interrupted here, and the same command resumes watching it.

mod apply;
mod change_set;
mod chosen_compute;
mod compute;
mod container_image;
mod cost;
mod destroy;
mod diff;
mod error;
mod obstacle;
mod operation;
mod parameters;
mod plan;
mod planned_stacks;
mod preflight;
mod prompter;
mod recovery;
mod report;
mod retained;
mod rules;
mod settings;
mod stack;
mod tags;
mod templates;
mod watch;

pub use apply::apply;
pub use compute::Compute;
pub use cost::{CostItem, CostPrice, cost};
pub use destroy::destroy;
pub use diff::{DiffLine, Weight, is_permission};
pub use error::DeployError;
pub use obstacle::Obstacle;
pub use plan::{PlannedChange, StackPlan, plan};
pub use prompter::Prompter;
pub use report::{StackReport, report};
pub use settings::{DeployMode, DeploySettings, SERVERLESS_REGIONS};
pub use templates::StackKind;
