//! The routes of the artifact gateway. This module is pure.

use actix_web::http::Method;

use crate::mlflow::locations;
use crate::serve::error::ProxyError;

/// A route of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArtifactRoute<'a> {
    /// MLflow's artifact service.
    Service(ServiceRoute<'a>),
    /// An artifact that is named by the entity that it belongs to.
    Entity(EntityRoute<'a>),
    /// The abilities of the server, to which the gateway adds its own.
    ServerInfo,
}

/// A route of the artifact service; paths are percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceRoute<'a> {
    List,
    Read(&'a str),
    Write(&'a str),
    Delete(&'a str),
    CreateMultipart(&'a str),
    CompleteMultipart(&'a str),
    AbortMultipart(&'a str),
    Presigned(&'a str),
}

/// A route to the artifacts of an entity, whose location managed MLflow has to name first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntityRoute<'a> {
    /// `GET /get-artifact?run_id=…&path=…`
    OfRun,
    /// `POST …/upload-artifact?run_uuid=…&path=…`
    UploadToRun,
    /// `GET …/artifacts/list?run_id=…&path=…`
    ListOfRun,
    /// `GET /model-versions/get-artifact?name=…&version=…&path=…`
    OfModelVersion,
    /// `GET …/logged-models/<id>/artifacts/files?artifact_file_path=…`
    OfLoggedModel(&'a str),
    /// `GET …/logged-models/<id>/artifacts/directories?artifact_directory_path=…`
    ListOfLoggedModel(&'a str),
    /// `GET …/get-trace-artifact?request_id=…&path=…`
    OfTrace,
}

/// Returns the gateway's route for a request, if there is one; the path is in the form that MLflow reads.
///
/// # Errors
/// [`ProxyError::ArtifactMethod`] where the artifact service has no such method.
pub(crate) fn route<'a>(method: &Method, path: &'a str) -> Result<Option<ArtifactRoute<'a>>, ProxyError> {
    if let Some(rest) = locations::artifact_service(path) {
        return service(method, rest).map(|service| service.map(ArtifactRoute::Service));
    }
    let is_get = matches!(*method, Method::GET | Method::HEAD);
    let entity = match path {
        "/get-artifact" if is_get => EntityRoute::OfRun,
        "/model-versions/get-artifact" if is_get => EntityRoute::OfModelVersion,
        _ => match (locations::api(path).unwrap_or_default(), is_get) {
            ("server-info", true) => return Ok(Some(ArtifactRoute::ServerInfo)),
            ("artifacts/list", true) => EntityRoute::ListOfRun,
            ("get-trace-artifact", true) => EntityRoute::OfTrace,
            ("upload-artifact", false) if *method == Method::POST => EntityRoute::UploadToRun,
            (rest, true) => match logged_model(rest) {
                Some((id, "files")) => EntityRoute::OfLoggedModel(id),
                Some((id, "directories")) => EntityRoute::ListOfLoggedModel(id),
                _ => return Ok(None),
            },
            (_, false) => return Ok(None),
        },
    };
    Ok(Some(ArtifactRoute::Entity(entity)))
}

/// Returns the id and kind of `logged-models/<id>/artifacts/<kind>`.
fn logged_model(rest: &str) -> Option<(&str, &str)> {
    let (id, rest) = rest.strip_prefix("logged-models/")?.split_once('/')?;
    Some((id, rest.strip_prefix("artifacts/")?))
}

fn service<'a>(method: &Method, rest: &'a str) -> Result<Option<ServiceRoute<'a>>, ProxyError> {
    let below = |name: &str| {
        rest.strip_prefix(name).and_then(|rest| rest.strip_prefix('/').or(Some("").filter(|_| rest.is_empty())))
    };
    if let Some(path) = below("artifacts") {
        return match *method {
            Method::GET if path.is_empty() => Ok(Some(ServiceRoute::List)),
            Method::GET | Method::HEAD => Ok(Some(ServiceRoute::Read(path))),
            Method::PUT => Ok(Some(ServiceRoute::Write(path))),
            Method::DELETE => Ok(Some(ServiceRoute::Delete(path))),
            _ => Err(ProxyError::ArtifactMethod),
        };
    }
    let others = [
        ("presigned", Method::GET, ServiceRoute::Presigned as fn(&'a str) -> ServiceRoute<'a>),
        ("mpu/create", Method::POST, ServiceRoute::CreateMultipart),
        ("mpu/complete", Method::POST, ServiceRoute::CompleteMultipart),
        ("mpu/abort", Method::POST, ServiceRoute::AbortMultipart),
    ];
    for (name, allowed, route) in others {
        if let Some(path) = below(name) {
            return if *method == allowed { Ok(Some(route(path))) } else { Err(ProxyError::ArtifactMethod) };
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_answers_only_its_own_routes() {
        let (get, put, post, delete) = (Method::GET, Method::PUT, Method::POST, Method::DELETE);
        for (method, path, expected) in [
            (&get, "/api/2.0/mlflow-artifacts/artifacts", Some(ArtifactRoute::Service(ServiceRoute::List))),
            (&get, "/ajax-api/2.0/mlflow-artifacts/artifacts/", Some(ArtifactRoute::Service(ServiceRoute::List))),
            (
                &get,
                "/api/2.0/mlflow-artifacts/artifacts/1/a%20b",
                Some(ArtifactRoute::Service(ServiceRoute::Read("1/a%20b"))),
            ),
            (&put, "/api/2.0/mlflow-artifacts/artifacts/1/x", Some(ArtifactRoute::Service(ServiceRoute::Write("1/x")))),
            (&delete, "/api/2.0/mlflow-artifacts/artifacts/1", Some(ArtifactRoute::Service(ServiceRoute::Delete("1")))),
            (
                &post,
                "/api/2.0/mlflow-artifacts/mpu/create/1/x",
                Some(ArtifactRoute::Service(ServiceRoute::CreateMultipart("1/x"))),
            ),
            (
                &post,
                "/api/2.0/mlflow-artifacts/mpu/abort",
                Some(ArtifactRoute::Service(ServiceRoute::AbortMultipart(""))),
            ),
            (&get, "/api/2.0/mlflow-artifacts/presigned/x", Some(ArtifactRoute::Service(ServiceRoute::Presigned("x")))),
            (&get, "/get-artifact", Some(ArtifactRoute::Entity(EntityRoute::OfRun))),
            (&get, "/model-versions/get-artifact", Some(ArtifactRoute::Entity(EntityRoute::OfModelVersion))),
            (&get, "/ajax-api/2.0/mlflow/artifacts/list", Some(ArtifactRoute::Entity(EntityRoute::ListOfRun))),
            (&post, "/ajax-api/2.0/mlflow/upload-artifact", Some(ArtifactRoute::Entity(EntityRoute::UploadToRun))),
            (
                &get,
                "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files",
                Some(ArtifactRoute::Entity(EntityRoute::OfLoggedModel("m-1"))),
            ),
            (&get, "/ajax-api/3.0/mlflow/get-trace-artifact", Some(ArtifactRoute::Entity(EntityRoute::OfTrace))),
            (&get, "/api/3.0/mlflow/server-info", Some(ArtifactRoute::ServerInfo)),
            (&post, "/get-artifact", None),
            (&get, "/api/2.0/mlflow-artifacts/artifactsx", None),
            (&get, "/api/2.0/mlflow/artifacts/listing", None),
            (&post, "/api/2.0/mlflow/artifacts/presigned-download-url", None),
            (&get, "/api/2.0/mlflow/logged-models/m-1", None),
            (&get, "/", None),
        ] {
            assert_eq!(route(method, path).expect(path), expected, "{method} {path}");
        }
        for (method, path) in [(&post, "artifacts/x"), (&get, "mpu/create/x"), (&put, "presigned/x")] {
            let path = format!("/api/2.0/mlflow-artifacts/{path}");
            assert!(matches!(route(method, &path), Err(ProxyError::ArtifactMethod)), "{method} {path}");
        }
    }
}
