//! An AWS account: the resources, quotas and permissions on which stacks depend. It is asked before anything is made.

mod balancing;
mod ec2;
mod limits;
mod permissions;

pub use ec2::{Image, VpcEndpoint};
pub use limits::{Certificate, Quota};

use actix_web::http::StatusCode;
use serde_json::Value;

use super::Transport;
use super::json::{self, Call};
use super::service::{About, Delay, Service, ServiceError};
use crate::aws::credentials::Current;
use crate::http::client::Endpoint;

/// `deploy` can go on without these answers, so a call is tried twice at most.
const ATTEMPTS: u32 = 2;

/// An account in one region, as whoever deploys sees it.
pub struct Account<'a> {
    /// The transport to all services.
    pub transport: &'a Transport,
    /// The region in signatures.
    pub region: &'a str,
    /// The credentials with which calls are signed.
    pub credentials: &'a Current,
    /// Hears of each delay.
    pub delayed: &'a dyn Fn(&Delay<'_>),
    /// Finds the endpoint of a service by its name in the variables `AWS_ENDPOINT_URL_…` and in host names.
    pub place: &'a dyn Fn(&str, &str) -> Endpoint,
}

type Result<T> = std::result::Result<T, ServiceError>;

impl<'a> Account<'a> {
    /// A service in the Query protocol.
    fn query(&self, variable: &str, title: &'static str, name: &'static str, version: &'static str) -> Service<'a> {
        Service {
            about: About { title, name, version, attempts: ATTEMPTS },
            transport: self.transport,
            endpoint: (self.place)(variable, name),
            region: self.region,
            credentials: self.credentials,
            delayed: self.delayed,
        }
    }

    /// Asks a service in the JSON protocol, once.
    async fn json(
        &self,
        variable: &str,
        name: &'static str,
        operation: &'static str,
        question: &Value,
    ) -> Result<Value> {
        let endpoint = (self.place)(variable, name);
        let call = Call { endpoint: &endpoint, region: self.region, service: name, operation, question };
        let (status, answer) = json::send(call, self.transport, self.credentials).await?;
        if status == StatusCode::OK {
            return Ok(serde_json::from_slice(&answer).unwrap_or_default());
        }
        let operation = operation.rsplit('.').next().unwrap_or(operation);
        Err(ServiceError::Refused { operation, code: json::error_code(&answer), message: json::error_message(&answer) })
    }
}

/// A filter and the value that it wants, as EC2 is told.
fn filters<'q>(wanted: &[(&'q str, &'q str)]) -> Vec<(String, &'q str)> {
    let pairs = (1..).zip(wanted).flat_map(|(number, (name, value))| {
        [(format!("Filter.{number}.Name"), *name), (format!("Filter.{number}.Value.1"), *value)]
    });
    pairs.collect()
}

/// The same as it is sent.
fn borrowed<'q>(pairs: &'q [(String, &'q str)]) -> Vec<(&'q str, &'q str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), *value)).collect()
}
