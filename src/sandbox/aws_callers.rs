//! The AWS identities that the sandbox's appliance accepts: the roles for which the sandbox issues credentials.

/// The line of the configuration with the audience.
pub(super) const AUDIENCE: &str = "aws-audience = \"sandbox\"\n";
/// The tables of the configuration that grant a role.
pub(super) const GRANTS: &str = "
[[caller]]
principal = \"arn:aws:iam::123456789012:role/sandbox-*\"
role = \"write\"
";
