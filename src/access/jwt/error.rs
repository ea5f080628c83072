//! The reasons why a JWT is rejected.

use crate::labelled::labelled;

labelled! {
    /// The reason why a JWT is rejected. No text contains a part of the token.
    #[derive(thiserror::Error)]
    pub enum JwtError {
        /// Longer than any token of the known issuers.
        #[error("it is longer than 16 KiB")]
        TooLong = "too-long",
        /// The token is not three parts of base64url without padding.
        #[error("it is not three parts of base64url without padding")]
        Malformed = "malformed",
        /// Five parts, or an `enc` in the header.
        #[error("it is encrypted, and only signed tokens are accepted")]
        Encrypted = "encrypted",
        /// The header or the claims are not one JSON object.
        #[error("its header or its claims are not an object of JSON")]
        NotJson = "not-json",
        /// The same key twice in one object, so that two readers could read two things.
        #[error("a key occurs twice in its header or its claims")]
        DuplicateKey = "duplicate-key",
        /// A parameter that changes how the token has to be read.
        #[error("its header has `crit`, `b64` or `zip`, which the appliance does not support")]
        Critical = "critical",
        /// A parameter of the header has the wrong kind of value.
        #[error("a parameter of its header has the wrong type of value")]
        Header = "header",
        /// A token for another purpose, such as a logout token.
        #[error("its type is not that of an access token or ID token")]
        Type = "type",
        /// An algorithm that the issuer may not use, `none` and those with a shared secret included.
        #[error("the issuer may not use its algorithm")]
        Algorithm = "algorithm",
        /// `iss` is missing, or is not the URL of a configured issuer.
        #[error("its issuer is not one of the configured issuers")]
        UnknownIssuer = "unknown-issuer",
        /// Meant for another service.
        #[error("it is meant for another audience")]
        Audience = "audience",
        /// The token never expires.
        #[error("it has no expiry")]
        NoExpiry = "no-expiry",
        /// A time that is not a number, or that no clock shows.
        #[error("`exp`, `nbf` or `iat` is not a valid time")]
        Time = "time",
        /// Expired.
        #[error("it has expired")]
        Expired = "expired",
        /// `nbf` is in the future.
        #[error("it is not valid yet")]
        NotYetValid = "not-yet-valid",
        /// `iat` is in the future.
        #[error("it was issued in the future; check the clocks")]
        IssuedInFuture = "issued-in-future",
        /// The issuer publishes no such key.
        #[error("its issuer publishes no key with its `kid` for its algorithm")]
        UnknownKey = "unknown-key",
        /// The token names no key, and several keys fit; or several keys have the same `kid`.
        #[error("several keys of its issuer fit, because it names none or they have the same `kid`")]
        AmbiguousKey = "ambiguous-key",
        /// The keys could not be fetched, so nothing is known about the token.
        #[error("the keys of its issuer could not be obtained")]
        NoKeys = "no-keys",
        /// The signature is wrong.
        #[error("its signature is wrong")]
        Signature = "signature",
    }
}
