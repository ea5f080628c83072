//! Why requests fail, as one of a fixed list of words, and what an operator can do about each.

/// One way to fail.
#[derive(Debug)]
pub(crate) struct Explanation {
    /// [`crate::serve::error::ProxyError::kind`], or a word for what is no refusal.
    pub kind: &'static str,
    /// Whether it is refused because there is too much to do.
    pub is_shed: bool,
    /// What it means and what to do, as a sentence or two.
    pub text: &'static str,
}

const fn of(kind: &'static str, text: &'static str) -> Explanation {
    Explanation { kind, is_shed: false, text }
}

const fn shed(kind: &'static str, text: &'static str) -> Explanation {
    Explanation { kind, is_shed: true, text }
}

/// All ways to fail. The last stands for what is not in the list.
pub(crate) const EXPLANATIONS: &[Explanation] = &[
    of(
        "bad-request",
        "The request cannot be passed on as it is: its path, its method or its framing. The caller has to change it.",
    ),
    of(
        "head-too-large",
        "The request has over 96 header fields or over 32 KiB of them, or more than MLflow's endpoint takes. Often these \
         are cookies of other applications at the same name.",
    ),
    of("body-broken", "The body ended early or its framing was wrong; usually the caller went away."),
    of(
        "body-stalled",
        "The caller stopped sending, or sent too slowly. Look at its network; `body-idle-timeout` and `body-timeout` are the limits.",
    ),
    of("body-too-large", "The body is over `body-size-limit`, or over `api-body-size-limit` outside of artifacts."),
    of(
        "bad-artifact-request",
        "The path or document of an artifact request makes no sense; the caller has to change it.",
    ),
    of("bad-range", "The range lies outside of the artifact."),
    of(
        "unauthenticated",
        "No token, or one that is unknown, expired or revoked; or a client certificate that ceased to hold. Make a token with `appliance token new`.",
    ),
    of("no-grant", "The user has signed in, but no `[[caller]]` grants them anything."),
    of("tokens-unknown", "The tokens have not been read from AWS yet; the log says why."),
    of("role-too-low", "The caller's role does not allow this action. Give it another role, or leave it so."),
    of("denied-by-rule", "A rule of `deny` forbids the action."),
    of("target-not-allowed", "The caller may not use this target; its token names others."),
    of("foreign-network", "The caller's address is outside of `allowed-networks`."),
    of("foreign-host", "The name by which the appliance was addressed is not in `allowed-hosts`."),
    of(
        "foreign-origin",
        "A browser sent this for another site's page, or used a session without proof that it did not.",
    ),
    of("no-such-page", "Nothing is served at this path below `/_appliance/`."),
    of("no-such-target", "No target has this name; paths are `/t/<name>/…`."),
    of("no-such-artifact", "There is no object at this path of the store."),
    of(
        "foreign-location",
        "The request names a location outside of the artifact store, or artifacts that lie there. `artifact-elsewhere` allows it.",
    ),
    of("presigned-only", "Uploads through the appliance are switched off by `artifact-access`."),
    of(
        "no-presigned",
        "Presigned URLs are switched off by `artifact-access`, or the credentials do not live long enough for the parts of an \
         upload; MLflow's client goes on without.",
    ),
    shed(
        "rate-limited",
        "The caller is over `caller-rate-limit`, or too many requests from one address were rejected.",
    ),
    shed("concurrency-limited", "The caller is over `caller-concurrency-limit`."),
    shed(
        "uploads-over-budget",
        "Uploads hold the whole `body-disk-budget` or their caller's share of it, or too many large ones arrive at once. Raise it, or add instances.",
    ),
    shed(
        "overloaded",
        "More requests waited for the target or S3 than it takes, or one caller held half of the connections that others \
         leave. Raise `upstream-connections`, or look at why the target is slow or that caller does not read.",
    ),
    shed("memory-over-budget", "Documents hold the whole `body-memory-budget`. Raise it, or add instances."),
    of("spool-failed", "A body could not be written to `spool-directory`, or read back. Look at the disk."),
    of("no-credentials", "There are no valid AWS credentials to sign with. `appliance check` says what is missing."),
    of("artifact-store-unknown", "AWS has not said yet where the artifacts are; the log says why."),
    of("artifact-access-denied", "The identity may not do this on the bucket. The cause names action and resource."),
    of("artifact-store-busy", "S3 asks to slow down, or fails; it was asked several times."),
    of(
        "artifact-store-misconfigured",
        "There is no such bucket, or it is in another region. Correct `artifact-store`.",
    ),
    of("artifact-store-refused", "S3 refused the request as it is; the cause has its code."),
    of(
        "artifact-store-circuit-open",
        "S3 could not be reached five times in a row and is not asked for a while. Earlier failures say why.",
    ),
    of("artifact-store-unreachable", "S3 did not answer. Look at the network and at the VPC endpoint."),
    of(
        "upstream-unresolved",
        "The name of the endpoint has no address. Check the region, and private DNS of the VPC endpoint.",
    ),
    of(
        "upstream-unreachable",
        "No connection to the endpoint. Look at the network, security groups and the VPC endpoint.",
    ),
    of(
        "upstream-tls",
        "The endpoint's certificate is not trusted. Something in between may present its own: `ca-file`.",
    ),
    of(
        "upstream-circuit-open",
        "The endpoint could not be reached five times in a row and is not asked for a while. Earlier failures say why.",
    ),
    of("upstream-timeout", "Managed MLflow did not answer in time. Compare with its size and load."),
    of("upstream-closed", "Managed MLflow closed the connection without an answer."),
    of("upstream-invalid", "What came back is no valid answer."),
    // These are no refusals: the answer is the upstream's own.
    of(
        UPSTREAM_DENIED,
        "AWS denied it. The identity needs the action that `x-appliance-hint` names; `appliance check` looks.",
    ),
    of(UPSTREAM_ERROR, "Managed MLflow itself answered so. Its request id is in the log, for a support case."),
    of(CUT_OFF, "Managed MLflow broke off in the middle of its answer; the caller's connection was cut."),
    of("other", "The log has the cause."),
];

