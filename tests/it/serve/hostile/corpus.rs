//! Reads `corpus.txt`.

/// One hostile request.
pub struct Case {
    /// Where it stands in the file, counting from 1.
    pub line: usize,
    pub class: String,
    pub expected: Expected,
    pub bytes: Vec<u8>,
}

/// What has to happen.
pub enum Expected {
    Refused,
    Passes { target: String, body: String },
}

/// All of them.
pub fn read() -> Vec<Case> {
    let lines = include_str!("corpus.txt").lines().enumerate();
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(at, line)| case(at + 1, line)).collect()
}

fn case(line: usize, text: &str) -> Case {
    let mut parts = text.splitn(3, " | ");
    let mut part = || parts.next().unwrap_or_else(|| panic!("line {line} has not three parts"));
    let (class, expected, bytes) = (part().to_owned(), part(), part());
    let expected = match expected.split_once(' ') {
        None if expected == "refused" => Expected::Refused,
        Some(("passes", rest)) => {
            let (target, body) = rest.split_once(' ').unwrap_or((rest, ""));
            Expected::Passes { target: target.to_owned(), body: body.to_owned() }
        }
        _ => panic!("line {line}: `{expected}`"),
    };
    Case { line, class, expected, bytes: unescaped(bytes) }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\\' => {
                let kind = rest.chars().next().unwrap();
                rest = &rest[1..];
                match kind {
                    'r' => bytes.push(b'\r'),
                    'n' => bytes.push(b'\n'),
                    't' => bytes.push(b'\t'),
                    '0' => bytes.push(0),
                    '\\' => bytes.push(b'\\'),
                    'x' => {
                        bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                        rest = &rest[2..];
                    }
                    other => panic!("\\{other}"),
                }
            }
            '{' => {
                let (inside, after) = rest.split_once('}').unwrap();
                rest = after;
                match inside.split_once('*') {
                    Some((count, what)) => bytes.extend(unescaped(what).repeat(count.parse().unwrap())),
                    None => bytes.extend(b"Host: localhost\r\n"),
                }
            }
            other => bytes.extend(other.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}
