//! Managed MLflow: its ARNs and hosts, its artifact locations, and the documents in which they occur. This module is pure, and
//! imports no other part of the crate.

pub mod arn;
pub mod download;
pub mod filter;
pub mod foreign;
pub mod graphql;
pub mod json_paths;
pub mod locations;
pub mod rewrite;
pub mod store;
pub mod target;
pub mod trace_tags;
