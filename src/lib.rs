//! The SageMaker MLflow appliance: any HTTP client gets all of managed MLflow, without AWS credentials.
//!
//! The parts:
//! - [`cli`]: flags, variables, files, messages, exit codes
//! - [`serve`]: a request on its way through; [`sandbox`]: all of it on a laptop, without AWS
//! - `deploy`: the stacks on AWS, from templates in this binary
//! - [`ui`]: a URL of the managed UI, for one browser
//! - [`bootstrap`]: an EC2 instance configures itself; [`probe`]: whether AWS lets us, step by step
//! - [`access`]: callers, roles, MLflow's routes; [`issuer`]: the keys of trusted issuers
//! - [`api`]: AWS's services that are called without an SDK; [`http`]: headers, bodies, connections
//! - [`aws`]: signatures and credentials; [`mlflow`]: ARNs and targets; [`proxy`]: the way out, where there is only one
//!
//! Imports point one way: `cli` → verbs → `probe` → `api`, `issuer` → `http`, `aws` → `access`, `mlflow`, `proxy`,
//! `backoff`, `error_chain`, `clock`, `counted`, `labelled`, `xml`.

pub mod access;
pub mod api;
pub mod aws;
pub mod backoff;
pub mod bootstrap;
pub mod cli;
pub mod clock;
mod counted;
#[cfg(feature = "deploy")]
pub mod deploy;
pub mod error_chain;
pub mod http;
pub mod issuer;
mod labelled;
pub mod mlflow;
pub mod probe;
pub mod proxy;
pub mod regular_file;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod scalar;
pub mod serve;
pub mod token_source;
pub mod ui;
pub mod xml;
