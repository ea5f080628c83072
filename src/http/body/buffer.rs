//! Buffers a caller's body: counts it, hashes it, and decides between memory and disk.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;
use ring::digest::{Context, SHA256};

use super::budget::{BodyOwner, Reservation};
use super::error::RequestBodyError;
use super::gathered::Gathered;
use super::limits::{BodyLimits, LISTENER_SHARE};
use super::pace::Pace;
use super::sendable::Body;
use super::spool::{Spool, finished};

/// Bytes gathered before a trip to the writing thread. While it writes them, as many again are gathered.
const WRITE_SIZE: usize = 256 * 1024;
/// Pieces gathered before that trip: a caller who sends single bytes must not make us hold thousands of buffers.
const WRITE_PIECES: usize = 64;
/// A body takes memory out of the budget in steps of this size while it arrives. Bytes.
const STEP: u64 = 8 * 1024;

/// A buffered body with the facts that signing and sending need.
#[derive(Debug)]
pub struct BufferedBody {
    /// The body itself.
    pub body: Body,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Its length in bytes.
    pub len: u64,
}

impl BufferedBody {
    /// Its SHA-256 as it stands in a signature.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        let mut digits = vec![0; 2 * self.sha256.len()];
        hex::encode_to_slice(self.sha256, &mut digits).expect("two digits for each byte");
        String::from_utf8(digits).expect("digits are ASCII")
    }
}

/// Reads a body to its end, at the expense of `body_owner`.
///
/// `declared` is the `Content-Length`, if there is one; with it, a body that is too large is rejected before it is read.
///
/// # Errors
/// [`RequestBodyError`]. Everything that was buffered is released then.
pub async fn buffer<S>(
    payload: S,
    declared: Option<u64>,
    body_limits: &BodyLimits,
    body_owner: &BodyOwner,
) -> Result<BufferedBody, RequestBodyError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let mut source = ArrivingBody { payload, pace: Pace::new(body_limits.timing), body_limits, body_owner };
    if declared.is_some_and(|length| length > body_limits.size_limit) {
        return Err(RequestBodyError::TooLarge { limit: body_limits.size_limit });
    }
    let expected = declared.unwrap_or(0);
    if expected <= body_limits.memory_limit {
        into_memory(&mut source, expected).await
    } else {
        Box::pin(into_file(&mut source, None, expected)).await
    }
}

struct ArrivingBody<'a, S> {
    payload: S,
    pace: Pace,
    body_limits: &'a BodyLimits,
    body_owner: &'a BodyOwner,
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> ArrivingBody<'_, S> {
    async fn next(&mut self) -> Result<Option<Bytes>, RequestBodyError> {
        let Self { payload, pace, .. } = self;
        let chunk = poll_fn(|context| pace.poll_next(Pin::new(&mut *payload), context)).await?;
        if self.received() > self.body_limits.size_limit {
            return Err(RequestBodyError::TooLarge { limit: self.body_limits.size_limit });
        }
        Ok(chunk)
    }

    fn received(&self) -> u64 {
        self.pace.received()
    }
}

async fn into_memory<S>(source: &mut ArrivingBody<'_, S>, expected: u64) -> Result<BufferedBody, RequestBodyError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let BodyLimits { memory, memory_limit, .. } = source.body_limits;
    // SECURITY: an announcement reserves nothing, or a caller that announces much and sends little would lock others out.
    let mut reservation = memory.open(source.body_owner);
    let most = if expected > 0 { expected } else { *memory_limit };
    // Boxed: with it, the future of each request would be larger.
    let mut hash = Box::new(Context::new(&SHA256));
    let mut gathered = Gathered::default();
    while let Some(chunk) = source.next().await? {
        let received = source.received();
        let needed = received.next_multiple_of(STEP).min(most).max(received);
        if received > *memory_limit || !reservation.grow(needed.saturating_sub(reservation.bytes())) {
            let begun = Some((gathered.pieces().chain([chunk]).collect(), reservation));
            return Box::pin(into_file(source, begun, expected)).await;
        }
        hash.update(&chunk);
        gathered.push(chunk);
    }
    let body = Body::Memory(gathered.joined().await?, Some(reservation));
    Ok(BufferedBody { body, sha256: finished(*hash), len: source.received() })
}

async fn into_file<S>(
    source: &mut ArrivingBody<'_, S>,
    begun: Option<(Vec<Bytes>, Reservation)>,
    expected: u64,
) -> Result<BufferedBody, RequestBodyError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let BodyLimits { disk, gathering, arriving, directory, .. } = source.body_limits;
    let body_owner = source.body_owner;
    let _arriving = arriving.reserve(LISTENER_SHARE, body_owner).ok_or(RequestBodyError::NoRoom)?;
    // A body that has no room now is not worth reading. This check reserves nothing, so others may still take the room.
    if !disk.has_room(expected, body_owner) {
        return Err(RequestBodyError::NoRoom);
    }
    let mut reservation = disk.open(body_owner);
    let mut spool = Spool::create(Arc::clone(directory));
    if let Some((begun, in_memory)) = begun {
        // This comes before any wait: the memory that the body holds is for bodies that stay there.
        if !reservation.grow(source.received()) {
            return Err(RequestBodyError::NoRoom);
        }
        spool.append(begun, in_memory).await.map_err(RequestBodyError::Disk)?;
        spool.flush().await.map_err(RequestBodyError::Disk)?;
    }
    let mut waiting = Vec::new();
    let mut gathered = gathering.open(body_owner);
    loop {
        let chunk = source.next().await?;
        let at_end = chunk.is_none();
        let has_room = chunk.as_ref().is_none_or(|chunk| gathered.grow(chunk.len() as u64));
        waiting.extend(chunk);
        if at_end
            || !has_room
            || waiting.len() >= WRITE_PIECES
            || waiting.iter().map(Bytes::len).sum::<usize>() >= WRITE_SIZE
        {
            if !reservation.grow(source.received() - reservation.bytes()) {
                return Err(RequestBodyError::NoRoom);
            }
            let held = std::mem::replace(&mut gathered, gathering.open(body_owner));
            spool.append(std::mem::take(&mut waiting), held).await.map_err(RequestBodyError::Disk)?;
            if !has_room {
                // Read no more before these bytes have left memory.
                spool.flush().await.map_err(RequestBodyError::Disk)?;
            }
        }
        if at_end {
            let room = source.body_limits.gathering.clone();
            let (file, sha256) = spool.finish(reservation, room).await.map_err(RequestBodyError::Disk)?;
            return Ok(BufferedBody { body: Body::File(file), sha256, len: source.received() });
        }
    }
}

#[cfg(test)]
mod tests;
