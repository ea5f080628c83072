//! The vocabulary of managed MLflow: what an ARN names and how it is reached. Pure; imports nothing of ours.

pub mod arn;
pub mod download;
pub mod filter;
pub mod foreign;
pub mod graphql;
pub mod locations;
pub mod places;
pub mod rewrite;
pub mod store;
pub mod target;
