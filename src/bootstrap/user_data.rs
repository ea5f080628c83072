//! EC2 user data as data: TOML or JSON, perhaps compressed or in a MIME envelope. Never executed.
//!
//! What other systems would run (shell scripts, cloud-init's formats) is refused with an explanation, so that nobody
//! believes that it has been run.

use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::MultiGzDecoder;

/// Raw user data; EC2 itself allows 16 KiB. Bytes.
pub const RAW_LIMIT: usize = 64 * 1024;
/// Decompressed user data: far more than a configuration needs, and far less than a bomb is worth. Bytes.
pub const TEXT_LIMIT: usize = 1024 * 1024;

const GZIP: &[u8] = &[0x1f, 0x8b];
const UTF8_BOM: char = '\u{feff}';

/// A document, checked for its syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// TOML.
    Toml(String),
    /// A JSON object.
    Json(String),
}

/// Why user data is refused; each text says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserDataError {
    /// More than [`RAW_LIMIT`].
    #[error("it has more than {RAW_LIMIT} bytes; keep secrets and long texts in the Parameter Store")]
    TooLarge,
    /// It would decompress to more than [`TEXT_LIMIT`].
    #[error("it decompresses to more than {TEXT_LIMIT} bytes; that is no configuration")]
    Bomb,
    /// Broken compression.
    #[error("it begins like gzip but cannot be decompressed; compress it again, or send it as it is")]
    Gzip,
    /// Neither UTF-8 nor compressed.
    #[error("it is not text; write TOML or JSON in UTF-8")]
    NotText,
    /// Something that other systems execute.
    #[error("it is {0}, and user data is never executed here; write the appliance's options as TOML instead")]
    Executable(&'static str),
    /// Encoded once too often.
    #[error("it is base64 as a whole; pass it to EC2 without encoding it yourself")]
    Encoded,
    /// A MIME message that holds no configuration, or more than one.
    #[error("its MIME message has {0} parts with a configuration; there must be one, in TOML or JSON")]
    Parts(usize),
    /// A MIME message that cannot be read.
    #[error("its MIME message cannot be read: {0}")]
    Mime(&'static str),
    /// Neither TOML nor a JSON object.
    #[error("it is neither TOML nor a JSON object: {0}")]
    Syntax(String),
}

/// Reads user data.
///
/// # Errors
/// [`UserDataError`].
pub fn decode(raw: &[u8]) -> Result<Document, UserDataError> {
    if raw.len() > RAW_LIMIT {
        return Err(UserDataError::TooLarge);
    }
    let text = text(raw)?;
    match boundary(&text)? {
        Some(boundary) => document(&one_part(&text, &boundary)?),
        None => document(&text),
    }
}

/// Decompresses, within limits.
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

/// What others would do with this text, if it is not for us.
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

fn document(text: &str) -> Result<Document, UserDataError> {
    if let Some(what) = executable(text) {
        return Err(UserDataError::Executable(what));
    }
    if text.trim_start().starts_with('{') {
        return match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
            Ok(_) => Ok(Document::Json(text.to_owned())),
            Err(error) => Err(UserDataError::Syntax(error.to_string())),
        };
    }
    match toml::de::DeTable::parse(text) {
        Ok(_) => Ok(Document::Toml(text.to_owned())),
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

/// The boundary of a MIME message; nothing if the text is none.
fn boundary(text: &str) -> Result<Option<String>, UserDataError> {
    let first = text.trim_start().lines().next().unwrap_or_default().to_ascii_lowercase();
    if !first.starts_with("content-type:") && !first.starts_with("mime-version:") {
        return Ok(None);
    }
    let (head, _) = split_head(text.trim_start()).ok_or(UserDataError::Mime("it has no empty line after its head"))?;
    let kind = field(&head, "content-type").ok_or(UserDataError::Mime("it has no content type"))?;
    if !kind.to_ascii_lowercase().starts_with("multipart/") {
        return Err(UserDataError::Mime("it is not `multipart/mixed`"));
    }
    let at = kind.to_ascii_lowercase().find("boundary=").ok_or(UserDataError::Mime("it names no boundary"))?;
    let value = &kind[at + "boundary=".len()..];
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        None => value.split([';', ' ']).next().unwrap_or_default(),
    };
    // RFC 2046 §5.1.1.
    if value.is_empty() || value.len() > 70 {
        Err(UserDataError::Mime("its boundary is none"))
    } else {
        Ok(Some(value.to_owned()))
    }
}

/// The head's lines, unfolded, and what follows the empty line.
fn split_head(text: &str) -> Option<(Vec<String>, &str)> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = text;
    loop {
        let (line, after) = rest.split_once('\n')?;
        let line = line.trim_end_matches('\r');
        rest = after;
        if line.is_empty() {
            return Some((lines, rest));
        }
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => *last = format!("{last} {}", line.trim()),
            _ => lines.push(line.to_owned()),
        }
    }
}

