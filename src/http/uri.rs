//! The normal form of a request's path and query, in which all servers read them alike. Ambiguous paths are rejected.
//!
//! A signature covers a *canonical* path and query. If the bytes on the wire leave room for interpretation (`+`, `@`,
//! a lower-case escape, a dot segment), the upstream may canonicalise differently and refuse the request, or worse,
//! serve another path than the one that was signed. So each component is decoded and written again in the one form
//! that RFC 3986 §6.2.2 calls normal: unreserved bytes literal, everything else `%XX` in upper case. What this
//! module returns is both signed and sent.

use std::borrow::Cow;

use percent_encoding::percent_encode_byte;

/// The reason why a path is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestPathError {
    /// The request target does not start with a slash.
    #[error("the path must start with `/`")]
    NotAbsolute,
    /// A segment that decodes to `.` or `..`, alone or around an encoded separator.
    #[error("the path has a `.` or `..` segment")]
    DotSegment,
}

/// Writes a path in normal form: segments stay apart, an encoded `/` stays encoded, `+` is a plus.
///
/// An escape that is not one (`100%`, `%zz`) is a literal percent sign. Empty segments and a trailing slash are kept.
///
/// # Errors
/// [`RequestPathError`]; the caller answers 400 and sends nothing.
pub fn normalize_path(path: &str) -> Result<Cow<'_, str>, RequestPathError> {
    if !path.starts_with('/') {
        return Err(RequestPathError::NotAbsolute);
    }
    // The usual case. A dot segment begins with a dot behind a slash, as long as nothing is escaped.
    let bytes = path.as_bytes();
    if bytes.iter().all(|byte| *byte == b'/' || is_unreserved(*byte)) && !bytes.windows(2).any(|pair| pair == b"/.") {
        return Ok(Cow::Borrowed(path));
    }
    // SECURITY: resolving `..` here would sign one path and let the upstream serve another; refusing is the only
    // answer that cannot be wrong. WSGI upstreams decode `%2F` before routing, so dots around it count as well.
    let normal = normalize(bytes, |byte| byte == b'/', false);
    if normal.split('/').any(|segment| segment.split("%2F").flat_map(|part| part.split("%5C")).any(is_dots)) {
        return Err(RequestPathError::DotSegment);
    }
    Ok(match normal {
        Cow::Borrowed(_) => Cow::Borrowed(path),
        Cow::Owned(text) => Cow::Owned(text),
    })
}

/// A path with one slash at its beginning, where all servers that we know see one.
#[must_use]
pub fn rooted(path: &str) -> &str {
    let slashes = path.len() - path.trim_start_matches('/').len();
    &path[slashes.saturating_sub(1)..]
}

/// Writes a query in normal form: `+` is a space (as HTML forms and Python's `requests` mean it), pairs keep their
/// order, empty pairs vanish, the first `=` of a pair separates and later ones are data.
#[must_use]
pub fn normalize_query(query: &str) -> Cow<'_, str> {
    if query.split('&').any(str::is_empty) {
        let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        return Cow::Owned(normalize_pairs(&kept.join("&")).into_owned());
    }
    normalize_pairs(query)
}

/// A text as one component of a path or a query, in normal form.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_unreserved(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(percent_encode_byte(byte));
        }
    }
    encoded
}

/// A path and a query, both in normal form, as one request target.
#[must_use]
pub fn joined(path: &str, query: &str) -> String {
    // Every request passes here, and `format!` takes eight times the instructions of this.
    [path, if query.is_empty() { "" } else { "?" }, query].concat()
}

fn normalize_pairs(query: &str) -> Cow<'_, str> {
    let mut seen_equals = false;
    normalize(
        query.as_bytes(),
        move |byte| match byte {
            b'&' => {
                seen_equals = false;
                true
            }
            b'=' if !seen_equals => {
                seen_equals = true;
                true
            }
            _ => false,
        },
        true,
    )
}

/// `.` and `..`, also with a parameter as in `..;x`, which servlet containers cut off before they resolve them. The dot
/// is unreserved, so normal form always shows it as itself.
fn is_dots(part: &str) -> bool {
    matches!(part.split("%3B").next(), Some("." | ".."))
}

/// Decodes and re-encodes everything but the separators. Borrows when nothing changes, which is the usual case.
fn normalize(raw: &[u8], mut is_separator: impl FnMut(u8) -> bool, plus_is_space: bool) -> Cow<'_, str> {
    let mut out: Option<String> = None;
    let mut index = 0;
    while index < raw.len() {
        let byte = raw[index];
        let escape = if byte == b'%' { decode_escape(raw, index) } else { None };
        let (value, width) = match escape {
            Some(value) => (value, 3),
            None if byte == b'+' && plus_is_space => (b' ', 1),
            None => (byte, 1),
        };
        let literal = is_unreserved(value) || (escape.is_none() && is_separator(value));
        let unchanged =
            if literal { escape.is_none() } else { escape.is_some() && is_upper_escape(&raw[index + 1..index + 3]) };
        if !unchanged && out.is_none() {
            let mut text = String::with_capacity(raw.len() + 16);
            text.push_str(ascii(&raw[..index]));
            out = Some(text);
        }
        if let Some(text) = &mut out {
            if literal {
                text.push(char::from(value));
            } else {
                text.push_str(percent_encode_byte(value));
            }
        }
        index += width;
    }
    out.map_or_else(|| Cow::Borrowed(ascii(raw)), Cow::Owned)
}

/// The prefix that needed no change holds separators, unreserved bytes and escapes only, all of them ASCII.
fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("normal form is ASCII")
}

fn is_unreserved(byte: u8) -> bool {
    /// Looked up rather than compared: every byte of every path and query passes here.
    const UNRESERVED: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
            byte += 1;
        }
        table
    };
    UNRESERVED[usize::from(byte)]
}

fn is_upper_escape(digits: &[u8]) -> bool {
    digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'))
}

fn decode_escape(raw: &[u8], at: usize) -> Option<u8> {
    let digit = |offset: usize| {
        raw.get(at + offset).and_then(|byte| char::from(*byte).to_digit(16)).and_then(|value| u8::try_from(value).ok())
    };
    Some(digit(1)? * 16 + digit(2)?)
}

#[cfg(test)]
mod tests;
