//! The result of forwarding a request, which the last stage turns into a response.

use actix_web::HttpResponse;

use crate::http::client::Response;
use crate::serve::artifacts::translate::Translation;

/// The result of forwarding a request.
pub(super) enum Forwarded {
    /// A response of managed MLflow.
    Mlflow {
        response: Box<Response>,
        /// The beginning of the client's path, which names the target.
        prefix: String,
        /// The IAM action that a request to the target needs.
        required_action: &'static str,
        /// Makes the locations in the body public.
        translation: Option<Translation>,
    },
    /// An object from S3.
    Object {
        response: Box<Response>,
        /// The name of the file that the client saves.
        name: String,
    },
    /// A response of the appliance itself.
    Own(HttpResponse),
}
