//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): the trace that a request belongs to, and its parent span.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

/// The header that names the trace and the parent, and says whether the trace is recorded.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The additions of tracing systems to `traceparent`, which mean nothing without it.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The flag of a caller who records the trace.
pub const SAMPLED: u8 = 0b01;
/// The flag of a trace id that is random, which level 2 of the specification has to be passed on.
const RANDOM: u8 = 0b10;
/// `00-` and 32, 16 and 2 digits with a hyphen between each.
const LENGTH: usize = 55;

/// One place in a trace: a span that others can be children of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; not zero.
    pub trace: u128,
    /// The span; not zero.
    pub span: u64,
    /// [`SAMPLED`] and the flags that are passed on.
    pub flags: u8,
}

impl TraceContext {
    /// The context that a request carries; nothing if it carries none, an invalid one or more than one.
    #[must_use]
    pub fn of(fields: &HeaderMap) -> Option<Self> {
        let mut values = fields.get_all(TRACEPARENT);
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.to_str().ok()?),
            _ => None,
        }
    }

    /// Reads a value of `traceparent`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let version = hexadecimal(text.get(..2)?)?;
        let is_complete = match version {
            0 => text.len() == LENGTH,
            0xff => false,
            // A later version may say more, behind another hyphen; what is known stands in the same place (§4.3).
            _ => text.len() == LENGTH || text.as_bytes().get(LENGTH) == Some(&b'-'),
        };
        let mut parts = text.get(3..LENGTH).filter(|_| is_complete && text.as_bytes()[2] == b'-')?.split('-');
        let mut part = |digits: usize| parts.next().filter(|part| part.len() == digits).and_then(hexadecimal);
        let (trace, span, flags) = (part(32)?, part(16)?, part(2)?);
        if trace == 0 || span == 0 {
            return None;
        }
        let (span, flags) = (u64::try_from(span).ok()?, u8::try_from(flags).ok()?);
        Some(Self { trace, span, flags: flags & (SAMPLED | RANDOM) })
    }

    /// True if the sender records the trace and asks others to record it, too.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The value of `traceparent`.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        let text = format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags);
        HeaderValue::try_from(text).expect("digits and hyphens")
    }
}

/// Lower-case digits only, as the specification has it; Rust would take others, and signs.
fn hexadecimal(text: &str) -> Option<u128> {
    let is_plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_plain { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
    const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

    #[test]
    fn a_valid_value_is_read_and_written() {
        for (flags, expected) in [("00", 0), ("01", 1), ("02", 2), ("03", 3), ("ff", 3), ("fc", 0)] {
            let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            let context = TraceContext::parse(&text).unwrap();
            assert_eq!(context, TraceContext { trace: TRACE, span: SPAN, flags: expected });
            assert_eq!(context.is_sampled(), expected & 1 == 1);
            let written = context.value();
            assert_eq!(written, text.replace(&format!("-{flags}"), &format!("-0{expected}")));
            assert_eq!(TraceContext::parse(written.to_str().unwrap()), Some(context));
        }
    }

    #[test]
    fn the_known_part_of_later_versions_is_read() {
        let known = "-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for version in ["01", "02", "cc", "fe"] {
            for rest in ["", "-", "-what-the-future-will-be-like"] {
                let context = TraceContext::parse(&format!("{version}{known}{rest}"));
                assert_eq!(context, Some(TraceContext { trace: TRACE, span: SPAN, flags: 1 }), "{version} {rest}");
            }
            assert_eq!(TraceContext::parse(&format!("{version}{known}.what")), None, "{version}");
        }
    }

    #[test]
    fn an_invalid_value_is_no_context() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(TraceContext::parse(valid).is_some());
        for text in [
            "",
            "00",
            "00-",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0A",
            "0A-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-04bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-zbf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
            "é-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_request_with_two_contexts_has_none() {
        let value = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let mut fields = HeaderMap::new();
        assert_eq!(TraceContext::of(&fields), None);
        fields.append(TRACEPARENT, value.clone());
        assert_eq!(TraceContext::of(&fields).map(|context| context.span), Some(SPAN));
        fields.append(TRACEPARENT, value);
        assert_eq!(TraceContext::of(&fields), None);
    }
}
