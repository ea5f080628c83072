//! Tests how S3 takes an object in parts, by signed requests and by presigned URLs, and encrypts it with a key.

use actix_web::http::Method;
use bytes::Bytes;

use super::answer::ProofAnswer;
use super::proof::{NoProof, Proof};
use super::session::{ProofRequest, ProofSession, REQUEST_LIMIT};
use super::uploads::{CHUNKED, get, head, pattern, rejected, stored};
use crate::aws::s3;
use crate::http::fields::Fields;

const SIGNED: &str = "parts.bin";
const PRESIGNED: &str = "presigned-parts.bin";
const BINARY: &str = "application/octet-stream";

pub(super) async fn signed(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    assembled(session, SIGNED, false).await
}

pub(super) async fn presigned(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    assembled(session, PRESIGNED, true).await
}

/// Makes an object of one part. The last part may be as small as it likes.
async fn assembled(session: &ProofSession<'_>, name: &str, is_presigned: bool) -> Result<Proof, NoProof> {
    let store = session.scratch.borrow().store()?;
    // After an interruption nothing is sent, so there is nothing to note either.
    session.going_on()?;
    let key = session.scratch.borrow_mut().new_key(name)?;
    session.scratch.borrow_mut().uploads.push((key.clone(), None));
    let call = store.bucket.create_multipart(&session.credentials(), &key, BINARY);
    let answer = session.s3(&store.endpoint, call, None).await?;
    let Some(upload) = s3::upload_id(&String::from_utf8_lossy(&answer.body)).filter(|_| answer.status.is_success())
    else {
        session.scratch.borrow_mut().uploads.retain(|(other, _)| *other != key);
        return Ok(rejected(&answer));
    };
    session.scratch.borrow_mut().uploads.retain(|(other, _)| *other != key);
    session.scratch.borrow_mut().uploads.push((key.clone(), Some(upload.clone())));

    let data = pattern(100_000);
    let part = if is_presigned {
        let urls = store.bucket.presigned_parts(&session.credentials(), &key, &upload, REQUEST_LIMIT * 3);
        by_url(session, Method::PUT, &urls.of(1), Some(data.clone())).await?
    } else {
        let call = store.bucket.put_part(&session.credentials(), &key, &upload, 1);
        session.s3(&store.endpoint, call, Some(data.clone())).await?
    };
    if !part.status.is_success() {
        return Ok(rejected(&part));
    }
    let early = head(session, &key).await?;
    let parts = s3::parts_document([part.header("etag")].into_iter());
    let call = store.bucket.complete_multipart(&session.credentials(), &key, &upload, parts);
    let answer = session.s3(&store.endpoint, call, None).await?;
    if !answer.status.is_success() || !s3::is_completed(&String::from_utf8_lossy(&answer.body)) {
        return Ok(rejected(&answer));
    }
    session.scratch.borrow_mut().uploads.retain(|(other, _)| *other != key);
    let read = get(session, &key).await?;
    let evidence = format!(
        "the part got {}; before the end, the object answered {}; then {} bytes were read back",
        part.said(),
        early.status.as_u16(),
        read.body.len()
    );
    Ok(stored(session, name, !early.status.is_success() && read.body == data, evidence))
}

/// Sends a request to a presigned URL of the store, with no further header.
pub(super) async fn by_url(
    session: &ProofSession<'_>,
    method: Method,
    url: &str,
    body: Option<Bytes>,
) -> Result<ProofAnswer, NoProof> {
    let store = session.scratch.borrow().store()?;
    let target = url.splitn(4, '/').nth(3).map(|rest| format!("/{rest}")).unwrap_or_default();
    let (endpoint, headers) = (&store.endpoint, Fields::new());
    session.send(ProofRequest { endpoint, method, target: &target, headers, body, limit: 3 * REQUEST_LIMIT }).await
}

/// Looks at the encryption of the objects that the tests before this one have written.
pub(super) async fn kms(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    let store = session.scratch.borrow().store()?;
    let Some(key) = &store.kms_key else {
        return Ok(Proof::untested("no key is configured with `artifact-kms-key`"));
    };
    let written = session.scratch.borrow().written.clone();
    let names: Vec<_> = [CHUNKED, SIGNED].into_iter().filter(|name| written.iter().any(|one| one == name)).collect();
    if names.is_empty() {
        return Ok(Proof::untested("the tests of S3 have written no object"));
    }
    let (mut holds, mut evidence) = (true, Vec::new());
    for name in names {
        let answer = head(session, &format!("{}{name}", store.prefix)).await?;
        let method = answer.header("x-amz-server-side-encryption");
        let used = answer.header("x-amz-server-side-encryption-aws-kms-key-id");
        // S3 answers with the ARN, whatever form the request had.
        let is_key = !used.is_empty() && (used == key || used.rsplit('/').next() == key.rsplit('/').next());
        let is_alias = key.contains("alias/");
        holds &= method.starts_with("aws:kms") && (is_key || is_alias);
        let which = if is_key { "with the key" } else { "with another key or an alias" };
        evidence.push(format!(
            "{name}: {} {}",
            answer.said(),
            if method.is_empty() { "not encrypted with KMS" } else { which }
        ));
    }
    Ok(Proof::of(holds, evidence.join("; ")))
}
