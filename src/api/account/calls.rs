//! An account, and the calls of its services.

use actix_web::http::StatusCode;
use serde_json::Value;

use crate::api::json::{self, JsonCall};
use crate::api::service::{Delay, QueryService, ServiceDescription, ServiceError, ServiceResult};
use crate::api::transport::Transport;
use crate::aws::credentials::CurrentCredentials;
use crate::http::client::Endpoint;

/// `deploy` can go on without these answers, so a call is tried twice at most.
const ATTEMPTS: u32 = 2;

/// An account in one region, as the identity that deploys sees it.
pub struct Account<'a> {
    /// The transport to all services.
    pub transport: &'a Transport,
    /// The region in signatures.
    pub region: &'a str,
    /// The credentials with which calls are signed.
    pub credentials: &'a CurrentCredentials,
    /// Hears of each delay.
    pub delayed: &'a dyn Fn(&Delay<'_>),
    /// Finds the endpoint of a service by its name in the variables `AWS_ENDPOINT_URL_…` and in host names.
    pub place: &'a dyn Fn(&str, &str) -> Endpoint,
}

impl<'a> Account<'a> {
    /// A service in the Query protocol.
    pub(super) fn query(
        &self,
        variable: &str,
        title: &'static str,
        name: &'static str,
        version: &'static str,
    ) -> QueryService<'a> {
        QueryService {
            about: ServiceDescription { title, name, version, attempts: ATTEMPTS },
            transport: self.transport,
            endpoint: (self.place)(variable, name),
            region: self.region,
            credentials: self.credentials,
            delayed: self.delayed,
        }
    }

    /// Asks a service in the JSON protocol, once.
    pub(super) async fn json(
        &self,
        variable: &str,
        host: &'static str,
        operation: &'static str,
        input: &Value,
    ) -> ServiceResult<Value> {
        let endpoint = (self.place)(variable, host);
        // `api.sagemaker` signs as `sagemaker`.
        let name = host.strip_prefix("api.").unwrap_or(host);
        let call = JsonCall { endpoint: &endpoint, region: self.region, service: name, operation, input };
        let (status, answer) = json::send(call, self.transport, self.credentials).await?;
        if status == StatusCode::OK {
            return Ok(serde_json::from_slice(&answer).unwrap_or_default());
        }
        let operation = operation.rsplit('.').next().unwrap_or(operation);
        Err(ServiceError::Refused { operation, code: json::error_code(&answer), message: json::error_message(&answer) })
    }
}

/// Filters with one value each, in EC2's form.
pub(super) fn filters<'q>(wanted: &[(&'q str, &'q str)]) -> Vec<(String, &'q str)> {
    let pairs = (1..).zip(wanted).flat_map(|(number, (name, value))| {
        [(format!("Filter.{number}.Name"), *name), (format!("Filter.{number}.Value.1"), *value)]
    });
    pairs.collect()
}

/// The pairs as they are sent.
pub(super) fn borrowed<'q>(pairs: &'q [(String, &'q str)]) -> Vec<(&'q str, &'q str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), *value)).collect()
}