fn field<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    let mut fields = head.iter().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The text of the only part.
fn one_part(text: &str, boundary: &str) -> Result<String, UserDataError> {
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut part: Option<String> = None;
    for line in text.split_inclusive('\n') {
        match line.trim_end().strip_prefix(&delimiter) {
            Some(rest) if rest.is_empty() || rest == "--" => {
                parts.extend(part.take());
                if rest == "--" {
                    break;
                }
                part = Some(String::new());
            }
            _ => {
                if let Some(part) = &mut part {
                    part.push_str(line);
                }
            }
        }
    }
    let [only] = &parts[..] else { return Err(UserDataError::Parts(parts.len())) };
    let (head, body) = split_head(only).ok_or(UserDataError::Mime("a part has no empty line after its head"))?;
    match field(&head, "content-transfer-encoding").unwrap_or("7bit").to_ascii_lowercase().as_str() {
        "7bit" | "8bit" | "binary" => Ok(body.to_owned()),
        "base64" => {
            let joined: String = body.split_whitespace().collect();
            let bytes = BASE64_STANDARD.decode(joined).map_err(|_| UserDataError::Mime("a part is not base64"))?;
            // SECURITY: not decompressed again, so that limits need not be counted twice.
            String::from_utf8(bytes).map_err(|_| UserDataError::NotText)
        }
        _ => Err(UserDataError::Mime("a part is encoded in another way than base64")),
    }
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
        let toml = Ok(Document::Toml(TOML.to_owned()));
        assert_eq!(decode(TOML.as_bytes()), toml);
        assert_eq!(decode(&gzip(TOML.as_bytes())), toml);
        assert_eq!(decode(format!("\u{feff}{TOML}").as_bytes()), toml);
        assert_eq!(decode(json.as_bytes()), Ok(Document::Json(json.to_owned())));
        assert_eq!(decode(b""), Ok(Document::Toml(String::new())));
        let plain = mime(&[("Content-Type: application/toml", "listen = \"x\"")]);
        assert_eq!(decode(plain.as_bytes()), Ok(Document::Toml("listen = \"x\"\r\n".to_owned())));
        let encoded = BASE64_STANDARD.encode(TOML);
        let base64 = mime(&[("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64", &encoded)]);
        assert_eq!(decode(base64.as_bytes()), toml);
        assert_eq!(decode(&gzip(base64.as_bytes())), toml);
    }

    #[test]
    fn what_others_would_run_is_refused_in_every_wrapping() {
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
    fn bombs_are_refused_without_being_unpacked() {
        let bomb = gzip(&vec![b' '; 60 << 20]);
        assert!(bomb.len() <= RAW_LIMIT, "{} bytes", bomb.len());
        assert_eq!(decode(&bomb), Err(UserDataError::Bomb));
        assert_eq!(decode(&gzip(&bomb)), Err(UserDataError::NotText), "nothing is unpacked twice");
        assert_eq!(decode(&vec![b' '; RAW_LIMIT + 1]), Err(UserDataError::TooLarge));
    }

    #[test]
    fn what_is_broken_is_explained() {
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
