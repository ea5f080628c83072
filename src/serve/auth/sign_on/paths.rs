//! The paths of the journeys to an identity provider and back.

/// The path at which a sign-in begins.
pub(crate) const START: &str = "/_appliance/oidc/start";
/// The path to which the provider returns the browser. Operators register it there.
pub const CALLBACK: &str = "/_appliance/oidc/callback";
/// The path to which the provider returns the browser after signing out. Operators register it there.
pub const SIGNED_OUT: &str = "/_appliance/signed-out";
