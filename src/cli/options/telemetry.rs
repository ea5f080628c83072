//! The options of logs, metrics and traces.

use super::group::option_group;

option_group! {
    /// The options of logs, metrics and traces.
    TelemetryOptions {
        "Log" {
            /// The format of log lines: `text` for people or `json` for machines [default: text]
            log_format: "APPLIANCE_LOG_FORMAT" "FORMAT",
            /// The log level, or levels by target, as in `info` or `warn,access=off` [default: info]
            log_filter: "APPLIANCE_LOG_FILTER" "FILTER",
            /// Write an audit log with one line of JSON per request to this file, or to `stdout` [default: none]
            audit_log: "APPLIANCE_AUDIT_LOG" "FILE",
        }
        "Admin" {
            /// The address of the admin listener (/metrics, /status, /readyz), or `off` [default: 127.0.0.1:5090, if it is free]
            admin_listen: "APPLIANCE_ADMIN_LISTEN" "ADDRESS:PORT",
            /// The networks, comma-separated, that may use the admin listener; required to listen beyond this machine
            admin_networks: "APPLIANCE_ADMIN_NETWORKS" "NETWORKS",
        }
        "Traces" {
            /// Send a span for each request to this OpenTelemetry collector: its URL for OTLP over HTTP, or `off` [default: off]
            ///
            /// For example `http://127.0.0.1:4318`; the appliance appends `/v1/traces`. Spans continue callers' traces, and
            /// requests to AWS have spans of their own. If this option is not set, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or
            /// OTEL_EXPORTER_OTLP_ENDPOINT applies.
            otlp_endpoint: "APPLIANCE_OTLP_ENDPOINT" "URL",
        }
        "Advanced: admin" {
            /// This option has no effect any more; the admin listener serves the metrics at `/metrics`
            metrics_emf: "APPLIANCE_METRICS_EMF" "FILE",
        }
        "Advanced: CloudWatch Logs" {
            /// Send the log and the audit log to this group of CloudWatch Logs: its name, or its ARN [default: none]
            ///
            /// The group must exist. The machine's own role or user needs `logs:CreateLogStream` and `logs:PutLogEvents` on it.
            /// Requests do not wait for CloudWatch Logs; the metrics count the events that are lost in a long outage.
            cloudwatch_log_group: "APPLIANCE_CLOUDWATCH_LOG_GROUP" "GROUP",
            /// The contents to send there, comma-separated: `log`, `audit`, `metrics` [default: log,audit]
            ///
            /// `metrics` is a line a minute in CloudWatch's embedded metric format. AWS bills the six metrics that it becomes.
            cloudwatch_log_content: "APPLIANCE_CLOUDWATCH_LOG_CONTENT" "CONTENTS",
            /// The name of this machine in the names of log streams [default: its host name]
            cloudwatch_log_machine: "APPLIANCE_CLOUDWATCH_LOG_MACHINE" "NAME",
        }
        "Advanced: traces" {
            /// The share, from 0 to 1, of the requests outside of a caller's trace that are recorded [default: 1]
            ///
            /// Within a caller's trace, the caller's decision holds. OTEL_TRACES_SAMPLER applies as well.
            otlp_sampling_ratio: "APPLIANCE_OTLP_SAMPLING_RATIO" "SHARE",
            /// The service name of the appliance in traces; also OTEL_SERVICE_NAME [default: mlflow-appliance]
            otlp_service_name: "APPLIANCE_OTLP_SERVICE_NAME" "TEXT",
            /// More attributes of the appliance in traces, as in `deployment.environment.name=prod`; also OTEL_RESOURCE_ATTRIBUTES
            otlp_resource_attributes: "APPLIANCE_OTLP_RESOURCE_ATTRIBUTES" "PAIRS",
        }
    }
}
