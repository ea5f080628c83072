//! The options of the listener for callers.

use super::group::option_group;

option_group! {
    /// The options of the listener.
    ListenerOptions {
        "Listener" {
            /// The address and port to listen on [default: 127.0.0.1:5000]
            listen: "APPLIANCE_LISTEN" "ADDRESS:PORT",
            /// The PEM file of the listener's certificate chain; reloaded while running [default: no TLS]
            tls_certificate: "APPLIANCE_TLS_CERTIFICATE" "FILE",
            /// The PEM file of the certificate's private key, or `credential:<name>` of systemd
            ///
            /// `tls-certificate` and `tls-client-ca` accept such a name as well.
            tls_key: "APPLIANCE_TLS_KEY" "FILE",
            /// The PEM file of the authorities of client certificates; `[[caller]]` grants roles to their holders
            tls_client_ca: "APPLIANCE_TLS_CLIENT_CA" "FILE",
            /// The host names, comma-separated, that callers may use besides `localhost`
            ///
            /// This protects against DNS rebinding. By default, a loopback listener accepts only the names of this machine,
            /// and any other listener accepts every name.
            allowed_hosts: "APPLIANCE_ALLOWED_HOSTS" "NAMES",
        }
        "Advanced: listener" {
            /// Require client certificates or make them optional: `required` or `optional` [default: optional]
            tls_client_certificate: "APPLIANCE_TLS_CLIENT_CERTIFICATE" "MODE",
            /// The number of worker threads [default: one per core]
            workers: "APPLIANCE_WORKERS" "NUMBER",
            /// The connections of callers that each worker accepts; further connections wait [default: 25000]
            connection_limit: "APPLIANCE_CONNECTION_LIMIT" "NUMBER",
            /// The time after which a caller's idle connection is closed; longer than a load balancer's 60 s [default: 75s]
            keep_alive: "APPLIANCE_KEEP_ALIVE" "DURATION",
            /// The longest time in which a caller has to send the head of a request [default: 10s]
            head_timeout: "APPLIANCE_HEAD_TIMEOUT" "DURATION",
            /// The time after which a connection is closed whose caller reads nothing of a response [default: 60s]
            send_timeout: "APPLIANCE_SEND_TIMEOUT" "DURATION",
            /// The longest time for which requests in flight may continue after SIGTERM [default: 30s]
            drain_timeout: "APPLIANCE_DRAIN_TIMEOUT" "DURATION",
        }
    }
}
