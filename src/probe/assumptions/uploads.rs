//! Tests how S3 takes an object in chunks, and how it stores an object with an odd key.

use actix_web::http::{Method, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use ring::digest::{SHA256, digest};

use super::answer::ProofAnswer;
use super::proof::{NoProof, Proof};
use super::session::{ProofRequest, ProofSession, REQUEST_LIMIT};
use super::signing::{FreeSignature, in_chunks};
use crate::aws::s3;
use crate::clock;

/// More than `body-memory-limit` is by default, and several chunks. Bytes.
const SIZE: usize = (2 << 20) + 5;
/// The object that later tests look at again.
pub(super) const CHUNKED: &str = "chunks.bin";
/// A key that each layer could misread.
const ODD: &str = "odd name +%41#\u{fc}.txt";
const BINARY: &str = "application/octet-stream";

pub(super) async fn chunked(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    let data = pattern(SIZE);
    let (answer, key) = put_in_chunks(session, CHUNKED, &data, &data).await?;
    read_back(session, (CHUNKED, &key), &answer, &data).await
}

/// Changes a byte of a signed chunk on its way.
pub(super) async fn corrupt(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    let data = pattern(70_000);
    let mut changed = data.to_vec();
    changed[66_000] ^= 1;
    let (answer, key) = put_in_chunks(session, "corrupt.bin", &data, &changed).await?;
    let found = head(session, &key).await?;
    let evidence = format!("{}; then the object answers {}", answer.said(), found.status.as_u16());
    // An outage would look the same, unless S3 has just taken such an object.
    let works = session.scratch.borrow().written.iter().any(|name| name == CHUNKED);
    if answer.status.is_server_error() && !works {
        return Ok(rejected(&answer));
    }
    Ok(Proof::of(!answer.status.is_success() && found.status == StatusCode::NOT_FOUND, evidence))
}

/// Sends unsigned chunks, with their checksum behind them.
pub(super) async fn unsigned_trailer(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    let store = session.scratch.borrow().store()?;
    let name = "unsigned-chunks.bin";
    let key = session.scratch.borrow_mut().new_key(name)?;
    let data = pattern(70_000);
    let usual = store.bucket.put(&session.credentials(), &key, Some(BINARY), None);
    let path = usual.target.split('?').next().unwrap_or_default();
    let mut headers = usual.headers;
    headers.push(("content-encoding", "aws-chunked".to_owned()));
    headers.push(("x-amz-decoded-content-length", data.len().to_string()));
    headers.push(("x-amz-trailer", "x-amz-checksum-crc32".to_owned()));
    let (region, payload) = (session.settings.target.arn().region(), "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    let endpoint = &store.endpoint;
    let request = FreeSignature { method: "PUT", endpoint, target: path, region, service: "s3", headers, payload };
    let headers = request.sign(&session.credentials(), clock::now())?.headers;
    let checksum = BASE64_STANDARD.encode(crc32fast::hash(&data).to_be_bytes());
    let mut body = format!("{:x}\r\n", data.len()).into_bytes();
    body.extend_from_slice(&data);
    body.extend_from_slice(format!("\r\n0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n").as_bytes());
    let (method, body, limit) = (Method::PUT, Some(Bytes::from(body)), 3 * REQUEST_LIMIT);
    let answer = session.send(ProofRequest { endpoint, method, target: path, headers, body, limit }).await?;
    read_back(session, (name, &key), &answer, &data).await
}

/// Judges an upload by its answer, and by the object that is there then.
async fn read_back(
    session: &ProofSession<'_>,
    (name, key): (&str, &str),
    answer: &ProofAnswer,
    data: &Bytes,
) -> Result<Proof, NoProof> {
    if !answer.status.is_success() {
        return Ok(rejected(answer));
    }
    let read = get(session, key).await?;
    let evidence = format!("{}, and {} bytes read back", answer.said(), read.body.len());
    Ok(stored(session, name, read.body == *data, evidence))
}

/// Writes, reads and lists an object with an odd key.
pub(super) async fn key_characters(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    let store = session.scratch.borrow().store()?;
    let key = session.scratch.borrow_mut().new_key(ODD)?;
    let data = pattern(100);
    let sha256 = BASE64_STANDARD.encode(digest(&SHA256, &data));
    let call = store.bucket.put(&session.credentials(), &key, Some("text/plain"), Some(&sha256));
    let answer = session.s3(&store.endpoint, call, Some(data.clone())).await?;
    if !answer.status.is_success() {
        return Ok(rejected(&answer));
    }
    let read = get(session, &key).await?;
    let call = store.bucket.list(&session.credentials(), &format!("{}odd", store.prefix), None, None);
    let listing = session.s3(&store.endpoint, call, None).await?;
    let page = s3::page(&String::from_utf8_lossy(&listing.body)).unwrap_or_default();
    let is_listed = page.objects.iter().any(|(found, _)| *found == key);
    let evidence = format!(
        "written: {}; read: {}; listed: {}",
        answer.said(),
        read.said(),
        if is_listed { "yes".to_owned() } else { format!("no ({})", listing.said()) }
    );
    if listing.is_denied() {
        return Ok(Proof::untested(format!("the identity may not list the bucket: {evidence}")));
    }
    Ok(stored(session, ODD, read.body == data && is_listed, evidence))
}

/// Sends an object in chunks that are signed for `signed`.
async fn put_in_chunks(
    session: &ProofSession<'_>,
    name: &str,
    signed: &Bytes,
    sent: &[u8],
) -> Result<(ProofAnswer, String), NoProof> {
    let store = session.scratch.borrow().store()?;
    let key = session.scratch.borrow_mut().new_key(name)?;
    let call = store.bucket.put_in_chunks(&session.credentials(), &key, BINARY, signed.len() as u64);
    let mut call = call.map_err(|error| NoProof::because(error.to_string()))?;
    let mut chunks = call.chunks.take().ok_or_else(|| NoProof::because("there is no signer of chunks"))?;
    let mut body = in_chunks(&mut chunks, signed, true).to_vec();
    // Both have the same length, so each piece is where the signed one is.
    for (right, wrong) in signed.chunks(s3::CHUNK_SIZE).zip(sent.chunks(s3::CHUNK_SIZE)) {
        if right != wrong
            && let Some(at) = body.windows(right.len()).position(|window| window == right)
        {
            body[at..at + wrong.len()].copy_from_slice(wrong);
        }
    }
    let answer = session.s3(&store.endpoint, call, Some(body.into())).await?;
    Ok((answer, key))
}

/// Notes an object that was written, for later tests, and judges.
pub(super) fn stored(session: &ProofSession<'_>, name: &str, holds: bool, evidence: String) -> Proof {
    session.scratch.borrow_mut().written.push(name.to_owned());
    Proof::of(holds, evidence)
}

pub(super) async fn get(session: &ProofSession<'_>, key: &str) -> Result<ProofAnswer, NoProof> {
    let store = session.scratch.borrow().store()?;
    session.s3(&store.endpoint, store.bucket.get(&session.credentials(), key), None).await
}

pub(super) async fn head(session: &ProofSession<'_>, key: &str) -> Result<ProofAnswer, NoProof> {
    let store = session.scratch.borrow().store()?;
    session.s3(&store.endpoint, store.bucket.head(&session.credentials(), key), None).await
}

/// Judges an answer that is no success.
pub(super) fn rejected(answer: &ProofAnswer) -> Proof {
    if answer.is_denied() {
        Proof::untested(format!("the identity may not do this: {}", answer.said()))
    } else if answer.status.is_server_error() && answer.status != StatusCode::NOT_IMPLEMENTED {
        Proof::untested(format!("S3 failed: {}", answer.said()))
    } else if answer.status.is_success() {
        Proof::fails(format!("{}, and the answer is not S3's", answer.said()))
    } else {
        Proof::fails(answer.said())
    }
}

/// Bytes that differ from chunk to chunk.
pub(super) fn pattern(size: usize) -> Bytes {
    (0_u32..).flat_map(u32::to_be_bytes).take(size).collect::<Vec<u8>>().into()
}
