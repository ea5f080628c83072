//! The EC2 instance metadata service, version 2 only: what an instance can learn about itself.
//!
//! Paths and answers are those of the EC2 user guide, "Use the Instance Metadata Service". Answers are bytes: user data
//! may be compressed, and the identity document is signed as it is.

use std::cell::RefCell;
use std::time::Duration;

use actix_web::http::header::HeaderName;
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::error::ApiError;
use super::transport::{Transport, value};
use crate::backoff::Backoff;
use crate::http::client::{ClientError, DialError, Dialer, ServiceResponse};
use crate::http::fields::Fields;

/// The address of the service on every instance; it is link-local.
pub const HOST: &str = "169.254.169.254";
/// The service is on the hypervisor: it answers in milliseconds, or is not there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(2);
/// The wait between attempts doubles from the first to the second of these.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

const TOKEN_PATH: &str = "/latest/api/token";
const TOKEN_LIFETIME_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// Seconds; the longest there is, and short against the life of an instance.
const TOKEN_LIFETIME: &str = "21600";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";

/// The reason why a value of the metadata service is not known.
#[derive(Debug, thiserror::Error)]
pub enum ImdsError {
    /// There is no server at the address.
    #[error("the instance metadata service cannot be reached")]
    Absent(#[source] ApiError),
    /// The connection was opened, and no token came: its packets have a time to live of one network hop by default.
    #[error("the instance metadata service returned no token")]
    NoToken(#[source] ApiError),
    /// The service is switched off for this instance.
    #[error("the instance metadata service is switched off for this instance")]
    SwitchedOff,
    /// The service gave no complete response.
    #[error("the instance metadata service did not answer for `{path}`")]
    Unanswered {
        /// The path that was asked for.
        path: String,
        /// The error of the exchange.
        source: ApiError,
    },
    /// The service answered with an error, for example because of throttling.
    #[error("the instance metadata service answered {status} for `{path}`")]
    Refused {
        /// The path that was asked for.
        path: String,
        /// The status of the response.
        status: StatusCode,
    },
    /// The response is invalid.
    #[error("the instance metadata service returned an invalid `{0}`")]
    Unreadable(&'static str),
}

impl ImdsError {
    /// The fix, as an instruction.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Absent(_) => {
                "run this on an EC2 instance; elsewhere write a configuration file and use `appliance serve --config`"
            }
            Self::NoToken(_) => {
                "in a container, set the instance's metadata hop limit to 2 (`HttpPutResponseHopLimit`); else look for \
                 a firewall between here and 169.254.169.254"
            }
            Self::SwitchedOff => "set `HttpEndpoint: enabled` in the metadata options of the launch template",
            Self::Unanswered { .. } | Self::Refused { .. } => {
                "try again; if it persists, look for another program here that asks the metadata service all the time"
            }
            Self::Unreadable(_) => "check what is configured as the metadata service: it does not behave like EC2's",
        }
    }

    fn is_temporary(&self) -> bool {
        match self {
            Self::Absent(_) | Self::NoToken(_) | Self::Unanswered { .. } => true,
            Self::Refused { status, .. } => *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error(),
            Self::SwitchedOff | Self::Unreadable(_) => false,
        }
    }
}

/// The identity of this instance, with the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceIdentity {
    /// `i-…`.
    pub instance: String,
    /// Twelve digits.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
    /// The document that says so, as it is signed.
    pub document: Bytes,
    /// AWS's signature of it, base64 in lines.
    pub signature: String,
}

/// A client of the metadata service.
pub struct ImdsClient {
    transport: Transport,
    token: RefCell<Option<String>>,
    deadline: Instant,
}

impl ImdsClient {
    /// A client of the service that `dialer` leads to. It tries again until `deadline`; each input is asked once at
    /// least.
    #[must_use]
    pub fn new(dialer: Dialer, deadline: Instant) -> Self {
        let transport = Transport { dialer, exchange_timeout: EXCHANGE_TIMEOUT };
        Self { transport, token: RefCell::default(), deadline }
    }

