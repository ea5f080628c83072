//! Takes a caller's body in: counts, hashes, and decides between memory and disk.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;
use sha2::{Digest, Sha256};

use super::Body;
use super::budget::{Account, Budget, Reservation};
use super::gathered::Gathered;
use super::pace::{Pace, Timing};
use super::spool::Spool;

/// Bytes gathered before a trip to the writing thread. While it writes them, as many again are gathered.
const WRITE_SIZE: usize = 256 * 1024;
/// Pieces gathered before that trip: a caller who sends single bytes must not make us hold thousands of buffers.
const WRITE_PIECES: usize = 64;
/// A body takes memory out of the budget in steps of this size while it arrives. Bytes.
const STEP: u64 = 8 * 1024;

/// The most that the listener holds of one body: what it has read and not handed on (128 KiB), what it has handed on and
/// nobody has taken (32 KiB), and what is being written (as much as it had read). Bytes.
pub(super) const LISTENER_SHARE: u64 = 320 * 1024;

/// Limits and places for bodies; one for the whole process.
#[derive(Clone, Debug)]
pub struct Intake {
    /// A larger body is refused. Bytes.
    pub size_limit: u64,
    /// A larger body goes to disk. Bytes.
    pub memory_limit: u64,
    /// What all bodies in memory may take together; beyond it they go to disk.
    pub memory: Budget,
    /// What all bodies on their way to disk may gather in memory together; beyond it they are written in smaller pieces.
    pub gathering: Budget,
    /// What the listener may hold of bodies on their way to disk; beyond it they are refused for now. It is not asked how
    /// much it holds, so each counts with `LISTENER_SHARE`.
    pub arriving: Budget,
    /// What all bodies on disk may take together; beyond it they are refused for now.
    pub disk: Budget,
    /// Where the unlinked files live.
    pub directory: Arc<Path>,
    /// The time limits of a body.
    pub timing: Timing,
    /// Whether what would go to disk is passed on instead, where nothing has to be known of it.
    pub passes_large: bool,
}

impl Intake {
    /// The length of a body that is to be passed on as it comes, rather than taken in.
    #[must_use]
    pub fn passes(&self, declared: Option<u64>) -> Option<u64> {
        let large = self.memory_limit + 1..=self.size_limit;
        declared.filter(|length| self.passes_large && large.contains(length))
    }
}

/// A body with the two facts that signing and sending need.
#[derive(Debug)]
pub struct Received {
    /// The body itself.
    pub body: Body,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Its length in bytes.
    pub len: u64,
}

/// Why a body was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Larger than allowed, by its announcement or in fact.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// [`Intake::size_limit`].
        limit: u64,
    },
    /// Uploads hold the disk budget, or the caller's or the address's share of it.
    #[error("uploads hold the disk budget, or this caller's or this address's share of it")]
    NoRoom,
    /// The caller sent nothing for too long.
    #[error("the request body stalled for {0:?}")]
    Stalled(Duration),
    /// The caller sent fewer bytes per second than this.
    #[error("the request body arrived at less than {0} bytes per second")]
    Slow(u64),
    /// The body was not complete within this time.
    #[error("the request body was not complete after {0:?}")]
    Late(Duration),
    /// The caller went away or broke the framing.
    #[error("the request body is incomplete or malformed")]
    Broken(#[source] PayloadError),
    /// The disk failed, most likely full.
    #[error("cannot write the request body to disk")]
    Disk(#[source] io::Error),
}

/// Reads a body to its end, at the expense of `account`.
///
/// `declared` is the `Content-Length`, if there is one; it lets a body that cannot be taken be refused before it is read.
///
/// # Errors
/// [`ReceiveError`]. Everything taken in is released then.
pub async fn receive<S>(
    payload: S,
    declared: Option<u64>,
    intake: &Intake,
    account: &Account,
) -> Result<Received, ReceiveError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let mut source = Source { payload, pace: Pace::new(intake.timing), intake, account };
    if declared.is_some_and(|length| length > intake.size_limit) {
        return Err(ReceiveError::TooLarge { limit: intake.size_limit });
    }
    let expected = declared.unwrap_or(0);
    if expected <= intake.memory_limit {
        into_memory(&mut source, expected).await
    } else {
        Box::pin(into_file(&mut source, None, expected)).await
    }
}

