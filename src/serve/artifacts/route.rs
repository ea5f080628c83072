//! Which requests the artifact gateway answers. Pure.

use actix_web::http::Method;

use crate::mlflow::locations;
use crate::serve::error::ProxyError;

/// A request that is the gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// MLflow's artifact service.
    Service(Service<'a>),
    /// An artifact named by what it belongs to.
    Located(Located<'a>),
    /// What the server can do, to which the gateway adds.
    ServerInfo,
}

/// A request to the artifact service; paths are percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service<'a> {
    List,
    Read(&'a str),
    Write(&'a str),
    Delete(&'a str),
    CreateMultipart(&'a str),
    CompleteMultipart(&'a str),
    AbortMultipart(&'a str),
    Presigned(&'a str),
}

/// A request for an artifact of something that managed MLflow has to be asked about first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Located<'a> {
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

/// The gateway's route of a request, if it is one; the path is as MLflow reads it.
///
/// # Errors
/// [`ProxyError::ArtifactMethod`] where the artifact service has no such method.
pub(crate) fn route<'a>(method: &Method, path: &'a str) -> Result<Option<Route<'a>>, ProxyError> {
    if let Some(rest) = locations::artifact_service(path) {
        return service(method, rest).map(|service| service.map(Route::Service));
    }
    let is_get = matches!(*method, Method::GET | Method::HEAD);
    let located = match path {
        "/get-artifact" if is_get => Located::OfRun,
        "/model-versions/get-artifact" if is_get => Located::OfModelVersion,
        _ => match (locations::api(path).unwrap_or_default(), is_get) {
            ("server-info", true) => return Ok(Some(Route::ServerInfo)),
            ("artifacts/list", true) => Located::ListOfRun,
            ("get-trace-artifact", true) => Located::OfTrace,
            ("upload-artifact", false) if *method == Method::POST => Located::UploadToRun,
            (rest, true) => match logged_model(rest) {
                Some((id, "files")) => Located::OfLoggedModel(id),
                Some((id, "directories")) => Located::ListOfLoggedModel(id),
                _ => return Ok(None),
            },
            (_, false) => return Ok(None),
        },
    };
    Ok(Some(Route::Located(located)))
}

/// Id and kind of `logged-models/<id>/artifacts/<kind>`.
fn logged_model(rest: &str) -> Option<(&str, &str)> {
    let (id, rest) = rest.strip_prefix("logged-models/")?.split_once('/')?;
    Some((id, rest.strip_prefix("artifacts/")?))
}

fn service<'a>(method: &Method, rest: &'a str) -> Result<Option<Service<'a>>, ProxyError> {
    let below = |name: &str| {
        rest.strip_prefix(name).and_then(|rest| rest.strip_prefix('/').or(Some("").filter(|_| rest.is_empty())))
    };
    let only =
        |allowed: Method, service| if *method == allowed { Ok(Some(service)) } else { Err(ProxyError::ArtifactMethod) };
    if let Some(path) = below("artifacts") {
        return match *method {
            Method::GET if path.is_empty() => Ok(Some(Service::List)),
            Method::GET | Method::HEAD => Ok(Some(Service::Read(path))),
            Method::PUT => Ok(Some(Service::Write(path))),
            Method::DELETE => Ok(Some(Service::Delete(path))),
            _ => Err(ProxyError::ArtifactMethod),
        };
    }
    if let Some(path) = below("presigned") {
        return only(Method::GET, Service::Presigned(path));
    }
    if let Some(path) = below("mpu/create") {
        return only(Method::POST, Service::CreateMultipart(path));
    }
    if let Some(path) = below("mpu/complete") {
        return only(Method::POST, Service::CompleteMultipart(path));
    }
    if let Some(path) = below("mpu/abort") {
        return only(Method::POST, Service::AbortMultipart(path));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_answers_its_routes_and_no_others() {
        let (get, put, post, delete) = (Method::GET, Method::PUT, Method::POST, Method::DELETE);
        for (method, path, expected) in [
            (&get, "/api/2.0/mlflow-artifacts/artifacts", Some(Route::Service(Service::List))),
            (&get, "/ajax-api/2.0/mlflow-artifacts/artifacts/", Some(Route::Service(Service::List))),
            (&get, "/api/2.0/mlflow-artifacts/artifacts/1/a%20b", Some(Route::Service(Service::Read("1/a%20b")))),
            (&put, "/api/2.0/mlflow-artifacts/artifacts/1/x", Some(Route::Service(Service::Write("1/x")))),
            (&delete, "/api/2.0/mlflow-artifacts/artifacts/1", Some(Route::Service(Service::Delete("1")))),
            (&post, "/api/2.0/mlflow-artifacts/mpu/create/1/x", Some(Route::Service(Service::CreateMultipart("1/x")))),
            (&post, "/api/2.0/mlflow-artifacts/mpu/abort", Some(Route::Service(Service::AbortMultipart("")))),
            (&get, "/api/2.0/mlflow-artifacts/presigned/x", Some(Route::Service(Service::Presigned("x")))),
            (&get, "/get-artifact", Some(Route::Located(Located::OfRun))),
            (&get, "/model-versions/get-artifact", Some(Route::Located(Located::OfModelVersion))),
            (&get, "/ajax-api/2.0/mlflow/artifacts/list", Some(Route::Located(Located::ListOfRun))),
            (&post, "/ajax-api/2.0/mlflow/upload-artifact", Some(Route::Located(Located::UploadToRun))),
            (
                &get,
                "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files",
                Some(Route::Located(Located::OfLoggedModel("m-1"))),
            ),
            (&get, "/ajax-api/3.0/mlflow/get-trace-artifact", Some(Route::Located(Located::OfTrace))),
            (&get, "/api/3.0/mlflow/server-info", Some(Route::ServerInfo)),
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
