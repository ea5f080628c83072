//! EC2 user data as data: TOML or JSON, perhaps compressed or in a MIME envelope. It is never executed.
//!
//! Scripts and the formats of cloud-init, which other systems would run, are rejected with an explanation, so that no one
//! believes that they have been run.

mod error;
mod mime;

use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::MultiGzDecoder;

pub use error::{RAW_LIMIT, TEXT_LIMIT, UserDataError};
use mime::{boundary, one_part};

const GZIP: &[u8] = &[0x1f, 0x8b];
const UTF8_BOM: char = '\u{feff}';

/// A document whose syntax is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserData {
    /// TOML.
    Toml(String),
    /// A JSON object.
    Json(String),
}

/// Reads user data.
///
/// # Errors
/// [`UserDataError`].
pub fn decode(raw: &[u8]) -> Result<UserData, UserDataError> {
    if raw.len() > RAW_LIMIT {
        return Err(UserDataError::TooLarge);
    }
    let text = text(raw)?;
    match boundary(&text)? {
        Some(boundary) => document(&one_part(&text, &boundary)?),
        None => document(&text),
    }
}

/// Decompresses the text within limits.
fn text(raw: &[u8]) -> Result<String, UserDataError> {
    let bytes = if raw.starts_with(GZIP) {
        let mut bytes = Vec::new();
        // SECURITY: 64 KiB can hold 64 MiB of zeros.
        let limited = MultiGzDecoder::new(raw).take(TEXT_LIMIT as u64 + 1).read_to_end(&mut bytes);
        if bytes.len() > TEXT_LIMIT {
            return Err(UserDataError::Bomb);
        }
        limited.map_err(|_| UserDataError::Gzip)?;
        bytes
    } else {
        raw.to_vec()
    };
    let text = String::from_utf8(bytes).map_err(|_| UserDataError::NotText)?;
    if text.contains('\0') {
        return Err(UserDataError::NotText);
    }
    Ok(text.strip_prefix(UTF8_BOM).unwrap_or(&text).to_owned())
}

/// Returns a description of a text that other systems would execute.
fn executable(text: &str) -> Option<&'static str> {
    let first = text.trim_start().lines().next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let starts = |prefix: &str| first.starts_with(prefix);
    match () {
        () if starts("#!") => Some("a script"),
        () if starts("#cloud-config") => Some("a `#cloud-config` of cloud-init"),
        () if starts("#cloud-boothook") || starts("#part-handler") => Some("a program for cloud-init"),
        () if starts("#include") => Some("an `#include` of cloud-init"),
        () if starts("## template:") => Some("a template of cloud-init"),
        () if starts("#upstart-job") => Some("an upstart job"),
        () if starts("<script") || starts("<powershell") => Some("a script for Windows"),
        () => None,
    }
}

fn document(text: &str) -> Result<UserData, UserDataError> {
    if let Some(what) = executable(text) {
        return Err(UserDataError::Executable(what));
    }
    if text.trim_start().starts_with('{') {
        return match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
            Ok(_) => Ok(UserData::Json(text.to_owned())),
            Err(error) => Err(UserDataError::Syntax(error.to_string())),
        };
    }
    match toml::de::DeTable::parse(text) {
        Ok(_) => Ok(UserData::Toml(text.to_owned())),
        Err(_) if is_base64(text) => Err(UserDataError::Encoded),
        Err(error) => {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Err(UserDataError::Syntax(format!("line {line}: {}", error.message())))
        }
    }
}

