//! The options of connections to upstreams.

use super::group::option_group;

option_group! {
    /// The options of connections to upstreams.
    UpstreamOptions {
        "Target" {
            /// The PEM file of certificate authorities to trust in addition to the system's
            ca_file: "APPLIANCE_CA_FILE" "FILE",
        }
        "Advanced: upstream connections" {
            /// Use HTTP/2 if the upstream offers it [default: true]
            upstream_http2: "APPLIANCE_UPSTREAM_HTTP2" "BOOL" [num_args = 0..=1, require_equals = true, default_missing_value = "true"],
            /// The HTTP/1.1 connections of each worker to a target [default: 256]
            ///
            /// Targets with the same host share twice as many. If a worker has more than four times as many requests of
            /// a target in flight, further requests are rejected with 429.
            upstream_connections: "APPLIANCE_UPSTREAM_CONNECTIONS" "NUMBER",
            /// The longest time for resolving the name and connecting by TCP [default: 5s]
            upstream_connect_timeout: "APPLIANCE_UPSTREAM_CONNECT_TIMEOUT" "DURATION",
            /// The longest time for the TLS handshake [default: 5s]
            upstream_handshake_timeout: "APPLIANCE_UPSTREAM_HANDSHAKE_TIMEOUT" "DURATION",
            /// The longest wait for a response to begin; less than the MLflow client's 120 s [default: 110s]
            upstream_response_timeout: "APPLIANCE_UPSTREAM_RESPONSE_TIMEOUT" "DURATION",
            /// The longest time without progress within a response, event streams included [default: 5m]
            upstream_idle_timeout: "APPLIANCE_UPSTREAM_IDLE_TIMEOUT" "DURATION",
            /// Close an upstream connection that was idle for this long; less than the upstream's own limit [default: 50s]
            upstream_keep_alive: "APPLIANCE_UPSTREAM_KEEP_ALIVE" "DURATION",
            /// The age at which an upstream connection is replaced [default: 1h]
            upstream_lifetime: "APPLIANCE_UPSTREAM_LIFETIME" "DURATION",
        }
    }
}
