//! Access control: callers and their authentication, MLflow's routes and the role that each needs.
//!
//! Pure: no I/O, no clock, no HTTP types. [`crate::serve`] brings the requests, and what is read from files and AWS.

pub mod address;
pub mod aws_identity;
pub mod aws_principal;
pub mod aws_token;
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
pub mod oidc;
pub mod openid;
pub mod personal;
pub mod policy;
pub mod routes;
pub mod seal;
pub mod session;
pub mod token;
pub mod token_entry;
pub mod tokens;
