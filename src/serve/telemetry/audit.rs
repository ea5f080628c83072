//! The audit log: one JSON object a line for every request, apart from the log that people read, and not subject to its
//! filter.
//!
//! A thread writes, so that no request waits for the disk; when it cannot keep up, requests wait rather than go
//! unrecorded.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde::Serialize;
use tracing::error;

/// Events that may wait for the disk.
const WAITING: usize = 16_384;
/// The longest time that an event may stay in memory, under traffic as well.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);

/// How long the end of the process waits for a slow disk.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSink {
    /// Standard output, for a journal.
    Stdout,
    /// A file, to whose end is written. SIGHUP opens it anew, so that it can be moved away before.
    File(PathBuf),
}

/// One request.
#[derive(Debug, Serialize)]
pub(crate) struct Event<'a> {
    pub time: String,
    pub request_id: &'a str,
    pub client: Option<String>,
    pub caller: Option<&'a str>,
    pub role: Option<&'static str>,
    pub means: Option<&'static str>,
    pub target: Option<&'a str>,
    pub method: &'a str,
    pub path: &'a str,
    pub action: Option<&'static str>,
    /// Nothing where it did not come to one.
    pub decision: Option<&'static str>,
    pub refusal: Option<&'static str>,
    pub status: Option<u16>,
    pub received: u64,
    pub sent: u64,
    pub total_ms: f64,
    pub outcome: &'static str,
}

enum Message {
    Line(Vec<u8>),
    Reopen,
    Flush(SyncSender<()>),
}

/// The log, as those who write to it see it.
pub(crate) struct Audit(Option<SyncSender<Message>>);

impl Audit {
    /// Opens the log and starts its thread; without a sink nothing is written.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn start(sink: Option<AuditSink>) -> io::Result<Self> {
        let Some(sink) = sink else { return Ok(Self(None)) };
        let output = Output::open(&sink)?;
        let (sender, receiver) = sync_channel(WAITING);
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || write(output, &sink, &receiver))?;
        Ok(Self(Some(sender)))
    }

    /// True if there is anybody to write for.
    #[must_use]
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes an event.
    pub(crate) fn record(&self, event: &Event<'_>) {
        if let (Some(sender), Ok(mut line)) = (&self.0, serde_json::to_vec(event)) {
            line.push(b'\n');
            // It fails only when the thread is gone, which says so itself.
            let _ = sender.send(Message::Line(line));
        }
    }

    /// Opens the file anew.
    pub(crate) fn reopen(&self) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(Message::Reopen);
        }
    }

    /// Waits until everything that was recorded is written. Blocks: for the end of the process.
    pub(crate) fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if let Some(sender) = &self.0
            && sender.send(Message::Flush(done)).is_ok()
        {
            let _ = is_done.recv_timeout(LAST_WAIT);
        }
    }
}

enum Output {
    Stdout(io::Stdout),
    File(BufWriter<File>),
}

impl Output {
    fn open(sink: &AuditSink) -> io::Result<Self> {
        match sink {
            AuditSink::Stdout => Ok(Self::Stdout(io::stdout())),
            AuditSink::File(path) => open(path).map(|file| Self::File(BufWriter::with_capacity(64 * 1024, file))),
        }
    }

    /// Opens the file anew. Events that the old file did not take go to the new one.
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
    // Who did what is for the operator alone.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn write(mut output: Output, sink: &AuditSink, receiver: &Receiver<Message>) {
    let mut lost: u64 = 0;
    // When the oldest event in memory has to reach the file. Messages do not postpone it, however fast they come.
    let mut due: Option<Instant> = None;
    let mut is_failing = false;
    loop {
        let wait = due.map_or(FLUSH_INTERVAL, |due| due.saturating_duration_since(Instant::now()));
        let message = if wait.is_zero() { Err(RecvTimeoutError::Timeout) } else { receiver.recv_timeout(wait) };
        let result = match message {
            Ok(Message::Line(line)) => {
                due.get_or_insert_with(|| Instant::now() + FLUSH_INTERVAL);
                let written = output.as_write().write_all(&line);
                lost += u64::from(written.is_err());
                written
            }
            Ok(Message::Reopen) => output.reopen(sink).inspect(|()| due = None),
            Ok(Message::Flush(done)) => {
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
        // Said when it begins and when it ends: a full disk would otherwise fill the other log.
        match result {
            Err(failure) if !is_failing => {
                is_failing = true;
                error!(error = %failure, hint = "make room on the disk of `audit-log`", "audit events cannot be written");
            }
            // A line that is only in memory proves nothing.
            Ok(()) if is_failing && due.is_none() => {
                is_failing = false;
                error!(lost, "audit events are written again");
                lost = 0;
            }
            _ => {}
        }
    }
}
