//! The request of a terminal for a personal token, which a person confirms in a browser.
//!
//! The terminal makes the token itself and keeps it. Its request has only the hash, so it may stand in an address. Everything
//! about the token is in the request, so no appliance has to remember it until a person confirms it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{SHA256, digest};
use url::form_urlencoded;

use super::caller::{Role, Targets};
use super::token::Hash;

/// The time for which a request can be confirmed. The terminal waits as long.
pub const CONFIRMABLE: Duration = Duration::from_mins(10);
/// The clock of the terminal may be ahead of the appliance's by this much.
const SKEW: Duration = Duration::from_mins(5);
/// The longest request that is read. Bytes.
const LENGTH_LIMIT: usize = 2048;
/// The alphabet of codes that people compare or type: no vowels, and no two characters that look alike.
const CODE_ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Eight characters have 34 bits. A code is valid for minutes, and only together with a person's own confirmation.
const CODE_LENGTH: usize = 8;

/// The request of a terminal.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginRequest {
    /// The id of the token.
    pub id: String,
    /// The hash of the token.
    pub hash: Hash,
    /// The name of the token.
    pub label: String,
    /// The role of the token; the person's own, if this is not set.
    pub role: Option<Role>,
    /// The targets of the token; all of the person's, if this is [`Targets::All`].
    pub targets: Targets,
    /// The lifetime of the token in seconds.
    pub lifetime: u64,
    /// The time of the request in seconds after 1970.
    pub asked: u64,
}

impl LoginRequest {
    /// Writes the request as the query of an address.
    #[must_use]
    pub fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("id", &self.id).append_pair("hash", &self.hash.to_hex()).append_pair("name", &self.label);
        if let Some(role) = self.role {
            query.append_pair("role", role.as_str());
        }
        if let Targets::Named(names) = &self.targets {
            query.append_pair("targets", &names.join(","));
        }
        query.append_pair("seconds", &self.lifetime.to_string()).append_pair("asked", &self.asked.to_string());
        query.finish()
    }

    /// Reads a request. Returns nothing if it has other fields, or has them in another order: then its code would be another.
    #[must_use]
    pub fn parse(query: &str) -> Option<Self> {
        if query.len() > LENGTH_LIMIT {
            return None;
        }
        let field =
            |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, text)| text);
        let id = field("id")?.into_owned();
        let is_id = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let request = Self {
            id,
            hash: Hash::from_hex(&field("hash")?)?,
            label: field("name")?.into_owned(),
            role: field("role").map(|role| role.parse()).transpose().ok()?,
            targets: field("targets")
                .map_or(Targets::All, |names| Targets::Named(names.split(',').map(ToOwned::to_owned).collect())),
            lifetime: field("seconds")?.parse().ok()?,
            asked: field("asked")?.parse().ok()?,
        };
        (is_id && request.query() == query).then_some(request)
    }

    /// Returns true if the request is from the last minutes.
    #[must_use]
    pub fn is_recent(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        (now.saturating_sub(CONFIRMABLE.as_secs())..=now + SKEW.as_secs()).contains(&self.asked)
    }

    /// Returns the code that the terminal shows, and that the person types into the page. Both derive it from the whole
    /// request, so that a changed address has another code.
    #[must_use]
    pub fn code(&self) -> String {
        code(&self.query())
    }
}

fn code(request: &str) -> String {
    let hash = digest(&SHA256, request.as_bytes());
    let number = hash.as_ref()[..16].iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    let mut rest = number;
    let mut text = String::with_capacity(CODE_LENGTH + 1);
    for at in 0..CODE_LENGTH {
        if at == CODE_LENGTH / 2 {
            text.push('-');
        }
        text.push(char::from(CODE_ALPHABET[usize::try_from(rest % 20).unwrap_or_default()]));
        rest /= 20;
    }
    text
}

/// Returns true if a person typed this code, in any case, with or without the hyphen.
#[must_use]
pub fn is_code(typed: &str, code: &str) -> bool {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    plain(typed) == plain(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> LoginRequest {
        LoginRequest {
            id: "0123456789".into(),
            hash: Hash::of("a token"),
            label: "laptop".into(),
            role: None,
            targets: Targets::All,
            lifetime: 3600,
            asked: 1_000_000,
        }
    }

    #[test]
    fn a_request_survives_the_address_and_a_changed_one_has_another_code() {
        let usual = request();
        let narrow = LoginRequest {
            role: Some(Role::Read),
            targets: Targets::Named(vec!["a".into(), "b".into()]),
            label: "a&b=c d".into(),
            ..request()
        };
        for request in [&usual, &narrow] {
            let read = LoginRequest::parse(&request.query()).expect("it is read");
            assert!(read == *request && read.code() == request.code(), "{}", request.query());
        }
        let changes: [fn(&mut LoginRequest); 7] = [
            |request| request.id = "1123456789".into(),
            |request| request.hash = Hash::of("another token"),
            |request| request.label = "desktop".into(),
            |request| request.role = Some(Role::Admin),
            |request| request.targets = Targets::Named(vec!["a".into()]),
            |request| request.lifetime = 3601,
            |request| request.asked = 1_000_001,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = request();
            change(&mut changed);
            assert_ne!(changed.code(), usual.code(), "{number}");
        }
    }

    #[test]
    fn other_texts_are_no_requests() {
        let query = request().query();
        for text in [
            String::new(),
            "id=1".into(),
            query.replace("id=0123456789", "id="),
            query.replace("id=0123456789", "id=a.b"),
            query.replace("seconds=3600", "seconds=-1"),
            query.replace("hash=", "hash=0"),
            format!("{query}&role=admin"),
            format!("{query}&more=1"),
            format!("role=root&{query}"),
            query.replace("laptop", &"x".repeat(LENGTH_LIMIT)),
        ] {
            assert!(LoginRequest::parse(&text).is_none(), "{text}");
        }
    }

    #[test]
    fn only_a_recent_request_can_be_confirmed() {
        for (seconds, expected) in
            [(999_699, false), (999_700, true), (1_000_600, true), (1_000_601, false), (0, false)]
        {
            let now = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(request().is_recent(now), expected, "{seconds}");
        }
    }

    #[test]
    fn a_code_is_typed_as_people_type() {
        let code = request().code();
        assert_eq!((code.len(), code.as_bytes()[4]), (9, b'-'));
        for typed in [code.clone(), code.to_lowercase(), code.replace('-', ""), format!(" {} ", code.replace('-', " "))]
        {
            assert!(is_code(&typed, &code), "{typed}");
        }
        for typed in ["", "-", &code[..8], &code[1..]] {
            assert!(!is_code(typed, &code), "{typed}");
        }
    }
}
