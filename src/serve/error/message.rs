//! The message of each proxy error: a sentence for the caller, which says what to do where the caller can do something.

use crate::http::body::RequestBodyError;
use crate::http::client::{ClientError, DialError};
use crate::serve::error::proxy_error::ProxyError;

impl ProxyError {
    /// The message for the caller, without hosts, files and roles, which are in the log only.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::TargetForm => "The request target must be a path, as in `GET /api/2.0/…`.".into(),
            Self::Method => "The appliance does not forward the methods TRACE and CONNECT.".into(),
            Self::Path(error) => format!("The appliance did not forward the request: {error}."),
            Self::RepeatedContentType => "The request has more than one Content-Type header.".into(),
            Self::Access(error) => error.message(),
            Self::AfterTheLast => {
                "An earlier request on this connection announced with `Connection: close` that it was the last. Open a new \
                 connection."
                    .into()
            }
            Self::HeadTooLarge | Self::Upstream(ClientError::HeadTooLarge { .. }) => {
                "The request has more or longer header fields than the appliance forwards. Remove cookies and other fields that \
                 MLflow does not need."
                    .into()
            }
            Self::HandshakeWithBody => "A WebSocket handshake is a GET without a body.".into(),
            Self::NoSuchPage => "Paths under /_appliance/ are reserved, and this one has no page.".into(),
            Self::UnknownTarget => {
                "There is no MLflow at this path. Use `/t/<name>/` with the name of a target of the appliance.".into()
            }
            Self::ArtifactStoreUnknown(Some(why)) => format!("The appliance does not know where the artifacts are: {why}."),
            Self::ArtifactStoreUnknown(None) => {
                "The appliance does not know yet where the artifacts are. Try again shortly.".into()
            }
            Self::ArtifactMethod => "This path of the artifact service does not support the request's method.".into(),
            Self::ArtifactPath(error) => format!("The artifact's path is rejected: {error}."),
            Self::Artifact(reason) => format!("The request for an artifact is rejected: {reason}."),
            Self::ForeignLocation(uri) => format!(
                "The location `{uri}` is outside of the artifact store of this MLflow. Leave it out, or write \
                 `mlflow-artifacts:/` and a path. The appliance's operator can allow others with `artifact-elsewhere`."
            ),
            Self::UnreadableLocations => {
                "This request can name locations of artifacts, and the appliance cannot find them. Its body has to be an \
                 object of JSON in UTF-8, with locations of up to 16 KiB, and with the `key` of a tag before its `value`."
                    .into()
            }
            Self::ReservedTraceTag => {
                "A span has an attribute `mlflow.traceTag.mlflow.…`. MLflow would turn it into one of its own tags, and such a tag can \
                 name a location outside of the artifact store. Remove the attribute, or set the tag with MLflow's API. MLflow's own \
                 client never sends such an attribute."
                    .into()
            }
            Self::UnreadableSpans => {
                "The appliance has to read these spans, because their attributes can name locations of artifacts. The body has to be \
                 protobuf, or JSON in UTF-8. If it has a content encoding, that has to be `gzip`, or `deflate` in zlib's format."
                    .into()
            }
            Self::StoredElsewhere(uri) => format!(
                "These artifacts are at `{uri}`, outside of the artifact store of this MLflow, and the appliance does not \
                 request them there. Its operator can allow it with `artifact-elsewhere`."
            ),
            Self::PresignedOnly => {
                "This appliance accepts artifacts only by presigned URL. Use MLflow 3.18 or later, or set \
                 MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=true and MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE=1."
                    .into()
            }
            // MLflow's client looks for the beginning of this text, and then sends the file in one piece instead.
            Self::NoPresigned => {
                "Multipart upload is not supported for the current artifact repository: the appliance issues no \
                 presigned URLs."
                    .into()
            }
            Self::MemoryOverBudget => "The appliance has no memory for this request at the moment. Try again shortly.".into(),
            Self::PersonalTokens(_) => {
                "The appliance cannot change its personal tokens at the moment. Try again in a minute; if this does not help, \
                 tell the operator of the appliance."
                    .into()
            }
            Self::S3(error) => error.message(),
            Self::Document(_) | Self::UnreadableDocument => {
                "Managed MLflow's response did not arrive completely, or it lacks what the appliance needs for this request.".into()
            }
            Self::RequestBody(error) => of_body(error),
            Self::Credentials(unavailable) => {
                format!("The appliance cannot sign requests at the moment: {unavailable}.")
            }
            Self::Upstream(ClientError::Body(_)) => "The appliance failed to prepare the request.".into(),
            Self::Overloaded | Self::Upstream(ClientError::Crowded(_)) => {
                "Too many requests of this caller, or of all callers together, are waiting for managed MLflow or S3. \
                 Try again shortly, and send fewer requests at a time."
                    .into()
            }
            Self::CircuitOpen(_) => {
                "The managed MLflow endpoint could not be reached recently, and the appliance probes it from time to time. Try \
                 again shortly."
                    .into()
            }
            Self::Upstream(error) => match error {
                ClientError::Dial(DialError::Timeout { .. }) => {
                    "The managed MLflow endpoint could not be reached in time.".into()
                }
                ClientError::Dial(_) => "The managed MLflow endpoint could not be reached.".into(),
                ClientError::NoAnswer(limit) => {
                    format!("Managed MLflow did not respond within {} seconds.", limit.as_secs())
                }
                _ => "Managed MLflow closed the connection, or its response is not valid.".into(),
            },
        }
    }
}

fn of_body(error: &RequestBodyError) -> String {
    match error {
        RequestBodyError::TooLarge { limit } => {
            format!("The request body is larger than the appliance's limit of {limit} bytes.")
        }
        RequestBodyError::NoRoom => {
            "Too many uploads are in progress, yours or those of others. Try again shortly.".into()
        }
        RequestBodyError::Stalled(limit) => {
            format!("The request body stopped arriving: no byte came for {} seconds.", limit.as_secs())
        }
        RequestBodyError::Slow(rate) => {
            format!("The request body arrived too slowly: a caller has to send {rate} bytes per second.")
        }
        RequestBodyError::Late(limit) => {
            format!("The request body was not complete after {} seconds.", limit.as_secs())
        }
        RequestBodyError::Broken(_) => "The request body is incomplete or malformed.".into(),
        RequestBodyError::ForeignMd5 => {
            "The body does not match its Content-MD5 (BadDigest). Nothing was stored; send it again.".into()
        }
        RequestBodyError::Disk(_) => "The appliance has no disk space for this upload at the moment.".into(),
    }
}
