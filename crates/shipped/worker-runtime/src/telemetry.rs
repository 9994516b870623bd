//! Log lines on stdout, through a bounded writer that drops lines instead of blocking: Docker's
//! logging may stall, a worker must not. Dropped lines are counted and reported.
//!
//! Human lines are `[PurchaseWorker] message key=value`, JSON lines (`LOG_FORMAT=json`) one
//! object each. A panic in any task is logged and ends the process, so that Docker restarts it:
//! otherwise the end of a single task would go unnoticed.

mod line;

use std::{
    io::{self, BufWriter, Write, stdout},
    panic,
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt};

use crate::{
    RunError,
    settings::{self, SettingsError},
};
use line::{Format, Lines};

/// Lines that are buffered for a stalled stdout before further ones are dropped; a few MB.
const BUFFERED_LINES: usize = 16_384;
const DROPS_REPORTED_EVERY: Duration = Duration::from_secs(10);
/// Bytes per write to stdout: the capacity of a pipe.
const WRITTEN_AT_ONCE: usize = 64 * 1024;
/// Lines that arrive within this time after a write are written together.
const GATHERED_FOR: Duration = Duration::from_millis(2);
const FLUSH_WITHIN: Duration = Duration::from_millis(1500);
/// What Rust exits with after a panic in `main`.
const PANIC_EXIT_CODE: i32 = 101;

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();
/// A static instead of a field of [`Guard`], so that the panic hook can flush too.
static WRITER: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// Flushes the buffered lines when it is dropped: keep it for as long as the process logs.
#[must_use = "dropping it ends the log"]
#[derive(Debug)]
pub struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        flush();
    }
}

/// Sets up the log of the whole process, `display_name` in front of each line. Once per process.
///
/// # Errors
/// `LOG_FORMAT` is neither `human` nor `json`, or it was set up before.
pub fn init(display_name: &'static str) -> Result<Guard, RunError> {
    let format = format()?;
    let (writer, worker) = writer(Gathered::new(stdout()));
    let subscriber =
        tracing_subscriber::registry().with(layer(display_name, format, writer.clone()));
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| RunError::Start("the log was set up twice".to_owned()))?;
    let counter = DROPPED.get_or_init(|| writer.error_counter());
    *WRITER.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
    report_drops(counter.clone())?;
    end_on_panic();
    Ok(Guard(()))
}

/// Prints the startup line, exactly `[PurchaseWorker] Started`, which `verify` and operators
/// search for. Call it once per process, when the process can do its work.
pub fn started() {
    tracing::info!(target: line::STARTUP_TARGET, "Started");
}

/// How many log lines were dropped because stdout stalled.
#[must_use]
pub fn dropped_lines() -> usize {
    DROPPED.get().map_or(0, ErrorCounter::dropped_lines)
}

fn format() -> Result<Format, SettingsError> {
    match settings::optional("LOG_FORMAT").as_deref() {
        None | Some("human") => Ok(Format::Human),
        Some("json") => Ok(Format::Json),
        Some(other) => Err(SettingsError::Invalid {
            name: "LOG_FORMAT".to_owned(),
            expected: "human or json",
            reason: format!("{other:?}"),
        }),
    }
}

/// Writes a single line at once. Lines in quick succession are written together, some hundred at a
/// time, which saves a system call and a wake-up of the writing thread per line.
///
/// `tracing_appender` flushes whenever no further line waits.
struct Gathered<W: Write>(BufWriter<W>);

impl<W: Write> Gathered<W> {
    fn new(out: W) -> Self {
        Self(BufWriter::with_capacity(WRITTEN_AT_ONCE, out))
    }
}

impl<W: Write> Write for Gathered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        thread::sleep(GATHERED_FOR);
        Ok(())
    }
}

fn writer(out: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(BUFFERED_LINES)
        .thread_name("log")
        .finish(out)
}

fn layer<S>(name: &'static str, format: Format, writer: NonBlocking) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .event_format(Lines { name, format })
        .with_ansi(false)
        .with_writer(writer)
        .with_filter(
            Targets::new()
                .with_default(LevelFilter::INFO)
                // sqlx logs lost idle connections at info; a failed acquisition reports them anyway.
                .with_target("sqlx", LevelFilter::WARN),
        )
}

fn report_drops(counter: ErrorCounter) -> Result<(), RunError> {
    let watch = move || {
        let mut reported = 0;
        loop {
            thread::sleep(DROPS_REPORTED_EVERY);
            let dropped = counter.dropped_lines();
            if dropped > reported {
                tracing::warn!(
                    lines = dropped - reported,
                    "log lines dropped, stdout stalled"
                );
                reported = dropped;
            }
        }
    };
    thread::Builder::new()
        .name("log-drops".to_owned())
        .spawn(watch)
        .map(drop)
        .map_err(|e| RunError::Start(format!("cannot start a thread: {e}")))
}

#[expect(clippy::exit, reason = "a process with a dead task must not live on")]
fn end_on_panic() {
    panic::set_hook(Box::new(|info| {
        // `panicked at FILE:LINE:COLUMN:` and the message, as Rust itself would print it.
        tracing::error!("{info}");
        flush();
        std::process::exit(PANIC_EXIT_CODE);
    }));
}

/// Flushes in a separate thread with a timeout: if stdout is stalled, dropping the writer blocks (it
/// prints its failure to stdout), and the process still has to end.
pub(crate) fn flush() {
    // A second panic during the flush must not wait for the first one's lock.
    let Some(worker) = WRITER.try_lock().ok().and_then(|mut writer| writer.take()) else {
        return;
    };
    let (done, flushed) = mpsc::channel();
    let thread = thread::Builder::new().spawn(move || {
        drop(worker);
        // The receiver is gone if this took longer than FLUSH_WITHIN.
        done.send(()).ok();
    });
    if thread.is_ok() {
        flushed.recv_timeout(FLUSH_WITHIN).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What was written, one element a write.
    #[derive(Clone, Default)]
    struct Writes(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_lone_line_is_written_and_a_flood_in_few_writes_without_loss() {
        let out = Writes::default();
        let (mut log, worker) = writer(Gathered::new(out.clone()));
        let line = |n: usize| format!("[PurchaseWorker] message received offset={n}\n");
        let expected: String = (0..10_000).map(line).collect();
        for n in 0..10_000 {
            log.write_all(line(n).as_bytes()).expect("never blocks");
        }
        // Ends the writing thread, everything flushed.
        drop(worker);
        let writes = out.0.lock().expect("no panic").clone();
        assert_eq!(String::from_utf8_lossy(&writes.concat()), expected);
        assert!(
            writes.iter().all(|write| write.ends_with(b"\n")),
            "a write ends within a line"
        );
        assert!(writes.len() < 1_000, "{} writes", writes.len());
    }
}
