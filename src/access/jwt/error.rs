//! The reasons why a JWT is rejected.

/// The reason why a JWT is rejected. No text contains a part of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Longer than any token of the known issuers.
    #[error("it is longer than 16 KiB")]
    TooLong,
    /// The token is not three parts of base64url without padding.
    #[error("it is not three parts of base64url without padding")]
    Malformed,
    /// Five parts, or an `enc` in the header.
    #[error("it is encrypted, and only signed tokens are accepted")]
    Encrypted,
    /// The header or the claims are not one JSON object.
    #[error("its header or its claims are not an object of JSON")]
    NotJson,
    /// The same key twice in one object, so that two readers could read two things.
    #[error("a key occurs twice in its header or its claims")]
    DuplicateKey,
    /// A parameter that changes how the token has to be read.
    #[error("its header has `crit`, `b64` or `zip`, which the appliance does not support")]
    Critical,
    /// A parameter of the header has the wrong kind of value.
    #[error("a parameter of its header has the wrong type of value")]
    Header,
    /// A token for another purpose, such as a logout token.
    #[error("its type is not that of an access token or ID token")]
    Type,
    /// An algorithm that the issuer may not use, `none` and those with a shared secret included.
    #[error("the issuer may not use its algorithm")]
    Algorithm,
    /// `iss` is missing, or is not the URL of a configured issuer.
    #[error("its issuer is not one of the configured issuers")]
    UnknownIssuer,
    /// Meant for another service.
    #[error("it is meant for another audience")]
    Audience,
    /// The token never expires.
    #[error("it has no expiry")]
    NoExpiry,
    /// A time that is not a number, or that no clock shows.
    #[error("`exp`, `nbf` or `iat` is not a valid time")]
    Time,
    /// Expired.
    #[error("it has expired")]
    Expired,
    /// `nbf` is in the future.
    #[error("it is not valid yet")]
    NotYetValid,
    /// `iat` is in the future.
    #[error("it was issued in the future; check the clocks")]
    IssuedInFuture,
    /// The issuer publishes no such key.
    #[error("its issuer publishes no key with its `kid` for its algorithm")]
    UnknownKey,
    /// The token names no key, and several keys fit; or several keys have the same `kid`.
    #[error("several keys of its issuer fit, because it names none or they have the same `kid`")]
    AmbiguousKey,
    /// The keys could not be fetched, so nothing is known about the token.
    #[error("the keys of its issuer could not be obtained")]
    NoKeys,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
}

impl JwtError {
    /// All errors, in the order of their numbers.
    pub const ALL: [Self; 20] = [
        Self::TooLong,
        Self::Malformed,
        Self::Encrypted,
        Self::NotJson,
        Self::DuplicateKey,
        Self::Critical,
        Self::Header,
        Self::Type,
        Self::Algorithm,
        Self::UnknownIssuer,
        Self::Audience,
        Self::NoExpiry,
        Self::Time,
        Self::Expired,
        Self::NotYetValid,
        Self::IssuedInFuture,
        Self::UnknownKey,
        Self::AmbiguousKey,
        Self::NoKeys,
        Self::Signature,
    ];

    /// Returns the value of the label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::TooLong => "too-long",
            Self::Malformed => "malformed",
            Self::Encrypted => "encrypted",
            Self::NotJson => "not-json",
            Self::DuplicateKey => "duplicate-key",
            Self::Critical => "critical",
            Self::Header => "header",
            Self::Type => "type",
            Self::Algorithm => "algorithm",
            Self::UnknownIssuer => "unknown-issuer",
            Self::Audience => "audience",
            Self::NoExpiry => "no-expiry",
            Self::Time => "time",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::IssuedInFuture => "issued-in-future",
            Self::UnknownKey => "unknown-key",
            Self::AmbiguousKey => "ambiguous-key",
            Self::NoKeys => "no-keys",
            Self::Signature => "signature",
        }
    }
}
