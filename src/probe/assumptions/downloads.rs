//! Tests whether S3 answers a presigned URL with the headers that were signed.

use std::time::Duration;

use actix_web::http::Method;

use super::parts::by_url;
use super::proof::{NoProof, Proof};
use super::session::ProofSession;
use super::uploads::{pattern, rejected, stored};

const NAME: &str = "download.txt";
const DISPOSITION: &str = "attachment; filename=\"an odd name.txt\"";

pub(super) async fn presigned(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    let store = session.scratch.borrow().store()?;
    let key = session.scratch.borrow_mut().new_key(NAME)?;
    let data = pattern(100);
    let call = store.bucket.put(&session.credentials(), &key, Some("text/plain"), None);
    let answer = session.s3(&store.endpoint, call, Some(data.clone())).await?;
    if !answer.status.is_success() {
        return Ok(rejected(&answer));
    }
    let url = store.bucket.presigned_get(&session.credentials(), &key, Duration::from_mins(1), DISPOSITION, None);
    let answer = by_url(session, Method::GET, &url, None).await?;
    if !answer.status.is_success() {
        return Ok(stored_anyway(session, rejected(&answer)));
    }
    let given = answer.header("content-disposition");
    let evidence = format!("{} with `Content-Disposition: {given}`", answer.said());
    Ok(stored(session, NAME, given == DISPOSITION && answer.body == data, evidence))
}

/// Notes that the object is there, although its download failed.
fn stored_anyway(session: &ProofSession<'_>, proof: Proof) -> Proof {
    session.scratch.borrow_mut().written.push(NAME.to_owned());
    proof
}