fn is_base64(text: &str) -> bool {
    let joined: String = text.split_whitespace().collect();
    joined.len() >= 16 && BASE64_STANDARD.decode(joined).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const TOML: &str = "listen = \"0.0.0.0:5000\"\n\n[[target]]\nname = \"a\"\n";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("into memory");
        encoder.finish().expect("into memory")
    }

    fn mime(parts: &[(&str, &str)]) -> String {
        let part = |(head, body): &(&str, &str)| format!("--==B==\r\n{head}\r\n\r\n{body}\r\n");
        let parts: String = parts.iter().map(part).collect();
        format!(
            "Content-Type: multipart/mixed;\r\n boundary=\"==B==\"\r\nMIME-Version: 1.0\r\n\r\n{parts}--==B==--\r\n"
        )
    }

    #[test]
    fn configurations_are_read_in_every_wrapping() {
        let json = "{\"listen\": \"0.0.0.0:5000\"}";
        let toml = Ok(UserData::Toml(TOML.to_owned()));
        assert_eq!(decode(TOML.as_bytes()), toml);
        assert_eq!(decode(&gzip(TOML.as_bytes())), toml);
        assert_eq!(decode(format!("\u{feff}{TOML}").as_bytes()), toml);
        assert_eq!(decode(json.as_bytes()), Ok(UserData::Json(json.to_owned())));
        assert_eq!(decode(b""), Ok(UserData::Toml(String::new())));
        let plain = mime(&[("Content-Type: application/toml", "listen = \"x\"")]);
        assert_eq!(decode(plain.as_bytes()), Ok(UserData::Toml("listen = \"x\"\r\n".to_owned())));
        let encoded = BASE64_STANDARD.encode(TOML);
        let base64 = mime(&[("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64", &encoded)]);
        assert_eq!(decode(base64.as_bytes()), toml);
        assert_eq!(decode(&gzip(base64.as_bytes())), toml);
    }

    #[test]
    fn scripts_are_rejected_in_every_wrapping() {
        for text in [
            "#!/bin/sh\nrm -rf /\n",
            "\n#! /usr/bin/python3\n",
            "#cloud-config\nruncmd: []\n",
            "#Cloud-Config\n",
            "#cloud-boothook\n",
            "#include https://evil.example\n",
            "## template: jinja\n#cloud-config\n",
            "<powershell>\n",
            "<script>\n",
        ] {
            for raw in
                [text.as_bytes().to_vec(), gzip(text.as_bytes()), mime(&[("Content-Type: text/x", text)]).into_bytes()]
            {
                assert!(matches!(decode(&raw), Err(UserDataError::Executable(_))), "{text:?}");
            }
        }
    }

    #[test]
    fn bombs_are_rejected_without_being_decompressed() {
        let bomb = gzip(&vec![b' '; 60 << 20]);
        assert!(bomb.len() <= RAW_LIMIT, "{} bytes", bomb.len());
        assert_eq!(decode(&bomb), Err(UserDataError::Bomb));
        assert_eq!(decode(&gzip(&bomb)), Err(UserDataError::NotText), "nothing is decompressed twice");
        assert_eq!(decode(&vec![b' '; RAW_LIMIT + 1]), Err(UserDataError::TooLarge));
    }

    #[test]
    fn invalid_documents_are_explained() {
        let truncated = &gzip(TOML.as_bytes())[..20];
        let two = mime(&[("A: b", "a = 1"), ("A: b", "b = 1")]);
        for (raw, expected) in [
            (truncated, "cannot be decompressed"),
            (&[gzip(b"a = 1"), b"trailing".to_vec()].concat(), "cannot be decompressed"),
            (b"\xff\xfe", "not text"),
            (b"a = \"\0\"", "not text"),
            (b"listen = \n", "line 1"),
            (b"{\"a\": }", "neither TOML nor a JSON object"),
            (b"[1]x", "neither TOML"),
            (BASE64_STANDARD.encode(TOML).as_bytes(), "base64 as a whole"),
            (two.as_bytes(), "2 parts"),
            (mime(&[]).as_bytes(), "0 parts"),
            (b"Content-Type: text/plain\n\na = 1\n", "not `multipart/mixed`"),
            (b"Content-Type: multipart/mixed\n\n", "names no boundary"),
            (b"MIME-Version: 1.0", "no empty line"),
        ] {
            let said = decode(raw).expect_err(expected).to_string();
            assert!(said.contains(expected), "{expected}: {said}");
        }
    }
}
