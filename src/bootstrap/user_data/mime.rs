//! MIME messages: the one part of a multipart message (RFC 2046).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::error::UserDataError;

/// Returns the boundary of a MIME message; nothing if the text is none.
pub(super) fn boundary(text: &str) -> Result<Option<String>, UserDataError> {
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
        Err(UserDataError::Mime("its boundary is empty or longer than 70 characters"))
    } else {
        Ok(Some(value.to_owned()))
    }
}

/// Returns the head's lines, unfolded, and the text after the empty line.
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

/// Returns the text of the only part.
pub(super) fn one_part(text: &str, boundary: &str) -> Result<String, UserDataError> {
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
            // SECURITY: the part is not decompressed again, so that the limits hold.
            String::from_utf8(bytes).map_err(|_| UserDataError::NotText)
        }
        _ => Err(UserDataError::Mime("a part is encoded in another way than base64")),
    }
}
