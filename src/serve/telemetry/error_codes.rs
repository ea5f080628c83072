//! The error codes, and an explanation of each for operators.

/// An error code.
#[derive(Debug)]
pub(crate) struct ErrorCode {
    /// The code: [`crate::serve::error::ProxyError::error_code`], or a name for a failure that is not the appliance's own.
    pub name: &'static str,
    /// True if the appliance rejects the request because a limit or a budget is exhausted.
    pub is_over_limit: bool,
    /// The meaning of the code and the remedy, in a sentence or two.
    pub text: &'static str,
}

const fn of(name: &'static str, text: &'static str) -> ErrorCode {
    ErrorCode { name, is_over_limit: false, text }
}

const fn over_limit(name: &'static str, text: &'static str) -> ErrorCode {
    ErrorCode { name, is_over_limit: true, text }
}

/// All error codes. The last stands for codes that are not in the list.
pub(crate) const ERROR_CODES: &[ErrorCode] = &[
    of("bad-request", "The request's path, method or framing is invalid. The client has to correct it."),
    of(
        "head-too-large",
        "The request has more than 96 header fields or 32 KiB of them, or more than MLflow's endpoint accepts. Often the \
         cause is cookies of other applications on the same host.",
    ),
    of("body-broken", "The body was truncated or its framing was invalid; usually the client closed the connection."),
    of(
        "bad-digest",
        "An artifact does not match the `Content-MD5` that its client sent; nothing was stored. Something changes bytes on the way.",
    ),
    of(
        "body-stalled",
        "The client stopped sending, or sent too slowly. Check its network; `body-idle-timeout` and `body-timeout` are the limits.",
    ),
    of("body-too-large", "The body exceeds `body-size-limit`, or `api-body-size-limit` if it is not an artifact."),
    of("bad-artifact-request", "The path or document of an artifact request is invalid; the client has to correct it."),
    of("bad-range", "The range lies outside of the artifact."),
    of(
        "unauthenticated",
        "The request has no token, or one that is unknown, expired or revoked; or the client certificate has expired. Create a token with `appliance token new`.",
    ),
    of(
        "wrong-credential",
        "Only a person who has signed in can use the page of personal tokens, and only a personal token can use `/_appliance/tokens/self`.",
    ),
    of("no-grant", "The user or the identity is known, but no `[[caller]]` grants anything to it."),
    of(
        "issuer-unavailable",
        "The keys of a JWT's issuer could not be fetched; the log has the reason. `appliance check` tests the way to the issuer.",
    ),
    of(
        "sign-in-rejected",
        "A sign-in at an identity provider was not completed: the person cancelled it or took too long, or the response was not \
         for this browser. Many of them mean that `session-key` differs between appliances, or that somebody tries to forge one.",
    ),
    of(
        "identity-provider-failed",
        "The identity provider did not respond, or does not accept the client. The log has the reason; `appliance check` tests \
         the issuer.",
    ),
    of(
        "sts-unavailable",
        "STS did not confirm a caller's AWS identity in time; the log has the reason. Callers that were confirmed before are not affected.",
    ),
    of("tokens-unknown", "The appliance could not read the tokens from AWS yet; the log has the reason."),
    of(
        "session-key-unknown",
        "The appliance could not read the key of `session-key` from AWS yet, so nobody can sign in with a browser; the log has \
         the reason.",
    ),
    of(
        "client-secret-unknown",
        "The appliance could not read the `client-secret` of an issuer from AWS yet, so nobody can sign in there; the log has \
         the reason.",
    ),
    of(
        "personal-tokens-unavailable",
        "The appliance could not change the personal tokens where they are stored; the log has the reason.",
    ),
    of("role-too-low", "The caller's role does not allow this action. Grant a higher role if the caller needs it."),
    of("denied-by-rule", "A `deny` rule forbids the action."),
    of("target-not-allowed", "The caller may not use this target; its token names others."),
    of("foreign-network", "The caller's address is outside of `allowed-networks`."),
    of("foreign-host", "The host name in the request is not in `allowed-hosts`."),
    of(
        "foreign-origin",
        "A browser sent this request for a page of another site, or used a session without proof that a page of the appliance made the request.",
    ),
    of("no-such-page", "There is no page at this path below `/_appliance/`."),
    of("no-such-target", "No target has this name; paths are `/t/<name>/…`."),
    of("no-such-artifact", "The artifact store has no object at this path."),
    of(
        "foreign-location",
        "The request, or a span in it, names a location outside of the artifact store, or the requested artifacts are at such a location. \
         `artifact-elsewhere` allows it.",
    ),
    of("presigned-only", "`artifact-access` disables uploads through the appliance."),
    of(
        "no-presigned",
        "`artifact-access` disables presigned URLs, or the credentials expire too soon for the parts of an upload; MLflow's \
         client then uploads through the appliance.",
    ),
    over_limit(
        "rate-limited",
        "The caller exceeded `caller-rate-limit`, or too many requests from one address were rejected.",
    ),
    over_limit("concurrency-limited", "The caller exceeded `caller-concurrency-limit`."),
    over_limit(
        "uploads-over-budget",
        "Uploads use the whole `body-disk-budget` or their caller's share of it, or too many large ones arrive at once. Raise the budget, or add instances.",
    ),
    over_limit(
        "overloaded",
        "The in-flight limit of the target or of S3 was reached, or a caller had used up its share of the connections. Raise \
         `upstream-connections`, or find out why the target is slow or why that caller does not read its responses.",
    ),
    over_limit("memory-over-budget", "Documents use the whole `body-memory-budget`. Raise it, or add instances."),
    of("spool-failed", "A body could not be written to `spool-directory`, or read back. Check the disk."),
    of("no-credentials", "There are no valid AWS credentials to sign with. `appliance check` shows what is missing."),
    of(
        "artifact-store-unknown",
        "The appliance does not know yet where the artifacts are stored; the log has the reason.",
    ),
    of(
        "artifact-access-denied",
        "AWS does not allow the identity to do this on the bucket. The cause names the action and the resource.",
    ),
    of("artifact-store-busy", "S3 asked to slow down, or failed, after several attempts."),
    of("artifact-store-misconfigured", "The bucket does not exist, or is in another region. Correct `artifact-store`."),
    of("artifact-store-refused", "S3 rejected the request; the cause has S3's error code."),
    of(
        "artifact-store-circuit-open",
        "S3 could not be reached five times in a row, so the circuit breaker rejects requests to it for a while. The failures before that name the cause.",
    ),
    of("artifact-store-unreachable", "S3 did not respond. Check the network and the VPC endpoint."),
    of(
        "upstream-unresolved",
        "The endpoint's host name has no address. Check the region, and the private DNS of the VPC endpoint.",
    ),
    of(
        "upstream-unreachable",
        "The appliance cannot connect to the endpoint. Check the network, the security groups and the VPC endpoint.",
    ),
    of(
        "upstream-tls",
        "The endpoint's certificate is not trusted. If a proxy on the way presents its own, name its authority with `ca-file`.",
    ),
    of(
        "upstream-circuit-open",
        "The endpoint could not be reached five times in a row, so the circuit breaker rejects requests to it for a while. The failures before that name the cause.",
    ),
    of("upstream-timeout", "Managed MLflow did not respond in time. Check whether its size suits its load."),
    of("upstream-closed", "Managed MLflow closed the connection without a response."),
    of("upstream-invalid", "Managed MLflow sent an invalid response."),
    // The appliance did not reject these requests: the response is the upstream's own.
    of(
        UPSTREAM_DENIED,
        "AWS denied the request. The identity needs the action that `x-appliance-hint` names; `appliance check` tests it.",
    ),
    of(UPSTREAM_ERROR, "Managed MLflow itself failed. The log has its request id for a support case."),
    of(CUT_OFF, "Managed MLflow's response was truncated, so the appliance closed the client's connection."),
    of("other", "The log has the cause."),
];

