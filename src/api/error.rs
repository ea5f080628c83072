//! The reasons why a service gave no response.

use crate::aws::credentials::CredentialsUnavailable;
use crate::http::client::{BodyError, ClientError, ServiceClientError};

/// The reason why a service gave no response.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is nothing to sign with.
    #[error("there are no valid AWS credentials")]
    Credentials(#[from] CredentialsUnavailable),
    /// No response came.
    #[error(transparent)]
    Client(ClientError),
    /// A response began and did not end.
    #[error("the response did not arrive completely")]
    Body(#[source] BodyError),
}

impl From<ServiceClientError> for ApiError {
    fn from(error: ServiceClientError) -> Self {
        match error {
            ServiceClientError::Client(error) => Self::Client(error),
            ServiceClientError::Body(error) => Self::Body(error),
        }
    }
}
