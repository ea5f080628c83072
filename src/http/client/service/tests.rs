//! The service client against servers that misbehave on the wire.

use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::http::client::Endpoint;

fn dialer(port: u16) -> Dialer {
    let tls = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let limit = Duration::from_secs(5);
    Dialer::new(Endpoint { tls: false, host: "127.0.0.1".into(), port }, &tls, limit, limit)
}

fn limits() -> ServiceLimits {
    ServiceLimits { exchange_timeout: Duration::from_secs(5), keep_alive: Duration::ZERO, body_limit: 1000 }
}

/// Sends one request to a server that answers with `response`, then keeps or closes the connection; also what it received.
async fn exchange(
    response: &'static [u8],
    is_closed: bool,
    method: Method,
    limits: ServiceLimits,
) -> (Result<ServiceResponse, ServiceClientError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = actix_web::rt::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(connection.read_u8().await.unwrap());
        }
        connection.write_all(response).await.unwrap();
        if !is_closed {
            // Until the client closes it.
            let _ = connection.read_u8().await;
        }
        String::from_utf8(request).unwrap()
    });
    let client = ServiceClient::new(dialer(port), limits);
    let fields = [(header::ACCEPT, HeaderValue::from_static("a/b"))].into_iter().collect();
    let result = client.exchange(method, "/a%2Fb?c=%20d", fields, Bytes::new()).await;
    drop(client);
    (result, server.await.unwrap())
}

fn run<F: Future>(future: F) -> F::Output {
    actix_web::rt::System::new().block_on(future)
}

#[test]
fn the_request_has_the_target_and_the_headers_that_it_was_given() {
    run(async {
        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nhi";
        let (response, request) = exchange(ok, false, Method::GET, limits()).await;
        let response = response.unwrap();
        assert_eq!((response.status, &response.body[..]), (StatusCode::OK, &b"hi"[..]));
        assert_eq!(response.headers.get("x-a").unwrap(), "b");
        let mut lines: Vec<&str> = request.trim_end().split("\r\n").collect();
        assert_eq!(lines.remove(0), "GET /a%2Fb?c=%20d HTTP/1.1");
        let mut names: Vec<&str> = lines.iter().filter_map(|line| line.split(':').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "connection", "date", "host"], "{request}");
        assert!(request.contains("host: 127.0.0.1:"), "{request}");
    });
}

#[test]
fn a_truncated_body_is_an_error_whatever_its_framing() {
    run(async {
        for response in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\nhalf",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            let (response, _) = exchange(response, true, Method::GET, limits()).await;
            assert!(matches!(response, Err(ServiceClientError::Body(BodyError::Truncated))), "{response:?}");
        }
    });
}

#[test]
fn a_complete_body_is_read_whatever_its_framing() {
    run(async {
        for (response, is_closed, expected) in [
            (&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n"[..], false, "half"),
            (b"HTTP/1.0 200 OK\r\n\r\nhalf", true, "half"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", false, ""),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false, ""),
        ] {
            let (response, _) = exchange(response, is_closed, Method::GET, limits()).await;
            assert_eq!(response.unwrap().body, expected);
        }
        let unframed = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhalf";
        let (response, _) = exchange(unframed, true, Method::GET, limits()).await;
        assert!(matches!(response, Err(ServiceClientError::Body(BodyError::Broken(_)))), "{response:?}");
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
        let (response, _) = exchange(head, false, Method::HEAD, limits()).await;
        assert_eq!(response.unwrap().body, "");
    });
}

#[test]
fn a_connection_that_ends_or_stays_silent_is_reported_as_such() {
    run(async {
        let short = ServiceLimits { exchange_timeout: Duration::from_millis(100), ..limits() };
        let (response, _) = exchange(b"", true, Method::GET, limits()).await;
        assert!(matches!(response, Err(ServiceClientError::Client(ClientError::Closed))), "{response:?}");
        let (response, _) = exchange(b"HTTP/1.1 200", false, Method::GET, short).await;
        assert!(matches!(response, Err(ServiceClientError::Client(ClientError::NoAnswer(_)))), "{response:?}");
        let partial = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
        let (response, _) = exchange(partial, false, Method::GET, short).await;
        assert!(matches!(response, Err(ServiceClientError::Body(BodyError::Stalled(_)))), "{response:?}");
        let (response, _) = exchange(b"no HTTP\r\n\r\n", false, Method::GET, limits()).await;
        assert!(matches!(response, Err(ServiceClientError::Client(ClientError::Invalid(_)))), "{response:?}");
        let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n";
        let (response, _) = exchange(interim, false, Method::GET, limits()).await;
        assert!(matches!(response, Err(ServiceClientError::Client(ClientError::Invalid(_)))), "{response:?}");
        let tight = ServiceLimits { body_limit: 3, ..limits() };
        let (response, _) =
            exchange(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhalf", true, Method::GET, tight).await;
        assert!(matches!(response, Err(ServiceClientError::Body(BodyError::TooLarge(3)))), "{response:?}");
    });
}

#[test]
fn a_server_that_is_not_there_is_an_error_of_the_dialer() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let client = ServiceClient::new(dialer(port), limits());
        let response = client.exchange(Method::GET, "/", Fields::new(), Bytes::new()).await;
        let Err(ServiceClientError::Client(ClientError::Dial(DialError::Connect { .. }))) = response else {
            panic!("{response:?}");
        };
    });
}
