//! The metrics of the process: bodies, requests in flight, the listener's certificate, spans, the export of logs, and the
//! kernel's figures.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::http::tls::server::ServerTls;
use crate::serve::admin::prometheus::exposition::{Exposition, seconds};
use crate::serve::state::SharedState;
use crate::serve::telemetry::log_export::LogQueue;
use crate::serve::telemetry::metrics::{Metrics, ProcessUsage};

pub(super) fn render(shared: &SharedState, exposition: &mut Exposition) {
    bodies(&shared.metrics, exposition);
    exposition
        .gauge("appliance_build_info", "1, labelled with the version")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    exposition
        .gauge("appliance_requests_in_flight", "Requests whose response is not complete")
        .sample(&[], shared.reports.in_flight());
    exposition
        .gauge("appliance_draining", "1 while the appliance finishes its requests in flight before it exits")
        .sample(&[], u8::from(shared.draining.load(Ordering::Relaxed)));
    if let Some((_, end)) = shared.tls.as_ref().and_then(ServerTls::validity) {
        exposition
            .gauge("appliance_certificate_expiry_timestamp_seconds", "Time at which the listener's certificate expires")
            .sample(&[], seconds(end));
    }
    if let Some(spans) = &shared.reports.spans {
        let (name, help) = ("appliance_spans_exported_total", "Spans that the collector accepted");
        exposition.counter(name, help).sample(&[], spans.counts.exported());
        let mut family = exposition.counter("appliance_spans_dropped_total", "Spans dropped, by reason");
        for (reason, count) in spans.counts.dropped() {
            family.sample(&[("reason", reason)], count);
        }
    }
    log_export(&shared.reports.log_queues, exposition);
    exposition
        .gauge("process_start_time_seconds", "Time at which the process began to serve")
        .sample(&[], seconds(shared.metrics.started));
    usage(exposition);
}

fn log_export(queues: &[Arc<LogQueue>], exposition: &mut Exposition) {
    if queues.is_empty() {
        return;
    }
    let (name, help) = ("appliance_log_events_exported_total", "Log events that CloudWatch Logs took, by content");
    let mut family = exposition.counter(name, help);
    for queue in queues {
        family.sample(&[("content", queue.content().as_str())], queue.exported());
    }
    let (name, help) = ("appliance_log_events_dropped_total", "Log events lost, by content and reason");
    let mut family = exposition.counter(name, help);
    for queue in queues {
        for (reason, count) in queue.lost() {
            family.sample(&[("content", queue.content().as_str()), ("reason", reason)], count);
        }
    }
    let (name, help) = ("appliance_log_queue_bytes", "Memory of log events that wait for CloudWatch Logs, by content");
    let mut family = exposition.gauge(name, help);
    for queue in queues {
        family.sample(&[("content", queue.content().as_str())], queue.held());
    }
}

fn bodies(metrics: &Metrics, exposition: &mut Exposition) {
    let budgets = [("memory", &metrics.body_limits.memory), ("disk", &metrics.body_limits.disk)];
    let mut family =
        exposition.gauge("appliance_body_bytes", "Bytes of request bodies that are buffered now, by place");
    for (place, budget) in budgets {
        family.sample(&[("place", place)], budget.used());
    }
    let mut family =
        exposition.gauge("appliance_body_budget_bytes", "Maximum bytes of request bodies that may be buffered");
    for (place, budget) in budgets {
        family.sample(&[("place", place)], budget.limit());
    }
}

fn usage(exposition: &mut Exposition) {
    let usage = ProcessUsage::read();
    if let Some(value) = usage.cpu_seconds {
        exposition.counter("process_cpu_seconds_total", "User and system CPU time").sample(&[], value);
    }
    if let Some(value) = usage.resident_bytes {
        exposition.gauge("process_resident_memory_bytes", "Resident memory size").sample(&[], value);
    }
    if let Some(value) = usage.open_files {
        exposition.gauge("process_open_fds", "Number of open file descriptors").sample(&[], value);
    }
    if let Some(value) = usage.open_files_limit {
        exposition.gauge("process_max_fds", "Maximum number of open file descriptors").sample(&[], value);
    }
}
