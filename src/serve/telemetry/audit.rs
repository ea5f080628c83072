//! The audit log: one line of JSON for every request, in a file of its own, in CloudWatch Logs, or in both. The log filter
//! does not apply to it.
//!
//! A thread writes the events to the file, so that no request waits for the disk. If the thread cannot keep up, requests wait,
//! because none may go unrecorded. None waits for CloudWatch Logs.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use tracing::error;

use crate::clock;
use crate::serve::telemetry::finished::{FinishedRequest, milliseconds};
use crate::serve::telemetry::log_export::LogQueue;

/// The maximum number of events that wait for the disk.
const QUEUE_LIMIT: usize = 16_384;
/// The maximum time that an event stays in memory, even under steady traffic.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);

/// The maximum time that the end of the process waits for a slow disk.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The destination of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSink {
    /// Standard output, for a journal.
    Stdout,
    /// A file, to which events are appended. SIGHUP reopens it, so that it can be rotated.
    File(PathBuf),
}

impl fmt::Display for AuditSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => formatter.write_str("stdout"),
            Self::File(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// The event of one request.
struct AuditEvent<'a>(&'a FinishedRequest<'a>);

impl Serialize for AuditEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(request) = self;
        let caller = request.caller;
        let allowed = request.action.map(|_| "allowed");
        let mut event = serializer.serialize_map(None)?;
        event.serialize_entry("time", &humantime::format_rfc3339_micros(clock::now()).to_string())?;
        event.serialize_entry("request_id", request.request_id)?;
        event.serialize_entry("client", &request.client)?;
        event.serialize_entry("caller", &caller.map(|caller| &caller.name))?;
        event.serialize_entry("role", &caller.map(|caller| caller.role.as_str()))?;
        event.serialize_entry("means", &caller.map(|caller| caller.auth_method.as_str()))?;
        event.serialize_entry("issuer", &request.issuer)?;
        event.serialize_entry("target", &request.target_name)?;
        event.serialize_entry("method", request.method.as_str())?;
        event.serialize_entry("path", request.path)?;
        event.serialize_entry("action", &request.action)?;
        if let Some(token) = request.token {
            event.serialize_entry("token", token)?;
        }
        // Only authentication and authorization deny a request.
        event.serialize_entry("decision", &if request.is_denied { Some("denied") } else { allowed })?;
        event.serialize_entry("error_code", &request.error_code)?;
        event.serialize_entry("reason", &request.cause.filter(|_| request.is_denied))?;
        event.serialize_entry("status", &request.status.map(|status| status.as_u16()))?;
        event.serialize_entry("received", &request.received)?;
        event.serialize_entry("sent", &request.sent)?;
        event.serialize_entry("total_ms", &milliseconds(request.total))?;
        event.serialize_entry("outcome", request.outcome.as_str())?;
        event.end()
    }
}

enum AuditMessage {
    Line(Vec<u8>),
    Reopen,
    Flush(SyncSender<()>),
}

/// The audit log, to which requests write.
pub(crate) struct AuditLog {
    writer: Option<SyncSender<AuditMessage>>,
    /// The queue to CloudWatch Logs.
    export: Option<Arc<LogQueue>>,
}

impl AuditLog {
    /// Opens the log and starts its thread. Without a sink and a queue, no events are written.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn start(sink: Option<AuditSink>, export: Option<Arc<LogQueue>>) -> io::Result<Self> {
        let Some(sink) = sink else { return Ok(Self { writer: None, export }) };
        let output = AuditOutput::open(&sink)?;
        let (sender, receiver) = sync_channel(QUEUE_LIMIT);
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || write(output, &sink, &receiver))?;
        Ok(Self { writer: Some(sender), export })
    }

    /// Writes the event of a request, if the audit log is configured.
    pub(crate) fn record(&self, request: &FinishedRequest<'_>) {
        if self.writer.is_none() && self.export.is_none() {
            return;
        }
        let Ok(mut line) = serde_json::to_vec(&AuditEvent(request)) else { return };
        if let Some(export) = &self.export {
            export.record(&line);
        }
        if let Some(writer) = &self.writer {
            line.push(b'\n');
            // This fails only if the thread has panicked, which is logged.
            let _ = writer.send(AuditMessage::Line(line));
        }
    }

    /// Reopens the file.
    pub(crate) fn reopen(&self) {
        if let Some(writer) = &self.writer {
            let _ = writer.send(AuditMessage::Reopen);
        }
    }

    /// Blocks until all events are written. Only for the end of the process.
    pub(crate) fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if let Some(writer) = &self.writer
            && writer.send(AuditMessage::Flush(done)).is_ok()
        {
            let _ = is_done.recv_timeout(LAST_WAIT);
        }
    }
}

enum AuditOutput {
    Stdout(io::Stdout),
    File(BufWriter<File>),
}

impl AuditOutput {
    fn open(sink: &AuditSink) -> io::Result<Self> {
        match sink {
            AuditSink::Stdout => Ok(Self::Stdout(io::stdout())),
            AuditSink::File(path) => open(path).map(|file| Self::File(BufWriter::with_capacity(64 * 1024, file))),
        }
    }

    /// Reopens the file. Events that could not be written to the old file go to the new one.
    fn reopen(&mut self, sink: &AuditSink) -> io::Result<()> {
        let flushed = self.as_write().flush();
        let old = mem::replace(self, Self::open(sink)?);
        if let (Err(_), Self::File(old)) = (flushed, old)
            && let (_, Ok(kept)) = old.into_parts()
        {
            self.as_write().write_all(&kept)?;
        }
        self.as_write().flush()
    }

    fn as_write(&mut self) -> &mut dyn Write {
        match self {
            Self::Stdout(stdout) => stdout,
            Self::File(file) => file,
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // SECURITY: only the operator may read the callers' actions.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn write(mut output: AuditOutput, sink: &AuditSink, receiver: &Receiver<AuditMessage>) {
    let mut lost: u64 = 0;
    // The time by which the oldest event in memory has to reach the file. Later messages do not postpone it.
    let mut due: Option<Instant> = None;
    let mut is_failing = false;
    loop {
        let wait = due.map_or(FLUSH_INTERVAL, |due| due.saturating_duration_since(Instant::now()));
        let message = if wait.is_zero() { Err(RecvTimeoutError::Timeout) } else { receiver.recv_timeout(wait) };
        let result = match message {
            Ok(AuditMessage::Line(line)) => {
                due.get_or_insert_with(|| Instant::now() + FLUSH_INTERVAL);
                let written = output.as_write().write_all(&line);
                lost += u64::from(written.is_err());
                written
            }
            Ok(AuditMessage::Reopen) => output.reopen(sink).inspect(|()| due = None),
            Ok(AuditMessage::Flush(done)) => {
                let flushed = output.as_write().flush();
                let _ = done.send(());
                flushed
            }
            Err(RecvTimeoutError::Timeout) if due.is_some() => {
                let flushed = output.as_write().flush();
                due = flushed.is_err().then(|| Instant::now() + FLUSH_INTERVAL);
                flushed
            }
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => {
                let _ = output.as_write().flush();
                return;
            }
        };
        // Only the begin and the end of an outage are logged, because a full disk would otherwise fill the other log.
        match result {
            Err(failure) if !is_failing => {
                is_failing = true;
                error!(error = %failure, hint = "free space on the disk of `audit-log`", "cannot write audit events");
            }
            // An event that is only in memory does not prove that the disk works again.
            Ok(()) if is_failing && due.is_none() => {
                is_failing = false;
                error!(lost, "audit events are written again");
                lost = 0;
            }
            _ => {}
        }
    }
}
