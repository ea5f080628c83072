//! Access control: callers and their authentication, MLflow's routes and the role that each needs.
//!
//! Pure: no I/O, no clock, no HTTP types. [`crate::serve`] brings the requests, and what is read from files and AWS.

pub mod address;
pub mod aws_identity;
pub mod aws_principal;
pub mod aws_token;
pub mod caller;
pub mod graphql;
pub mod limits;
pub mod oidc;
pub mod policy;
pub mod routes;
pub mod session;
pub mod token;
pub mod tokens;
