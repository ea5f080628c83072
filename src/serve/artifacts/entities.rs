//! The artifacts of an entity (a run, a model or a trace): managed MLflow names their location, and S3 has the bytes.

use actix_web::web;
use serde_json::Value;

use crate::http::uri::encoded;
use crate::mlflow::foreign::is_foreign;
use crate::mlflow::store::ArtifactPath;
use crate::serve::artifacts::parameters::{named, parameter, path, required};
use crate::serve::artifacts::request::{ArtifactRequest, ArtifactResponse};
use crate::serve::artifacts::route::EntityRoute;
use crate::serve::artifacts::{listing, object};
use crate::serve::error::ProxyError;

/// MLflow's own limit of an upload to a run. Bytes.
const UPLOAD_LIMIT: u64 = 10 << 20;

/// The tags in the description of a trace.
const TAGS: &str = "/trace/trace_info/tags";

/// Answers a request on such a route.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn answer(
    route: EntityRoute<'_>,
    request: &ArtifactRequest<'_>,
    payload: web::Payload,
) -> Result<ArtifactResponse, ProxyError> {
    let path_and_query = request.path_and_query;
    let run = || {
        parameter(path_and_query, "run_id").and_then(|id| id.map_or_else(|| required(path_and_query, "run_uuid"), Ok))
    };
    // The question, the place of the location in the response, and the parameter that names the artifact below it.
    let (question, pointer, below) = match route {
        EntityRoute::OfRun | EntityRoute::UploadToRun | EntityRoute::ListOfRun => {
            (format!("/api/2.0/mlflow/runs/get?run_id={}", encoded(&run()?)), "/run/info/artifact_uri", "path")
        }
        EntityRoute::OfModelVersion => {
            let (name, version) = (required(path_and_query, "name")?, required(path_and_query, "version")?);
            let query = format!("name={}&version={}", encoded(&name), encoded(&version));
            (format!("/api/2.0/mlflow/model-versions/get-download-uri?{query}"), "/artifact_uri", "path")
        }
        // The id is one segment of a path in normal form, so it needs no encoding.
        EntityRoute::OfLoggedModel(id) => (logged_model(id), "/model/info/artifact_uri", "artifact_file_path"),
        EntityRoute::ListOfLoggedModel(id) => (logged_model(id), "/model/info/artifact_uri", "artifact_directory_path"),
        EntityRoute::OfTrace => {
            let id = encoded(&required(path_and_query, "request_id")?);
            (format!("/api/3.0/mlflow/traces/{id}"), TAGS, "path")
        }
    };
    // Without a path, the request is for the trace itself, which is usually in a database.
    let is_managed = matches!(route, EntityRoute::OfTrace) && parameter(path_and_query, "path")?.is_none();
    if is_managed && request.may_be_elsewhere {
        return Ok(ArtifactResponse::Elsewhere(payload));
    }
    let below = path(path_and_query, below)?;
    let document = match request.ask(&question).await? {
        Ok(document) => document,
        // Versions of MLflow without this route have others for a trace.
        Err(_) if is_managed => return Ok(ArtifactResponse::Elsewhere(payload)),
        Err(response) => return Ok(ArtifactResponse::Upstream(response)),
    };
    let uri = match route {
        EntityRoute::OfTrace => tag(&document, "mlflow.artifactLocation"),
        _ => document.pointer(pointer).and_then(Value::as_str),
    };
    let uri = uri.unwrap_or_default();
    // Managed MLflow reads an archived trace from there.
    let archive = if is_managed { tag(&document, "mlflow.trace.archiveLocation") } else { None };
    // SECURITY: managed MLflow would read it with its own role, which may be able to read more than the caller.
    for location in [Some(uri), archive].into_iter().flatten() {
        if !request.may_be_elsewhere && is_foreign(location, &request.s3.store) {
            return Err(ProxyError::StoredElsewhere(location.to_owned()));
        }
    }
    if is_managed {
        return Ok(ArtifactResponse::Elsewhere(payload));
    }
    let Some(root) = request.s3.store.locate(uri) else { return Ok(ArtifactResponse::Elsewhere(payload)) };
    match route {
        EntityRoute::ListOfRun | EntityRoute::ListOfLoggedModel(_) => {
            let files = listing::list(request.s3, &root.join(&below)?).await?;
            listing::respond(files, below.as_str(), Some(request.s3.store.publish(uri).into())).await
        }
        EntityRoute::UploadToRun => object::write(request, payload, &root.join(&named(below)?)?, UPLOAD_LIMIT).await,
        EntityRoute::OfTrace => {
            let attachments = root.join(&ArtifactPath::parse("attachments")?)?;
            object::read(request, &attachments.join(&named(below)?)?).await
        }
        EntityRoute::OfRun | EntityRoute::OfModelVersion | EntityRoute::OfLoggedModel(_) => {
            object::read(request, &root.join(&named(below)?)?).await
        }
    }
}

/// Returns the value of a tag of a trace. Tags are an object in version 3 of the API and a list of keys and values in version 2.
fn tag<'a>(document: &'a Value, key: &str) -> Option<&'a str> {
    let tags = document.pointer(TAGS)?;
    let in_list = || tags.as_array()?.iter().find(|tag| tag["key"] == key)?.get("value");
    tags.get(key).or_else(in_list)?.as_str()
}

fn logged_model(id: &str) -> String {
    format!("/api/2.0/mlflow/logged-models/{id}")
}