struct Source<'a, S> {
    payload: S,
    pace: Pace,
    intake: &'a Intake,
    account: &'a Account,
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Source<'_, S> {
    async fn next(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        let Self { payload, pace, .. } = self;
        let chunk = poll_fn(|context| pace.poll_next(Pin::new(&mut *payload), context)).await?;
        if self.received() > self.intake.size_limit {
            return Err(ReceiveError::TooLarge { limit: self.intake.size_limit });
        }
        Ok(chunk)
    }

    fn received(&self) -> u64 {
        self.pace.received()
    }
}

async fn into_memory<S>(source: &mut Source<'_, S>, expected: u64) -> Result<Received, ReceiveError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let Intake { memory, memory_limit, .. } = source.intake;
    // SECURITY: an announcement holds nothing; whoever announces much and sends little would keep others out.
    let mut reservation = memory.open(source.account);
    let most = if expected > 0 { expected } else { *memory_limit };
    let mut hash = Sha256::new();
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
    Ok(Received { body, sha256: hash.finalize().into(), len: source.received() })
}

async fn into_file<S>(
    source: &mut Source<'_, S>,
    begun: Option<(Vec<Bytes>, Reservation)>,
    expected: u64,
) -> Result<Received, ReceiveError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let Intake { disk, gathering, arriving, directory, .. } = source.intake;
    let account = source.account;
    let _arriving = arriving.reserve(LISTENER_SHARE, account).ok_or(ReceiveError::NoRoom)?;
    // A body that has no room now is not worth receiving. This reserves nothing, so others may still take the room.
    if !disk.has_room(expected, account) {
        return Err(ReceiveError::NoRoom);
    }
    let mut reservation = disk.open(account);
    let mut spool = Spool::create(Arc::clone(directory));
    if let Some((begun, in_memory)) = begun {
        // Before anything is waited for: what it held in memory is for bodies that stay there.
        if !reservation.grow(source.received()) {
            return Err(ReceiveError::NoRoom);
        }
        spool.append(begun, in_memory).await.map_err(ReceiveError::Disk)?;
        spool.rest().await.map_err(ReceiveError::Disk)?;
    }
    let mut waiting = Vec::new();
    let mut gathered = gathering.open(account);
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
                return Err(ReceiveError::NoRoom);
            }
            let held = std::mem::replace(&mut gathered, gathering.open(account));
            spool.append(std::mem::take(&mut waiting), held).await.map_err(ReceiveError::Disk)?;
            if !has_room {
                // Nothing more is taken in before this is out of memory.
                spool.rest().await.map_err(ReceiveError::Disk)?;
            }
        }
        if at_end {
            let room = source.intake.gathering.clone();
            let (file, sha256) = spool.finish(reservation, room).await.map_err(ReceiveError::Disk)?;
            return Ok(Received { body: Body::File(file), sha256, len: source.received() });
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;
    use futures_util::stream;

    use super::super::budget::Resource;
    use super::*;

    fn intake(directory: &Path) -> Intake {
        Intake {
            size_limit: 1_000_000,
            memory_limit: 1000,
            memory: Budget::new(Resource::Memory, 1500),
            arriving: Budget::new(Resource::Arriving, 2 * LISTENER_SHARE),
            gathering: Budget::new(Resource::Gathering, 300_000),
            disk: Budget::new(Resource::Disk, 800_000),
            directory: directory.into(),
            timing: Timing { silence: Duration::from_millis(50), total: Duration::from_secs(60) },
            passes_large: false,
        }
    }

    fn pieces(of: &[&[u8]]) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + use<> {
        stream::iter(of.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>())
    }

    async fn sent(body: &Body) -> Vec<u8> {
        let mut outgoing = Box::pin(body.outgoing());
        let mut all = Vec::new();
        while let Some(chunk) = std::future::poll_fn(|context| outgoing.as_mut().poll_next(context)).await {
            all.extend_from_slice(&chunk.expect("readable"));
        }
        all
    }

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().expect("32 bytes")
    }

    #[tokio::test]
    async fn any_body_comes_out_as_it_went_in_and_can_be_sent_twice() {
        let directory = tempfile::tempdir().expect("a directory");
        let large: Vec<u8> = (0..700_000_u32).map(|number| number.to_be_bytes()[3]).collect();
        let cases = [
            (vec![], Some(0), false),
            (vec![b"abc".as_slice()], Some(3), false),
            (vec![b"ab".as_slice(), b"", b"c", b"d"], None, false),
            (vec![&large[..600], &large[..600]], None, true),
            (large.chunks(10_000).collect(), Some(700_000), true),
        ];
        // With room to gather and to read ahead, and without.
        for (memory, (of, declared, on_disk)) in
            [1_500, 2_000_000].iter().flat_map(|memory| cases.iter().map(move |case| (*memory, case)))
        {
            let intake = Intake { gathering: Budget::new(Resource::Gathering, memory), ..intake(directory.path()) };
            let expected = of.concat();
            let received = receive(pieces(of), *declared, &intake, &Account::default()).await.expect("received");
            assert_eq!(matches!(received.body, Body::File(_)), *on_disk, "{} bytes", expected.len());
            assert_eq!((received.sha256, received.len), (sha256(&expected), expected.len() as u64));
            assert_eq!(sent(&received.body).await, expected);
            assert_eq!(sent(&received.body).await, expected);
            drop(received);
            assert_eq!((intake.memory.used(), intake.disk.used()), (0, 0));
        }
        assert_eq!(std::fs::read_dir(directory.path()).expect("listed").count(), 0, "spool files have no name");
    }

    #[tokio::test]
    async fn memory_over_budget_goes_to_disk_and_disk_over_budget_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let intake = intake(directory.path());
        let first = receive(pieces(&[&[1; 900]]), Some(900), &intake, &Account::default()).await.expect("received");
        let second = receive(pieces(&[&[2; 900]]), Some(900), &intake, &Account::default()).await.expect("received");
        assert!(matches!((&first.body, &second.body), (Body::Memory(..), Body::File(_))));
        let held = intake.disk.reserve(750_000, &Account::default()).expect("room");
        let third = receive(pieces(&[&vec![3; 60_000]]), None, &intake, &Account::default()).await;
        assert!(matches!(third, Err(ReceiveError::NoRoom)), "{third:?}");
        drop((first, second, held));
        assert_eq!((intake.memory.used(), intake.disk.used()), (0, 0));
    }

    #[tokio::test]
    async fn no_more_bodies_are_on_their_way_to_disk_than_the_listener_may_hold() {
        let directory = tempfile::tempdir().expect("a directory");
        let intake = intake(directory.path());
        let held = [
            intake.arriving.reserve(LISTENER_SHARE, &Account::default()),
            intake.arriving.reserve(LISTENER_SHARE, &Account::default()),
        ];
        let refused = receive(pieces(&[&[1; 2000]]), Some(2000), &intake, &Account::default()).await;
        assert!(matches!(refused, Err(ReceiveError::NoRoom)), "{refused:?}");
        assert!(
            receive(pieces(&[&[1; 900]]), Some(900), &intake, &Account::default()).await.is_ok(),
            "small ones need no such room"
        );
        drop(held);
        assert!(receive(pieces(&[&[1; 2000]]), Some(2000), &intake, &Account::default()).await.is_ok());
        assert_eq!(intake.arriving.used(), 0);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_before_it_is_read_and_while() {
        let directory = tempfile::tempdir().expect("a directory");
        let intake = intake(directory.path());
        let unread = stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, PayloadError>>> {
            panic!("a declared oversize must not be read")
        });
        assert!(matches!(
            receive(unread, Some(1_000_001), &intake, &Account::default()).await,
            Err(ReceiveError::TooLarge { .. })
        ));
        let large = vec![0; 1_000_001];
        let endless = pieces(&large.chunks(100_000).collect::<Vec<_>>());
        let small_disk = Intake { disk: Budget::new(Resource::Disk, u64::MAX), ..intake };
        assert!(matches!(
            receive(endless, None, &small_disk, &Account::default()).await,
            Err(ReceiveError::TooLarge { .. })
        ));
    }

    #[tokio::test]
    async fn a_silent_caller_and_an_unusable_directory_are_told_apart() {
        let directory = tempfile::tempdir().expect("a directory");
        let intake = intake(directory.path());
        let silent = receive(stream::pending(), Some(3), &intake, &Account::default()).await;
        assert!(matches!(silent, Err(ReceiveError::Stalled(_))), "{silent:?}");
        let nowhere = Intake { directory: directory.path().join("missing").into(), ..intake };
        let lost = receive(pieces(&[&[1; 2000]]), Some(2000), &nowhere, &Account::default()).await;
        assert!(matches!(lost, Err(ReceiveError::Disk(_))), "{lost:?}");
    }
}
