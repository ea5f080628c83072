//! Artifacts named by what they belong to: managed MLflow is asked where that is, S3 for the bytes.

use actix_web::web;
use serde_json::Value;

use crate::http::uri::encoded;
use crate::mlflow::foreign::is_foreign;
use crate::mlflow::store::ArtifactPath;
use crate::serve::artifacts::request::{named, parameter, path, required};
use crate::serve::artifacts::route::Located;
use crate::serve::artifacts::{Answer, Exchange, object, service};
use crate::serve::error::ProxyError;

/// MLflow's own limit of this route. Bytes.
const UPLOAD_LIMIT: u64 = 10 << 20;

/// Answers a request for such an artifact.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn answer(
    located: Located<'_>,
    exchange: &Exchange<'_>,
    payload: web::Payload,
) -> Result<Answer, ProxyError> {
    let target = exchange.target;
    let run = || parameter(target, "run_id").and_then(|id| id.map_or_else(|| required(target, "run_uuid"), Ok));
    // Where to ask, where in the answer the location stands, and which parameter names the artifact below it.
    let (question, pointer, below) = match located {
        Located::OfRun | Located::UploadToRun | Located::ListOfRun => {
            (format!("/api/2.0/mlflow/runs/get?run_id={}", encoded(&run()?)), "/run/info/artifact_uri", "path")
        }
        Located::OfModelVersion => {
            let (name, version) = (required(target, "name")?, required(target, "version")?);
            let query = format!("name={}&version={}", encoded(&name), encoded(&version));
            (format!("/api/2.0/mlflow/model-versions/get-download-uri?{query}"), "/artifact_uri", "path")
        }
        // The id is a segment of the path in normal form, and stays one.
        Located::OfLoggedModel(id) => (logged_model(id), "/model/info/artifact_uri", "artifact_file_path"),
        Located::ListOfLoggedModel(id) => (logged_model(id), "/model/info/artifact_uri", "artifact_directory_path"),
        Located::OfTrace => {
            let id = encoded(&required(target, "request_id")?);
            (format!("/api/3.0/mlflow/traces/{id}"), "/trace/trace_info/tags/mlflow.artifactLocation", "path")
        }
    };
    // Without a path it is the trace itself that is wanted, which lies in a database more often than not.
    let is_managed = matches!(located, Located::OfTrace) && parameter(target, "path")?.is_none();
    if is_managed && exchange.may_be_elsewhere {
        return Ok(Answer::Elsewhere(payload));
    }
    let below = path(target, below)?;
    let document = match exchange.ask(&question).await? {
        Ok(document) => document,
        // Versions without this route have others for a trace.
        Err(_) if is_managed => return Ok(Answer::Elsewhere(payload)),
        Err(response) => return Ok(Answer::Upstream(response)),
    };
    let uri = document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    // SECURITY: managed MLflow would read it with its own role, whatever the caller's may be.
    if !exchange.may_be_elsewhere && is_foreign(uri, &exchange.store.place) {
        return Err(ProxyError::Elsewhere(uri.to_owned()));
    }
    if is_managed {
        return Ok(Answer::Elsewhere(payload));
    }
    let Some(root) = exchange.store.place.locate(uri) else { return Ok(Answer::Elsewhere(payload)) };
    match located {
        Located::ListOfRun | Located::ListOfLoggedModel(_) => {
            let files = service::list(exchange.store, &root.join(&below)?).await?;
            service::listed(files, below.as_str(), Some(exchange.store.place.publish(uri).into())).await
        }
        Located::UploadToRun => object::write(exchange, payload, &root.join(&named(below)?)?, UPLOAD_LIMIT).await,
        Located::OfTrace => {
            let attachments = root.join(&ArtifactPath::parse("attachments")?)?;
            object::read(exchange, &attachments.join(&named(below)?)?).await
        }
        Located::OfRun | Located::OfModelVersion | Located::OfLoggedModel(_) => {
            object::read(exchange, &root.join(&named(below)?)?).await
        }
    }
}

fn logged_model(id: &str) -> String {
    format!("/api/2.0/mlflow/logged-models/{id}")
}
