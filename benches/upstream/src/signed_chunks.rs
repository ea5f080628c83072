//! The chunks in which S3 takes a body: their framing, lengths and trailer are checked, and no signature.
//!
//! To verify each signature would cost as much as to make it, and the upstream would be what is measured. `benches/peers/verifier.py`
//! verifies one upload that no clock measures.

use std::io;

use tokio::io::AsyncRead;

use crate::connection::Reader;

/// The word for such a body.
pub(crate) const PAYLOAD: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
/// The checksum in base64 has so many characters, and a signature in hex so many.
const CHECKSUM: (&str, usize) = ("x-amz-checksum-crc32", 8);
const SIGNATURE: (&str, usize) = ("x-amz-trailer-signature", 64);

/// Reads such a body of `encoded` bytes. Fails unless it has `decoded` bytes without its lines.
pub(crate) async fn skip<S: AsyncRead + Unpin>(reader: &mut Reader<S>, encoded: u64, decoded: u64) -> io::Result<u64> {
    let (mut passed, mut total) = (0, 0);
    loop {
        let line = reader.line().await?;
        passed += line.len() as u64 + 2;
        let (size, signature) =
            line.split_once(";chunk-signature=").ok_or_else(|| invalid("chunk without a signature"))?;
        check(signature.len() == SIGNATURE.1, "signature of a chunk")?;
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        if size == 0 {
            break;
        }
        total += reader.skip(size).await?;
        check(reader.line().await?.is_empty(), "end of a chunk")?;
        passed += size + 2;
    }
    for (name, length) in [CHECKSUM, SIGNATURE] {
        let line = reader.line().await?;
        passed += line.len() as u64 + 2;
        check(line.split_once(':').is_some_and(|(key, value)| key == name && value.len() == length), "trailer")?;
    }
    check(reader.line().await?.is_empty(), "end of the trailer")?;
    check(passed + 2 == encoded, "length with the lines")?;
    check(total == decoded, "length without the lines")?;
    Ok(total)
}

fn check(is_right: bool, what: &str) -> io::Result<()> {
    if is_right { Ok(()) } else { Err(invalid(what)) }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
