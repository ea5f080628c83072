//! The vocabulary of managed MLflow: what an ARN names and how it is reached. Pure; imports nothing of ours.

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
