//! The canonical forms that a signature is computed over, as the specification words them.

use super::request::ReceivedRequest;

/// Returns the path for every service but S3: without redundant parts, and with what was sent encoded once more.
pub(super) fn path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let mut canonical: String =
        segments.iter().flat_map(|segment| ["/".to_owned(), encode(segment.as_bytes())]).collect();
    if canonical.is_empty() || (path.ends_with('/') && !segments.is_empty()) {
        canonical.push('/');
    }
    canonical
}

/// Returns the parameters, each decoded and encoded strictly, sorted by name and then by value.
pub(super) fn query(query: &str) -> String {
    let mut parameters: Vec<(String, String)> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .map(|(name, value)| (encode(&decode(name)), encode(&decode(value))))
        .collect();
    parameters.sort();
    parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

pub(super) fn headers(request: &ReceivedRequest<'_>, signed: &[&str]) -> String {
    let line = |name: &&str| {
        let values: Vec<String> = match *name {
            "host" => vec![request.host.to_owned()],
            name => request.headers.get_all(name).map(|value| trimmed(value.as_bytes())).collect(),
        };
        format!("{name}:{}\n", values.join(","))
    };
    signed.iter().map(line).collect()
}

/// Removes outer white space, and joins inner runs of spaces.
fn trimmed(value: &[u8]) -> String {
    String::from_utf8_lossy(value).split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text + &char::from(*byte).to_string(),
        _ => text + &format!("%{byte:02X}"),
    })
}

pub(super) fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = text
            .get(at + 1..at + 3)
            .filter(|digits| bytes[at] == b'%' && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        if let Some(byte) = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    decoded
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
