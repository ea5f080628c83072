//! One connection: requests are framed, counted and answered until the peer closes.

use std::io;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use httparse::{EMPTY_HEADER, Header, Status};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::signed_chunks;

/// Holds any request's head.
const BUFFER: usize = 32 * 1024;

static BLOB: [u8; 64 * 1024] = [b'z'; 64 * 1024];

static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
static REQUESTS: AtomicU64 = AtomicU64::new(0);
static SIGNED: AtomicU64 = AtomicU64::new(0);
static BODY: AtomicU64 = AtomicU64::new(0);
/// Requests whose body came in signed chunks.
static CHUNKED: AtomicU64 = AtomicU64::new(0);

/// An answer of which the body is 1 KiB, made once.
static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (before, after) = (
        concat!(
            r#"{"run":{"info":{"run_id":"0123456789abcdef0123456789abcdef","experiment_id":"0","status":"RUNNING","#,
            r#""lifecycle_stage":"active","artifact_uri":"s3://bench/0"},"data":{"tags":[{"key":"note","value":""#,
        ),
        r#""}]}}}"#,
    );
    let padding = 1024 - before.len() - after.len();
    answer("application/json", &format!("{before}{}{after}", "x".repeat(padding)))
});

/// The answer of S3 to an object that is complete.
const STORED: &[u8] = b"HTTP/1.1 200 OK\r\netag: \"0123456789abcdef\"\r\ncontent-length: 0\r\n\r\n";

/// The answer that a request asks for.
enum Asked {
    Blob(u64),
    Object,
    Stat,
    Small,
}

/// The length of a request's body.
enum Framing {
    Length(u64),
    Chunked,
    /// S3's signed chunks: the length with and without their lines.
    Signed {
        encoded: u64,
        decoded: u64,
    },
}

struct Request {
    asked: Asked,
    framing: Framing,
    is_signed: bool,
    is_last: bool,
}

/// A stream, and what was read from it but not used yet.
pub(crate) struct Reader<S> {
    stream: S,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

/// Answers all requests of a connection.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> io::Result<()> {
    let mut reader = Reader { stream, buffer: vec![0; BUFFER], from: 0, to: 0 };
    let mut is_counted = false;
    while let Some(request) = reader.request().await? {
        let body = match request.framing {
            Framing::Length(length) => reader.skip(length).await?,
            Framing::Chunked => reader.skip_chunks().await?,
            Framing::Signed { encoded, decoded } => signed_chunks::skip(&mut reader, encoded, decoded).await?,
        };
        if !matches!(request.asked, Asked::Stat) {
            CONNECTIONS.fetch_add(u64::from(!is_counted), Relaxed);
            is_counted = true;
            REQUESTS.fetch_add(1, Relaxed);
            SIGNED.fetch_add(u64::from(request.is_signed), Relaxed);
            BODY.fetch_add(body, Relaxed);
            CHUNKED.fetch_add(u64::from(matches!(request.framing, Framing::Signed { .. })), Relaxed);
        }
        match request.asked {
            Asked::Small => reader.stream.write_all(&SMALL).await?,
            Asked::Object => reader.stream.write_all(STORED).await?,
            Asked::Stat => reader.stream.write_all(&stat()).await?,
            Asked::Blob(length) => write_blob(&mut reader.stream, length).await?,
        }
        reader.stream.flush().await?;
        if request.is_last {
            break;
        }
    }
    reader.stream.shutdown().await
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// The next request's head, unless there is none any more.
    async fn request(&mut self) -> io::Result<Option<Request>> {
        loop {
            let mut headers = [EMPTY_HEADER; 64];
            let mut head = httparse::Request::new(&mut headers);
            if let Status::Complete(length) = head.parse(&self.buffer[self.from..self.to]).map_err(io::Error::other)? {
                let request = interpret(head.path.unwrap_or_default(), head.headers);
                self.from += length;
                return request.map(Some);
            }
            let is_between = self.from == self.to;
            match self.fill().await {
                Err(error) if is_between && error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                filled => filled?,
            }
        }
    }

    /// Reads on; fails at the end of the stream.
    async fn fill(&mut self) -> io::Result<()> {
        if self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
        }
        match self.stream.read(&mut self.buffer[self.to..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                self.to += length;
                Ok(())
            }
        }
    }

    pub(crate) async fn skip(&mut self, length: u64) -> io::Result<u64> {
        let mut left = length;
        loop {
            let here = (self.to - self.from).min(usize::try_from(left).unwrap_or(usize::MAX));
            self.from += here;
            left -= here as u64;
            if left == 0 {
                return Ok(length);
            }
            self.fill().await?;
        }
    }

    async fn skip_chunks(&mut self) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(total);
            }
            total += self.skip(size).await?;
            self.line().await?;
        }
    }

    pub(crate) async fn line(&mut self) -> io::Result<String> {
        loop {
            let rest = &self.buffer[self.from..self.to];
            if let Some(length) = rest.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&rest[..length]).into_owned();
                self.from += length + 2;
                return Ok(line);
            }
            self.fill().await?;
        }
    }
}

fn interpret(path: &str, headers: &[Header<'_>]) -> io::Result<Request> {
    let asked = match path.rsplit_once("/blob/") {
        Some((_, length)) => Asked::Blob(length.parse().map_err(io::Error::other)?),
        None if path == "/stat" => Asked::Stat,
        None if path.contains("/objects/") => Asked::Object,
        None => Asked::Small,
    };
    // S3's presigned URLs have their signature in the query.
    let is_signed = path.contains("X-Amz-Signature=");
    let mut request = Request { asked, framing: Framing::Length(0), is_signed, is_last: false };
    let (mut is_in_chunks, mut decoded) = (false, None);
    for header in headers {
        let value = String::from_utf8_lossy(header.value);
        if header.name.eq_ignore_ascii_case("content-length") {
            request.framing = Framing::Length(value.parse().map_err(io::Error::other)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            request.framing = Framing::Chunked;
        } else if header.name.eq_ignore_ascii_case("authorization") {
            request.is_signed = value.starts_with("AWS4-HMAC-SHA256 ");
        } else if header.name.eq_ignore_ascii_case("connection") {
            request.is_last = value.eq_ignore_ascii_case("close");
        } else if header.name.eq_ignore_ascii_case("x-amz-content-sha256") {
            is_in_chunks = value == signed_chunks::PAYLOAD;
        } else if header.name.eq_ignore_ascii_case("x-amz-decoded-content-length") {
            decoded = Some(value.parse().map_err(io::Error::other)?);
        }
    }
    if let (Framing::Length(encoded), Some(decoded), true) = (&request.framing, decoded, is_in_chunks) {
        request.framing = Framing::Signed { encoded: *encoded, decoded };
    }
    Ok(request)
}

fn answer(kind: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn stat() -> Vec<u8> {
    let counters = [
        ("connections", &CONNECTIONS),
        ("requests", &REQUESTS),
        ("signed", &SIGNED),
        ("body", &BODY),
        ("chunked", &CHUNKED),
    ];
    let counts = counters.map(|(name, counter)| format!(r#""{name}":{}"#, counter.load(Relaxed)));
    answer("application/json", &format!("{{{}}}", counts.join(",")))
}

async fn write_blob<S: AsyncWrite + Unpin>(stream: &mut S, length: u64) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut left = length;
    while left > 0 {
        let piece = &BLOB[..BLOB.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        stream.write_all(piece).await?;
        left -= piece.len() as u64;
    }
    Ok(())
}