    /// The value at a path below `/latest/`; nothing if there is none.
    ///
    /// # Errors
    /// [`ImdsError`], the last one before the deadline.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, ImdsError> {
        let mut backoff = BACKOFF;
        loop {
            let wait = backoff.wait();
            match self.attempt(path).await {
                Err(error) if error.is_temporary() && Instant::now() + wait < self.deadline => sleep(wait).await,
                result => return result,
            }
        }
    }

    /// Reads the same value as text, without white space around it.
    ///
    /// # Errors
    /// [`ImdsError`].
    pub async fn text(&self, path: &str) -> Result<Option<String>, ImdsError> {
        let bytes = self.get(path).await?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Reads the identity of this instance, with the proof.
    ///
    /// # Errors
    /// [`ImdsError`].
    pub async fn identity(&self) -> Result<InstanceIdentity, ImdsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct IdentityDocument {
            instance_id: String,
            account_id: String,
            region: String,
            availability_zone: String,
        }
        const WHAT: &str = "identity document";
        let document = self.get("dynamic/instance-identity/document").await?.ok_or(ImdsError::Unreadable(WHAT))?;
        let read: IdentityDocument = serde_json::from_slice(&document).map_err(|_| ImdsError::Unreadable(WHAT))?;
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        // The values become parts of host names and requests.
        if ![&read.instance_id, &read.account_id, &read.region, &read.availability_zone].into_iter().all(|t| plain(t)) {
            return Err(ImdsError::Unreadable(WHAT));
        }
        let signature = self.text("dynamic/instance-identity/signature").await?.unwrap_or_default();
        Ok(InstanceIdentity {
            instance: read.instance_id,
            account: read.account_id,
            region: read.region,
            zone: read.availability_zone,
            document,
            signature,
        })
    }

    async fn attempt(&self, path: &str) -> Result<Option<Bytes>, ImdsError> {
        let full = format!("/latest/{path}");
        for is_last in [false, true] {
            let token = self.token().await?;
            let headers = [(HeaderName::from_static(TOKEN_HEADER), value(&token))].into_iter().collect();
            let answer = self.exchange(Method::GET, &full, headers).await;
            let answer = answer.map_err(|source| ImdsError::Unanswered { path: path.to_owned(), source })?;
            match answer.status {
                StatusCode::OK => return Ok(Some(answer.body)),
                StatusCode::NOT_FOUND => return Ok(None),
                // The token has expired, or the service was started anew.
                StatusCode::UNAUTHORIZED if !is_last => drop(self.token.take()),
                status => return Err(ImdsError::Refused { path: path.to_owned(), status }),
            }
        }
        unreachable!("the last round returns")
    }

    async fn token(&self) -> Result<String, ImdsError> {
        if let Some(token) = self.token.borrow().clone() {
            return Ok(token);
        }
        let lifetime = [(HeaderName::from_static(TOKEN_LIFETIME_HEADER), value(TOKEN_LIFETIME))];
        let headers: Fields = lifetime.into_iter().collect();
        let answer = self.exchange(Method::PUT, TOKEN_PATH, headers).await;
        let answer = answer.map_err(|error| match error {
            ApiError::Client(ClientError::Dial(
                DialError::Connect { .. } | DialError::Timeout { .. } | DialError::Resolve { .. },
            )) => ImdsError::Absent(error),
            error => ImdsError::NoToken(error),
        })?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::FORBIDDEN => return Err(ImdsError::SwitchedOff),
            status => return Err(ImdsError::Refused { path: TOKEN_PATH.to_owned(), status }),
        }
        let token = String::from_utf8_lossy(&answer.body).trim().to_owned();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ImdsError::Unreadable("token"));
        }
        *self.token.borrow_mut() = Some(token.clone());
        Ok(token)
    }

    async fn exchange(&self, method: Method, path: &str, headers: Fields) -> Result<ServiceResponse, ApiError> {
        self.transport.exchange(self.transport.dialer.endpoint(), method, path, headers, Bytes::new()).await
    }
}
