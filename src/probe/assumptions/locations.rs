//! Tests where new runs keep their artifacts, and whether MLflow can read them there.

use std::rc::Rc;

use actix_web::http::Method;

use super::proof::{NoProof, Proof};
use super::scratch::ScratchStore;
use super::session::ProofSession;
use crate::api::describe::{self, StoreSource};
use crate::aws::s3::Bucket;
use crate::error_chain;
use crate::http::client::Endpoint;
use crate::mlflow::store::ArtifactStore;

/// Compares the location of the scratch run with the artifact store, and prepares the tests of S3.
pub(super) async fn artifact_location(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.readable()?;
    let run = session.scratch.borrow().known_run()?;
    let uri = session.scratch.borrow().artifact_uri.clone().unwrap_or_default();
    let Ok(location) = ArtifactStore::parse(&uri) else {
        return Ok(Proof::fails("the artifact location of the scratch run is not on S3"));
    };
    // Only keys with the id of our own run may be written and deleted.
    if location.prefix().split('/').any(|segment| segment == run) {
        let store = prepared(session, &location)?;
        session.scratch.borrow_mut().store = Some(Rc::new(store));
    }
    let configured = session.settings.artifacts.as_ref().map(|artifacts| &artifacts.store_source);
    let described = match configured {
        Some(StoreSource::Known(store)) => Ok(store.clone()),
        Some(StoreSource::Described(endpoint)) => ask(session, endpoint).await,
        None => ask(session, &session.settings.sagemaker).await,
    };
    let store = match described {
        Ok(store) => store,
        Err(why) => return Ok(Proof::untested(format!("the artifact store is not known: {}", why.reason()))),
    };
    let is_below = location.bucket() == store.bucket() && location.prefix().starts_with(store.prefix());
    let evidence = format!(
        "the scratch run has bucket `{}`; the artifact store is `s3://{}/{}`",
        location.bucket(),
        store.bucket(),
        store.prefix()
    );
    Ok(Proof::of(is_below, evidence))
}

async fn ask(session: &ProofSession<'_>, endpoint: &Endpoint) -> Result<ArtifactStore, NoProof> {
    let (target, transport) = (&session.settings.target, session.transport());
    let found = describe::artifact_store(target, endpoint, &transport, &session.current()).await;
    found.map_err(|error| NoProof::because(error_chain::joined(&error)))
}

fn prepared(session: &ProofSession<'_>, location: &ArtifactStore) -> Result<ScratchStore, NoProof> {
    let artifacts = session.settings.artifacts.as_ref();
    let (s3, kms_key) =
        (artifacts.and_then(|one| one.s3_endpoint.clone()), artifacts.and_then(|one| one.kms_key.clone()));
    let (region, url) = (session.settings.target.arn().region(), s3.as_ref().map(Endpoint::url));
    let bucket = Bucket::new(location.bucket(), region, url.as_deref(), kms_key.clone());
    let bucket = bucket.map_err(|error| NoProof::because(error.to_string()))?;
    Ok(ScratchStore {
        endpoint: s3.unwrap_or_else(|| Endpoint::https(bucket.host())),
        bucket,
        bucket_name: location.bucket().to_owned(),
        prefix: location.prefix().to_owned(),
        kms_key,
    })
}

/// Lets MLflow, with its own role, list the objects that the tests of S3 have written.
pub(super) async fn read_by_mlflow(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.readable()?;
    let run = session.scratch.borrow().known_run()?;
    session.scratch.borrow().store()?;
    let names: Vec<String> = session.scratch.borrow().written.clone();
    if names.is_empty() {
        return Ok(Proof::untested("the tests of S3 have written no object"));
    }
    let answer = session.mlflow(Method::GET, &format!("/api/2.0/mlflow/artifacts/list?run_id={run}"), None).await?;
    if answer.is_denied() {
        return Ok(Proof::untested(format!("the identity may not send such a request: {}", answer.said())));
    }
    let document = answer.json();
    let files = document["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_listed = |name: &&String| files.iter().any(|file| file["path"] == ***name);
    let found = names.iter().filter(is_listed).count();
    let evidence = format!("{}, {found} of {} objects listed", answer.said(), names.len());
    Ok(Proof::of(answer.status.is_success() && found == names.len(), evidence))
}
