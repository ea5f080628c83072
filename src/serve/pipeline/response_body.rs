//! The body of an upstream's response on its way to the client: counted, and translated where locations stand in it.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

use crate::error_chain;
use crate::http::client::{BodyError, ResponseBody};
use crate::serve::artifacts::translate::Translation;
use crate::serve::context::RequestContext;
use crate::serve::telemetry::finished::RequestOutcome;

/// The body of an upstream's response. The context of its request lives as long as it does.
pub(super) struct ObservedBody {
    source: ResponseBody,
    translation: Option<Translation>,
    at_end: bool,
    context: RequestContext,
}

impl ObservedBody {
    /// Begins with the body as the upstream sends it.
    pub(super) fn new(source: ResponseBody, translation: Option<Translation>, context: RequestContext) -> Self {
        Self { source, translation, at_end: false, context }
    }

    /// Polls for the next piece, translated. It is never empty, because an empty chunk would be the end.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.at_end {
            return Poll::Ready(None);
        }
        loop {
            let piece = std::task::ready!(Pin::new(&mut self.source).poll_next(context));
            let Some(translation) = &mut self.translation else { return Poll::Ready(piece) };
            let translated = match piece {
                Some(Ok(piece)) => translation.push(piece),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.at_end = true;
                    translation.finish()
                }
            };
            if !translated.is_empty() {
                return Poll::Ready(Some(Ok(translated)));
            }
            if self.at_end {
                return Poll::Ready(None);
            }
        }
    }
}

impl MessageBody for ObservedBody {
    type Error = BodyError;

    fn size(&self) -> BodySize {
        match (self.source.size(), &self.translation) {
            (BodySize::Sized(_), Some(_)) => BodySize::Stream,
            (size, _) => size,
        }
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let this = self.get_mut();
        let piece = std::task::ready!(this.poll_piece(context));
        match &piece {
            Some(Ok(piece)) => this.context.log.sent(piece.len() as u64),
            // Returning the error cuts the client's connection: a truncated body must not look complete.
            Some(Err(error)) => {
                this.context.log.ended(RequestOutcome::Truncated);
                this.context.log.alarming(Some(error_chain::joined(error)));
            }
            None => this.context.log.ended(RequestOutcome::Complete),
        }
        Poll::Ready(piece)
    }
}

impl Drop for ObservedBody {
    fn drop(&mut self) {
        // The server does not ask for the end of a body whose size it knows.
        let is_whole = match self.size() {
            BodySize::None => true,
            BodySize::Sized(length) => length == self.context.log.bytes_sent(),
            BodySize::Stream => false,
        };
        if is_whole {
            self.context.log.ended(RequestOutcome::Complete);
        }
    }
}