/// AWS answered 403.
pub(crate) const UPSTREAM_DENIED: &str = "upstream-denied";
/// Managed MLflow answered with 5xx.
pub(crate) const UPSTREAM_ERROR: &str = "upstream-error";
/// An answer that is not whole.
pub(crate) const CUT_OFF: &str = "cut-off";

/// Where a kind stands in the list.
#[must_use]
pub(crate) fn index(kind: &str) -> usize {
    EXPLANATIONS.iter().position(|known| known.kind == kind).unwrap_or(EXPLANATIONS.len() - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The words that the functions `kind` of the files of refusals can return.
    fn kinds() -> HashSet<&'static str> {
        let files = [
            include_str!("../../error.rs"),
            include_str!("../../auth/error.rs"),
            include_str!("../../upstream/s3_error.rs"),
        ];
        let bodies = files.iter().map(|text| {
            let begin = text.find("fn kind(&self)").expect("every refusal has a kind");
            let end = text[begin..].find("fn status(&self)").expect("and a status after it");
            &text[begin..begin + end]
        });
        bodies.flat_map(|body| body.split('"').skip(1).step_by(2)).collect()
    }

    #[test]
    fn every_kind_of_refusal_is_explained_once_and_nothing_else_is() {
        let others = [UPSTREAM_DENIED, UPSTREAM_ERROR, CUT_OFF, "other"];
        let known: HashSet<_> = EXPLANATIONS.iter().map(|known| known.kind).collect();
        assert_eq!(known.len(), EXPLANATIONS.len());
        let all = kinds();
        assert!(all.len() > 30 && all.iter().all(|kind| kind.bytes().all(|c| c.is_ascii_lowercase() || c == b'-')));
        assert_eq!(known, all.into_iter().chain(others).collect());
        assert_eq!(EXPLANATIONS[index("nonsense")].kind, "other");
    }
}