/// AWS responded with 403.
pub(crate) const UPSTREAM_DENIED: &str = "upstream-denied";
/// Managed MLflow responded with 5xx.
pub(crate) const UPSTREAM_ERROR: &str = "upstream-error";
/// The upstream's response was truncated.
pub(crate) const CUT_OFF: &str = "cut-off";

/// Returns the index of a code in the list.
pub(crate) fn index(name: &str) -> usize {
    ERROR_CODES.iter().position(|code| code.name == name).unwrap_or(ERROR_CODES.len() - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The codes that errors can have: each stands beside its status, as in `("bad-range", StatusCode::…)`.
    fn names() -> HashSet<&'static str> {
        let files = [
            include_str!("../error/class.rs"),
            include_str!("../auth/error.rs"),
            include_str!("../auth/sign_on/error.rs"),
            include_str!("../error/s3_error.rs"),
        ];
        let pairs = files.iter().map(|text| text.split("(\"").filter_map(|rest| rest.split_once("\", StatusCode::")));
        pairs
            .map(|pairs| pairs.map(|(name, _)| name).collect::<Vec<_>>())
            .inspect(|names| assert!(names.len() > 3))
            .flatten()
            .collect()
    }

    #[test]
    fn every_error_code_is_explained_once_and_no_other_is() {
        let others = [UPSTREAM_DENIED, UPSTREAM_ERROR, CUT_OFF, "other"];
        let known: HashSet<_> = ERROR_CODES.iter().map(|code| code.name).collect();
        assert_eq!(known.len(), ERROR_CODES.len());
        let all = names();
        assert!(all.len() > 30 && all.iter().all(|name| name.bytes().all(|c| c.is_ascii_lowercase() || c == b'-')));
        assert_eq!(known, all.into_iter().chain(others).collect());
        assert_eq!(ERROR_CODES[index("nonsense")].name, "other");
    }
}
