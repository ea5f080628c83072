//! The options of a target. They are also the keys of a `[[target]]` table.

use super::group::option_group;

option_group! {
    /// The options of one target.
    TargetOptions {
        "Target" {
            /// The managed MLflow: the ARN of a tracking server or of an app (required)
            resource_arn: "SM_MLFLOW_RESOURCE_ARN" "ARN",
        }
        "Identity" {
            /// The role to assume before calling MLflow [default: none; the default AWS credentials sign]
            role_arn: "SM_MLFLOW_ROLE_ARN" "ARN",
            /// The external id that the role's trust policy requires
            role_external_id: "APPLIANCE_ROLE_EXTERNAL_ID" "TEXT",
            /// Show each caller's name in CloudTrail: `source-identity` or `session-tag` [default: all callers share one session]
            ///
            /// The appliance then assumes the role once for each caller. The role's trust policy has to allow
            /// `sts:SetSourceIdentity` or `sts:TagSession`.
            role_caller: "APPLIANCE_ROLE_CALLER" "METHOD",
        }
        "Artifacts" {
            /// The artifact store, as `s3://bucket/prefix`, or `auto` to ask AWS; turns the artifact gateway on
            ///
            /// Callers then need no AWS credentials for artifacts: they see locations in this store as `mlflow-artifacts:/…`,
            /// and the appliance reads and writes the objects. `auto` needs the permission
            /// `sagemaker:DescribeMlflowTrackingServer` or `sagemaker:DescribeMlflowApp`.
            artifact_store: "APPLIANCE_ARTIFACT_STORE" "S3-URI",
            /// The route of artifacts between clients and S3: `proxied`, `multipart` or `presigned-only` [default: multipart]
            ///
            /// `proxied`: all artifacts pass through the appliance, and callers need not reach S3. `multipart`: clients that
            /// support presigned URLs use them for downloads and for large uploads. `presigned-only`: no artifact passes
            /// through the appliance.
            artifact_access: "APPLIANCE_ARTIFACT_ACCESS" "METHOD",
            /// The KMS key for new objects [default: the bucket's setting]
            artifact_kms_key: "APPLIANCE_ARTIFACT_KMS_KEY" "ARN",
        }
        "Advanced: target" {
            /// The region, which has to be the ARN's [default: the ARN's]
            region: "SM_MLFLOW_AWS_REGION" "REGION",
            /// Send requests to this URL instead of the region's AWS endpoint; plain http only to this machine
            upstream_endpoint: "APPLIANCE_UPSTREAM_ENDPOINT" "URL",
        }
        "Advanced: identity" {
            /// The session name that CloudTrail shows [default: mlflow-appliance]
            role_session_name: "APPLIANCE_ROLE_SESSION_NAME" "TEXT",
            /// The lifetime of each set of the role's credentials, 15m to 12h [default: 1h]
            role_session_duration: "APPLIANCE_ROLE_SESSION_DURATION" "DURATION",
        }
        "Advanced: artifacts" {
            /// The lifetime of a presigned URL, limited by that of the credentials [default: 15m]
            ///
            /// A URL for a part of an upload is valid for at least an hour.
            artifact_url_lifetime: "APPLIANCE_ARTIFACT_URL_LIFETIME" "DURATION",
            /// The signatures of uploads above `--body-memory-limit`: `chunks` or `whole` [default: chunks]
            ///
            /// `chunks`: uploads are streamed, and S3 checks each chunk of 64 KiB. `whole`: the appliance buffers an upload on disk
            /// and sends its SHA-256 first, for stores that do not know signed chunks.
            artifact_upload_signing: "APPLIANCE_ARTIFACT_UPLOAD_SIGNING" "METHOD",
            /// Reject or allow locations outside of the artifact store: `refuse` or `allow` [default: refuse]
            ///
            /// Managed MLflow reads and writes such a location with its own role, whatever the caller is allowed to do there.
            artifact_elsewhere: "APPLIANCE_ARTIFACT_ELSEWHERE" "MODE",
            /// Send requests to this URL instead of the region's S3 endpoint; plain http only to this machine
            s3_endpoint: "APPLIANCE_S3_ENDPOINT" "URL",
            /// Send requests to this URL instead of the region's SageMaker API; plain http only to this machine
            ///
            /// `--artifact-store auto` and `appliance ui` use that API.
            sagemaker_endpoint: "APPLIANCE_SAGEMAKER_ENDPOINT" "URL",
        }
    }
}
