//! A reverse proxy that shows the appliance below `/mlflow/` and strips that prefix, like nginx's `location /mlflow/` with
//! `proxy_pass http://appliance/;`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// The headers that a proxy adds to those of the client.
pub(super) type Tells = fn(public: &str, upstream: &str) -> String;

/// nginx with its default configuration: it sends the name of the upstream, and nothing about itself.
pub(super) const PLAIN: Tells = |_, upstream| format!("Host: {upstream}\r\n");
/// nginx with the lines that docs/access/browsers.md shows.
pub(super) const CONFIGURED: Tells = |public, _| {
    format!(
        "Host: {public}\r\nX-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Prefix: /mlflow\r\nX-Forwarded-Proto: http\r\n"
    )
};

/// Starts a proxy that shows the server at an address below `/mlflow/`, with one request per connection.
pub(super) fn proxy(to: SocketAddr, tells: Tells) -> SocketAddr {
    round_robin(vec![to], tells)
}

/// The same for several servers, which take turns.
pub(super) fn round_robin(all: Vec<SocketAddr>, tells: Tells) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (stream, to) in listener.incoming().flatten().zip(all.into_iter().cycle()) {
            thread::spawn(move || pass(stream, to, tells));
        }
    });
    address
}

fn pass(mut client: TcpStream, to: SocketAddr, tells: Tells) -> Option<()> {
    let mut taken = Vec::new();
    let end = loop {
        if let Some(at) = taken.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let mut piece = [0; 4096];
        let size = client.read(&mut piece).ok().filter(|size| *size > 0)?;
        taken.extend_from_slice(&piece[..size]);
    };
    let head = String::from_utf8(taken[..end].to_vec()).unwrap();
    let (first, rest) = head.trim_end().split_once("\r\n").unwrap();
    let [method, target, _] = first.split(' ').collect::<Vec<_>>()[..] else { panic!("{first}") };
    let Some(inner) = target.strip_prefix("/mlflow/") else {
        client.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot ours\n").ok()?;
        return None;
    };
    let field = |name: &str| {
        let of = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        rest.split("\r\n").find(of).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let length: usize = field("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = taken.split_off(end);
    let have = body.len();
    body.resize(length.max(have), 0);
    client.read_exact(&mut body[have..]).ok()?;
    let told = tells(&field("host").unwrap(), &to.to_string());
    let own = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !matches!(name.as_str(), "host" | "connection")
    };
    let kept: Vec<&str> = rest.split("\r\n").filter(own).collect();
    let mut upstream = TcpStream::connect(to).ok()?;
    let request = format!("{method} /{inner} HTTP/1.1\r\n{told}Connection: close\r\n{}\r\n\r\n", kept.join("\r\n"));
    upstream.write_all(request.as_bytes()).ok()?;
    upstream.write_all(&body).ok()?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).ok()?;
    client.write_all(&answer).ok()
}
