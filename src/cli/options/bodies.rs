//! The options of request bodies.

use super::group::option_group;

option_group! {
    /// The options of request bodies.
    BodyOptions {
        "Request bodies" {
            /// The largest request body [default: 5 GiB]
            body_size_limit: "APPLIANCE_BODY_SIZE_LIMIT" "SIZE",
            /// The directory for large bodies, on a real disk [default: /var/tmp]
            spool_directory: "APPLIANCE_SPOOL_DIRECTORY" "DIRECTORY",
            /// Stream uploads over `body-memory-limit` as they arrive, instead of hashing them on disk first
            ///
            /// The signature then does not cover the uploaded bytes (`UNSIGNED-PAYLOAD`), and TLS alone protects them. This is
            /// twice as fast and needs no disk, but the appliance cannot retry an upload that fails. S3 accepts such uploads;
            /// AWS does not document whether the MLflow API does; docs/reference/assumptions.md says how to find out.
            unsigned_payload: "APPLIANCE_UNSIGNED_PAYLOAD" "BOOL" [num_args = 0..=1, require_equals = true, default_missing_value = "true"],
        }
        "Advanced: request bodies" {
            /// The largest body of a request that is not for artifacts [default: 100 MiB]
            api_body_size_limit: "APPLIANCE_API_BODY_SIZE_LIMIT" "SIZE",
            /// The largest request body that is buffered in memory; larger ones go to disk [default: 1 MiB]
            body_memory_limit: "APPLIANCE_BODY_MEMORY_LIMIT" "SIZE",
            /// The memory for all request bodies together; bodies beyond it go to disk [default: 64 MiB]
            ///
            /// A quarter of it is reserved for bodies of up to 64 KiB. Of this and of the disk budget, one caller can hold
            /// twice as much as is left free, and one address eight times as much.
            body_memory_budget: "APPLIANCE_BODY_MEMORY_BUDGET" "SIZE",
            /// The disk space for all request bodies together; requests beyond it are rejected with 429 [default: 10 GiB]
            body_disk_budget: "APPLIANCE_BODY_DISK_BUDGET" "SIZE",
            /// The longest time without progress within a request body [default: 60s]
            ///
            /// Over each period of this length, a caller also has to send 1 KiB per second on average, unless the body ends.
            body_idle_timeout: "APPLIANCE_BODY_IDLE_TIMEOUT" "DURATION",
            /// The longest time in which a caller has to send a whole request body [default: 2h]
            body_timeout: "APPLIANCE_BODY_TIMEOUT" "DURATION",
        }
    }
}
