//! The limits of an HTTP/2 upstream, as its first frame states them: the largest head (`SETTINGS_MAX_HEADER_LIST_SIZE`), and the number of
//! requests at a time (`SETTINGS_MAX_CONCURRENT_STREAMS`).
//!
//! `h2` reads the first limit and ignores it, but many servers close the connection, with all other requests on it, when a head
//! is larger. `h2` respects the second limit without telling its caller: further requests would wait on a full connection although
//! another one could be opened, and the requests of one target would wait behind those of another.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::stream::UpstreamStream;
use crate::http::forward_writes::forward_writes;

/// The most that is sent to an upstream that names no limit, which is the limit of AWS's load balancers and of many
/// servers. Bytes, as HTTP/2 counts them.
const USUAL_LIMIT: usize = 64 * 1024;
/// A head up to this size is sent before the upstream's first frame arrives. Bytes.
const UNASKED: usize = 8 * 1024;
/// The head of a frame, and what of the first one is kept: there are six settings. Bytes.
const FRAME_HEAD: usize = 9;
const FRAME_LIMIT: usize = 1024;
const SETTINGS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// The limits that an upstream has announced.
#[derive(Default)]
pub(super) struct Peer {
    limit: Cell<Option<usize>>,
    streams: Cell<Option<usize>>,
    known: Notify,
}

/// The settings in a first frame, as far as they matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PeerSettings {
    header_list: Option<usize>,
    streams: Option<usize>,
}

impl Peer {
    /// The most bytes of header fields that it takes, where it matters for so many.
    pub(super) async fn limit(&self, size: usize) -> usize {
        loop {
            // Listening begins before the check, so that no change after the check is missed.
            let known = self.known.notified();
            match self.limit.get() {
                Some(limit) => return limit,
                None if size <= UNASKED => return UNASKED,
                None => known.await,
            }
        }
    }

    /// The number of requests that it takes at a time, if it has named one.
    pub(super) fn streams(&self) -> Option<usize> {
        self.streams.get()
    }

    fn store(&self, settings: PeerSettings) {
        self.limit.set(Some(settings.header_list.unwrap_or(USUAL_LIMIT).min(USUAL_LIMIT)));
        self.streams.set(settings.streams);
        self.known.notify_waiters();
    }
}

/// A connection whose first frame is read as it passes.
pub(super) struct Watched {
    stream: UpstreamStream,
    /// The first bytes that have come; nothing once the limit is known.
    begun: Option<Vec<u8>>,
    peer: Rc<Peer>,
}

impl Watched {
    pub(super) fn new(stream: UpstreamStream, peer: Rc<Peer>) -> Self {
        Self { stream, begun: Some(Vec::new()), peer }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The settings frame can no longer come, so waiting ends.
        if self.begun.is_some() {
            self.peer.store(PeerSettings::default());
        }
    }
}

/// The size of a head as HTTP/2 counts it (RFC 9113 §6.5.2).
pub(super) fn size(head: &http::Request<()>) -> usize {
    const FOR_EACH: usize = 32;
    const PSEUDO: usize = ":method:scheme:authority:path".len() + 4 * FOR_EACH;
    let fields = head.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + FOR_EACH);
    // Scheme, authority and path.
    let target = head.uri().authority().map_or(0, |authority| authority.as_str().len())
        + head.uri().scheme_str().map_or(0, str::len)
        + head.uri().path_and_query().map_or(0, |target| target.as_str().len());
    PSEUDO + head.method().as_str().len() + target + fields.sum::<usize>()
}

/// The settings in the first frame; nothing until the frame is whole.
fn settings_in(begun: &[u8]) -> Option<PeerSettings> {
    let (head, rest) = begun.split_at_checked(FRAME_HEAD)?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    if head[3] != SETTINGS || length > FRAME_LIMIT {
        return Some(PeerSettings::default());
    }
    let (settings, _) = rest.split_at_checked(length)?;
    let value = |name: u16| {
        // The last one holds (RFC 9113 §6.5.3).
        let setting = settings.chunks_exact(6).rev().find(|setting| setting[..2] == name.to_be_bytes())?;
        usize::try_from(u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]])).ok()
    };
    Some(PeerSettings { header_list: value(MAX_HEADER_LIST_SIZE), streams: value(MAX_CONCURRENT_STREAMS) })
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let this = self.get_mut();
        if let Some(begun) = &mut this.begun {
            let piece = &buffer.filled()[before..];
            begun.extend_from_slice(&piece[..piece.len().min(FRAME_HEAD + FRAME_LIMIT)]);
            if let Some(settings) = settings_in(begun) {
                this.begun = None;
                this.peer.store(settings);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    forward_writes!(|this| this.stream; all);
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn frame(kind: u8, settings: &[(u16, u32)]) -> Vec<u8> {
        let length = u8::try_from(settings.len() * 6).unwrap();
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 0];
        for (name, value) in settings {
            frame.extend_from_slice(&name.to_be_bytes());
            frame.extend_from_slice(&value.to_be_bytes());
        }
        frame
    }

    #[test]
    fn the_limits_are_in_the_first_frame() {
        let named = frame(SETTINGS, &[(MAX_CONCURRENT_STREAMS, 7), (MAX_HEADER_LIST_SIZE, 16_384), (4, 65_535)]);
        for end in 0..named.len() {
            assert_eq!(settings_in(&named[..end]), None, "{end}");
        }
        let both = PeerSettings { header_list: Some(16_384), streams: Some(7) };
        assert_eq!(settings_in(&[&named[..], b"more"].concat()), Some(both));
        let twice = frame(SETTINGS, &[(MAX_HEADER_LIST_SIZE, 1), (MAX_HEADER_LIST_SIZE, 2)]);
        assert_eq!(settings_in(&twice), Some(PeerSettings { header_list: Some(2), streams: None }));
        let streams = frame(SETTINGS, &[(MAX_CONCURRENT_STREAMS, 100)]);
        assert_eq!(settings_in(&streams), Some(PeerSettings { header_list: None, streams: Some(100) }));
        for (other, why) in
            [(frame(SETTINGS, &[]), "empty"), (frame(7, &[]), "no settings"), (vec![0xff; 9], "too long")]
        {
            assert_eq!(settings_in(&other), Some(PeerSettings::default()), "{why}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_beginning_is_read(begun in proptest::collection::vec(proptest::num::u8::ANY, 0..3000)) {
            let settings = [&[0, 0, 12, SETTINGS, 0, 0, 0, 0, 0], &begun[..]].concat();
            let (_, found) = (settings_in(&begun), settings_in(&settings));
            proptest::prop_assert_eq!(found.is_some(), begun.len() >= 12);
        }
    }

    #[test]
    fn only_a_large_head_waits_for_the_settings_of_the_upstream() {
        let peer = Peer::default();
        assert_eq!(peer.limit(UNASKED).now_or_never(), Some(UNASKED));
        let mut waiting = Box::pin(peer.limit(UNASKED + 1));
        assert_eq!((&mut waiting).now_or_never(), None);
        assert_eq!(peer.streams(), None);
        peer.store(PeerSettings { header_list: Some(1 << 20), streams: Some(7) });
        assert_eq!(peer.streams(), Some(7));
        assert_eq!(waiting.now_or_never(), Some(USUAL_LIMIT), "others are on the way, too");
    }
}
