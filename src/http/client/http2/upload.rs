//! Sends the body of a request over HTTP/2, as fast as the upstream takes it.

use std::future::poll_fn;
use std::pin::pin;

use actix_web::body::MessageBody as _;
use bytes::Bytes;
use h2::SendStream;

use crate::http::body::Outgoing;
use crate::http::client::error::ClientError;

/// Sends a body to its end.
pub(super) async fn send_body(body: Outgoing, upload: &mut SendStream<Bytes>) -> Result<(), ClientError> {
    let mut body = pin!(body);
    while let Some(piece) = poll_fn(|context| body.as_mut().poll_next(context)).await {
        let mut piece = piece.map_err(ClientError::Body)?;
        while !piece.is_empty() {
            upload.reserve_capacity(piece.len());
            let Some(capacity) = poll_fn(|context| upload.poll_capacity(context)).await else {
                return Err(ClientError::Closed);
            };
            let capacity = capacity?.min(piece.len());
            upload.send_data(piece.split_to(capacity), false)?;
        }
    }
    Ok(upload.send_data(Bytes::new(), true)?)
}
