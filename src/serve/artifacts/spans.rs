//! The check of spans that come by OTLP: MLflow must not make tags of its own of them, which can name a location outside of the
//! artifact store ([`crate::mlflow::trace_tags`] says how).

use std::io::{self, BufRead, BufReader};

use actix_web::http::header::{self, HeaderMap};
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use crate::http::body::{Body, RequestBodyError};
use crate::mlflow::trace_tags::{SpanFormat, SpanObjection, TagSearch};
use crate::serve::error::ProxyError;
use crate::serve::offload::offload;

/// The window of a zlib stream is at most 32 KiB; this bit of its first byte would say more. MLflow takes such a body for one
/// without zlib's head.
const WINDOW_TOO_LARGE: u8 = 0x80;

/// The encodings that MLflow undoes.
enum SpanEncoding {
    Identity,
    Gzip,
    Deflate,
}

/// The reason why a body was rejected, which another thread has found.
enum SpanRejection {
    Objection(SpanObjection),
    TooLarge,
    Disk(io::Error),
}

/// Checks the spans in a buffered body, which may have up to `limit` bytes when it is unpacked.
///
/// # Errors
/// [`ProxyError`].
pub(crate) async fn check(body: &Body, headers: &HeaderMap, limit: u64) -> Result<(), ProxyError> {
    let source = body.reader().ok_or(ProxyError::UnreadableSpans)?;
    let encoding = SpanEncoding::of(headers).ok_or(ProxyError::UnreadableSpans)?;
    let search = TagSearch::new(format(headers));
    let size = match (body, &encoding) {
        (Body::Memory(bytes, _), SpanEncoding::Identity) => bytes.len(),
        (Body::None, _) => 0,
        // From a file, or a thousand times as large as it looks.
        _ => usize::MAX,
    };
    let work = move || match encoding {
        SpanEncoding::Identity => read(source, search, limit),
        SpanEncoding::Gzip => read(BufReader::new(MultiGzDecoder::new(source)), search, limit),
        SpanEncoding::Deflate => deflated(source, search, limit),
    };
    offload(size, work).await?.map_err(|rejection| match rejection {
        SpanRejection::Objection(SpanObjection::ReservedTag) => ProxyError::ReservedTraceTag,
        SpanRejection::Objection(SpanObjection::Unreadable) => ProxyError::UnreadableSpans,
        SpanRejection::TooLarge => RequestBodyError::TooLarge { limit }.into(),
        SpanRejection::Disk(error) => RequestBodyError::Disk(error).into(),
    })
}

/// Reads a body of zlib's format. MLflow would also take one without its head, which no known client sends.
fn deflated(mut source: Box<dyn BufRead + Send>, search: TagSearch, limit: u64) -> Result<(), SpanRejection> {
    let first = source.fill_buf()?.first().copied().unwrap_or_default();
    if first & WINDOW_TOO_LARGE != 0 {
        return Err(SpanRejection::Objection(SpanObjection::Unreadable));
    }
    read(BufReader::new(ZlibDecoder::new(source)), search, limit)
}

fn read(mut source: impl BufRead, mut search: TagSearch, limit: u64) -> Result<(), SpanRejection> {
    let mut size = 0;
    loop {
        let piece = source.fill_buf()?;
        let length = piece.len();
        if length == 0 {
            return Ok(());
        }
        size += length as u64;
        // SECURITY: a packed body of a mebibyte can unpack to a gibibyte.
        if size > limit {
            return Err(SpanRejection::TooLarge);
        }
        search.push(piece).map_err(SpanRejection::Objection)?;
        source.consume(length);
    }
}

impl From<io::Error> for SpanRejection {
    fn from(error: io::Error) -> Self {
        // A disk that fails has an error number; a body that cannot be unpacked has none.
        match error.raw_os_error() {
            Some(_) => Self::Disk(error),
            None => Self::Objection(SpanObjection::Unreadable),
        }
    }
}

impl SpanEncoding {
    /// Returns the encoding that a request names; nothing if MLflow does not know it.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::CONTENT_ENCODING);
        let value = match (values.next(), values.next()) {
            (value, None) => value.map_or("", |value| value.to_str().unwrap_or("unknown")),
            _ => return None,
        };
        match value.to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// Returns the format of a body. MLflow reads no others, so everything that is not protobuf is searched as JSON, too.
fn format(headers: &HeaderMap) -> SpanFormat {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type == "application/x-protobuf" { SpanFormat::Protobuf } else { SpanFormat::Json }
}
