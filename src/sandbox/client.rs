//! The client of servers on this machine, and waiting until one of them answers.

use std::time::{Duration, Instant};

use actix_web::http::{Method, StatusCode, header};
use tokio::time::sleep;

use super::error::SandboxError;
use super::process::ManagedProcess;
use crate::error_chain;
use crate::http::body::Body;
use crate::http::client::{Client, ClientError, ClientSettings, Dialer, Endpoint, Request};
use crate::http::tls;

/// A server that the user has just started may need a moment.
const MLFLOW_ANSWER_LIMIT: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Returns a dialer for a server on this machine.
pub(super) fn dialer(endpoint: &Endpoint) -> Result<Dialer, SandboxError> {
    let limit = Duration::from_secs(5);
    Ok(Dialer::new(endpoint.clone(), &*tls::client_config(None)?, limit, limit))
}

/// Returns a client for that server; each thread needs its own.
pub(super) fn client(dialer: Dialer) -> Client {
    let settings = ClientSettings {
        connection_limit: 256,
        // uvicorn, which serves MLflow, closes idle connections after 5 s.
        keep_alive: Duration::from_secs(3),
        lifetime: Duration::from_hours(1),
        response_timeout: Duration::from_mins(5),
        idle_timeout: Duration::from_mins(5),
        http2: false,
    };
    Client::new(dialer, settings)
}

/// Sends `GET path` and returns the status of the answer.
async fn get(client: &Client, endpoint: &Endpoint, path: &str) -> Result<StatusCode, ClientError> {
    let headers = [(header::HOST, header::HeaderValue::try_from(endpoint.authority()).expect("a host"))];
    let headers = headers.into_iter().collect();
    let request = Request { method: Method::GET, target: path, headers: &headers, body: &Body::None };
    client.send(request).await.map(|response| response.status)
}

/// Checks that an MLflow server answers at the URL of `--mlflow-url`.
pub(super) async fn check_answers(endpoint: &Endpoint) -> Result<(), SandboxError> {
    let client = client(dialer(endpoint)?);
    let deadline = Instant::now() + MLFLOW_ANSWER_LIMIT;
    loop {
        let what = match get(&client, endpoint, "/version").await {
            // A server with authentication of its own rejects a request without credentials.
            Ok(StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => return Ok(()),
            Ok(status) => format!("it answers `{status}` to `GET /version`"),
            Err(error) => error_chain::joined(&error),
        };
        if Instant::now() >= deadline {
            return Err(SandboxError::NoMlflow { url: endpoint.url(), what });
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Waits until a program answers `GET path` with 200, or ends, or takes too long.
pub(super) async fn until_answering(
    program: &mut ManagedProcess,
    endpoint: &Endpoint,
    path: &str,
    limit: Duration,
) -> Result<(), SandboxError> {
    let client = client(dialer(endpoint)?);
    let asking = async {
        loop {
            if get(&client, endpoint, path).await.is_ok_and(|status| status == StatusCode::OK) {
                return;
            }
            sleep(POLL_INTERVAL).await;
        }
    };
    tokio::select! {
        () = asking => return Ok(()),
        error = ended(program) => return Err(error),
        () = sleep(limit) => {}
    }
    Err(failed(program, format!("was not ready after {limit:?}")))
}

/// Waits until a program ends, which is an error.
pub(super) async fn ended(program: &mut ManagedProcess) -> SandboxError {
    let status = program.ended().await.map_or_else(|error| error.to_string(), |status| status.to_string());
    failed(program, format!("ended ({status})"))
}

fn failed(program: &ManagedProcess, what: String) -> SandboxError {
    SandboxError::Program { name: program.name().to_owned(), what, log_end: program.log_end() }
}
