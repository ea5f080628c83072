//! Access control: callers and their authentication, MLflow's routes and the role that each needs.
//!
//! This module is pure: it does no I/O, reads no clock and uses no HTTP types. [`crate::serve`] passes it the requests and the
//! contents of files and of secrets in AWS.

pub mod address;
pub mod aws_identity;
pub mod aws_principal;
pub mod aws_token;
pub mod balancer_jwt;
pub mod caller;
pub mod caller_name;
pub mod code_flow;
pub mod day;
pub mod grant;
pub mod graphql;
pub mod issuer_session;
pub mod jwt;
pub mod limits;
pub mod login_request;
pub mod openid;
pub mod personal;
pub mod policy;
pub mod routes;
pub mod seal;
pub mod session;
pub mod token;
pub mod token_entry;
pub mod tokens;
