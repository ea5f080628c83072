//! A simulation of Secrets Manager with one secret: it keeps versions, and moves the label of the current one only from the
//! version that the caller names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::Message as _;
use super::upstream::{Recorded, Upstream};

/// The header that names the operation. A probe of the network sends none.
const OPERATION: &str = "x-amz-target";

/// The running simulation.
pub struct Secrets {
    server: Upstream,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    versions: HashMap<String, String>,
    current: Option<String>,
    is_frozen: bool,
    is_denied: bool,
}

impl Secrets {
    /// Starts without a secret.
    pub fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let server = Upstream::plain(move |request, wire| match shared.lock().unwrap().answer(request) {
            Ok(value) => wire.answer("200 OK", value.to_string()),
            Err(kind) => wire.answer("400 Bad Request", json!({"__type": kind, "message": "refused"}).to_string()),
        });
        Self { server, state }
    }

    /// The URL for `AWS_ENDPOINT_URL_SECRETS_MANAGER`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The current text.
    pub fn text(&self) -> String {
        let state = self.state.lock().unwrap();
        state.current.as_ref().map(|version| state.versions[version].clone()).unwrap_or_default()
    }

    /// Makes a text the current one, as a person does in AWS's console.
    pub fn put(&self, text: &str) {
        let mut state = self.state.lock().unwrap();
        let version = format!("by-hand-{}", state.versions.len());
        state.versions.insert(version.clone(), text.to_owned());
        state.current = Some(version);
    }

    /// Denies reading, or allows it again.
    pub fn deny(&self, is_denied: bool) {
        self.state.lock().unwrap().is_denied = is_denied;
    }

    /// Denies writing from now on.
    pub fn freeze(&self) {
        self.state.lock().unwrap().is_frozen = true;
    }

    /// The number of calls of an operation.
    pub fn calls(&self, operation: &str) -> usize {
        self.server
            .requests()
            .iter()
            .filter(|request| request.has(OPERATION) && request.header(OPERATION).ends_with(operation))
            .count()
    }
}

impl State {
    fn answer(&mut self, request: &Recorded) -> Result<Value, &'static str> {
        if !request.has(OPERATION) {
            return Err("UnknownOperationException");
        }
        let input: Value = serde_json::from_slice(&request.body).unwrap();
        let text = |key: &str| input[key].as_str().unwrap_or_default().to_owned();
        let operation = request.header(OPERATION).rsplit('.').next().unwrap_or_default();
        match operation {
            "GetSecretValue" if self.is_denied => Err("AccessDeniedException"),
            "GetSecretValue" => match &self.current {
                Some(version) => Ok(json!({"SecretString": self.versions[version], "VersionId": version})),
                None => Err("ResourceNotFoundException"),
            },
            _ if self.is_frozen => Err("AccessDeniedException"),
            "CreateSecret" if self.current.is_some() => Err("ResourceExistsException"),
            "CreateSecret" => {
                self.versions.insert(text("ClientRequestToken"), text("SecretString"));
                self.current = Some(text("ClientRequestToken"));
                Ok(json!({}))
            }
            "PutSecretValue" => {
                self.versions.insert(text("ClientRequestToken"), text("SecretString"));
                Ok(json!({}))
            }
            "UpdateSecretVersionStage" if self.current.as_deref() == input["RemoveFromVersionId"].as_str() => {
                self.current = Some(text("MoveToVersionId"));
                Ok(json!({}))
            }
            "UpdateSecretVersionStage" => Err("InvalidParameterException"),
            other => panic!("{other} is not simulated"),
        }
    }
}
