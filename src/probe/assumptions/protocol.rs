//! Tests whether MLflow's endpoint speaks HTTP/2, and how many requests it takes at a time on one connection.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use bytes::Bytes;
use h2::Ping;
use tokio::time::timeout;

use super::proof::{NoProof, Proof};
use super::session::{ProofSession, REQUEST_LIMIT, client_settings, exchange, sendable};
use crate::error_chain;
use crate::http::client::{Client, Offer, Request};
use crate::http::fields::Fields;

/// The requests that the appliance sends on one connection before it opens another.
const STREAMS: usize = 100;

pub(super) async fn http2(session: &ProofSession<'_>) -> Result<Proof, NoProof> {
    session.going_on()?;
    let dialer = &session.settings.dialer;
    if !dialer.endpoint().tls {
        return Ok(Proof::untested("HTTP/2 needs TLS, and the endpoint is plain HTTP"));
    }
    let stream = dialer.dial(Offer::Http2).await.map_err(|error| NoProof::NoAnswer(error_chain::joined(&error)))?;
    if !stream.speaks_http2() {
        return Ok(Proof::fails("the endpoint chooses HTTP/1.1 in the TLS handshake"));
    }
    let broken = |error: h2::Error| NoProof::NoAnswer(format!("HTTP/2 failed: {error}"));
    let settled = async {
        let (_sender, mut connection) =
            h2::client::Builder::new().enable_push(false).handshake::<_, Bytes>(stream).await.map_err(broken)?;
        let mut pings = connection.ping_pong().expect("asked for once");
        // The peer's settings come before its answer to a ping.
        tokio::select! {
            ended = &mut connection => ended.map_err(broken)?,
            answered = pings.ping(Ping::opaque()) => answered.map(|_| ()).map_err(broken)?,
        }
        Ok(connection.max_concurrent_send_streams())
    };
    let late = |_| NoProof::NoAnswer(format!("HTTP/2 did not begin within {REQUEST_LIMIT:?}"));
    let streams = timeout(REQUEST_LIMIT, settled).await.map_err(late)??;
    let shown = if streams == usize::MAX { "any number of".to_owned() } else { streams.to_string() };
    let answered = plain_request(session).await?;
    let evidence = format!("the endpoint chooses HTTP/2, allows {shown} requests at a time, and answers {answered}");
    Ok(Proof::of(streams >= STREAMS, evidence))
}

/// Sends a request without a signature over HTTP/2. Its answer, a rejection, shows that requests work as well.
async fn plain_request(session: &ProofSession<'_>) -> Result<String, NoProof> {
    let dialer = &session.settings.dialer;
    let host = HeaderValue::try_from(dialer.endpoint().authority());
    let headers: Fields = host.into_iter().map(|host| (header::HOST, host)).collect();
    let client = Client::new(dialer.clone(), client_settings(true));
    let request = Request { method: Method::GET, target: "/", headers: &headers, body: &sendable(None) };
    let answer = Box::pin(exchange(&client, request, REQUEST_LIMIT)).await?;
    Ok(answer.status.as_u16().to_string())
}
