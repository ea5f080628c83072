//! The assumptions about AWS that only an account can prove, and the options and pages that depend on each.

/// One assumption.
#[derive(Debug, PartialEq, Eq)]
pub struct Assumption {
    /// The name, which stays the same.
    pub name: &'static str,
    /// The assumption as one sentence.
    pub sentence: &'static str,
    /// The options, commands and pages that depend on it.
    pub depends_on: &'static [&'static str],
}

macro_rules! assumptions {
    ($($constant:ident = $name:literal: $sentence:literal, [$($depends:literal),+];)+) => {
        $(
            #[doc = $sentence]
            pub(super) const $constant: Assumption =
                Assumption { name: $name, sentence: $sentence, depends_on: &[$($depends),+] };
        )+

        /// All assumptions, in the order in which they are tested.
        pub const ASSUMPTIONS: &[Assumption] = &[$($constant),+];
    };
}

assumptions! {
    SIGNED_REQUEST = "mlflow-signed-request": "MLflow accepts a request that the appliance has signed.",
        ["every request"];
    WRONG_HASH = "mlflow-wrong-hash": "MLflow rejects a body that does not have the signed SHA-256.",
        ["docs/SECURITY.md"];
    UNSIGNED_PAYLOAD = "mlflow-unsigned-payload": "MLflow accepts a body that is not part of the signature.",
        ["`unsigned-payload`", "docs/operate/behaviour.md"];
    CHUNKS = "mlflow-chunk-signed-payload": "MLflow accepts a body in signed chunks.",
        ["nothing yet: large bodies could then be signed without a disk"];
    CHUNKS_WITH_TRAILER = "mlflow-chunk-signed-trailer":
        "MLflow accepts a body in signed chunks with a checksum behind them.",
        ["nothing yet: large bodies could then be signed without a disk"];
    STALE_SIGNATURE = "mlflow-stale-signature":
        "MLflow rejects an old signature with 403 and the time of AWS, by which the appliance corrects its own.",
        ["docs/operate/behaviour.md"];
    PATH_CHARACTERS = "mlflow-path-characters":
        "A path with spaces, `+`, `@` and non-ASCII characters is signed as AWS checks it.",
        ["docs/reference/proxying.md"];
    PATH_ENCODED_SLASH = "mlflow-path-encoded-slash": "A path with `%2F` is signed as AWS checks it.",
        ["docs/reference/proxying.md"];
    PATH_DOUBLE_SLASH = "mlflow-path-double-slash":
        "AWS ignores empty segments of a path when it checks a signature.",
        ["docs/reference/proxying.md"];
    HTTP2 = "mlflow-http2":
        "MLflow's endpoint speaks HTTP/2 and allows 100 requests at a time on one connection.",
        ["`upstream-http2`"];
    PAGE = "routes-page": "MLflow's page is at `/` of the endpoint that takes signed requests.",
        ["docs/access/browsers.md"];
    AJAX = "routes-ajax": "The routes of the API answer below `/ajax-api` as well.",
        ["docs/access/browsers.md"];
    GRAPHQL = "routes-graphql": "MLflow answers GraphQL queries.",
        ["docs/access/browsers.md", "docs/access/roles.md"];
    BASIC_ROUTES = "routes-basic": "MLflow answers the routes of experiments, runs, metrics, artifacts and models.",
        ["docs/use/versions.md"];
    NEWER_ROUTES = "routes-newer":
        "MLflow answers the routes of traces, logged models, datasets, scorers, webhooks and the server's description.",
        ["docs/use/versions.md"];
    STS_AUDIENCE = "sts-signed-audience":
        "STS confirms an identity only together with the audience that was signed.",
        ["`aws-audience`", "docs/access/aws-identities.md"];
    PRESIGNED_PAGE = "presigned-page": "A presigned URL of AWS's page admits one browser, once.",
        ["`appliance ui`", "docs/use/aws-ui.md"];
    QUERY_CHARACTERS = "mlflow-query-characters":
        "A query with spaces, `+`, `/`, `%` and non-ASCII characters is signed and read as it was meant.",
        ["docs/reference/proxying.md"];
    BODY_SIZE = "mlflow-body-size": "MLflow receives bodies of up to the size of `--largest-body`.",
        ["`api-body-size-limit`", "docs/operate/behaviour.md"];
    ARTIFACT_LOCATION = "artifact-location":
        "New runs keep their artifacts below the artifact store of the target.",
        ["`artifact-store`", "docs/use/artifacts.md"];
    CHUNKED_UPLOAD = "s3-chunk-signed-upload": "S3 accepts an object in signed chunks with a signed checksum.",
        ["`artifact-upload-signing`", "docs/use/artifacts.md"];
    CORRUPT_CHUNK = "s3-corrupt-chunk": "S3 rejects an object in which a chunk has changed, and stores nothing.",
        ["`artifact-upload-signing`", "docs/use/artifacts.md"];
    UNSIGNED_TRAILER = "s3-unsigned-trailer": "S3 accepts unsigned chunks with a checksum behind them.",
        ["nothing yet: uploads could then cost less processor time"];
    KEY_CHARACTERS = "s3-key-characters":
        "S3 stores and lists an object whose key has spaces, `+`, `%`, `#` and non-ASCII characters.",
        ["docs/use/artifacts.md"];
    PARTS = "s3-parts": "S3 makes an object of signed parts, and shows it only when the upload is complete.",
        ["docs/use/artifacts.md"];
    PRESIGNED_PART = "s3-presigned-part": "S3 accepts a part by a presigned URL and no further header.",
        ["`artifact-access`", "docs/use/artifacts.md"];
    PRESIGNED_DOWNLOAD = "s3-presigned-download":
        "S3 answers a presigned URL with the `Content-Disposition` that was signed.",
        ["`artifact-access`", "docs/use/artifacts.md"];
    KMS = "s3-kms-headers":
        "S3 encrypts objects, and objects of parts, with the key that the signed headers name.",
        ["`artifact-kms-key`", "docs/use/artifacts.md"];
    READ_BY_MLFLOW = "artifacts-read-by-mlflow": "MLflow lists the artifacts that the appliance wrote to S3.",
        ["docs/use/artifacts.md", "docs/access/browsers.md"];
    SOURCE_ACCOUNT = "service-role-source-account":
        "MLflow can use a service role whose trust policy requires `aws:SourceAccount`.",
        ["docs/deploy/security.md"];
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::ASSUMPTIONS;

    #[test]
    fn names_are_unique_and_sentences_are_sentences() {
        let names: HashSet<_> = ASSUMPTIONS.iter().map(|one| one.name).collect();
        assert_eq!(names.len(), ASSUMPTIONS.len());
        for one in ASSUMPTIONS {
            assert!(one.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
            assert!(one.sentence.ends_with('.') && one.sentence.len() < 120, "{}", one.sentence);
        }
    }
}
