//! Writes to stdout and stderr, according to the flags and the terminal.

use std::{
    io::{self, BufRead, StdoutLock, Write},
    sync::OnceLock,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Terminal, json, secrets::Secrets};
use crate::flags::{ColorChoice, Global, ReportFormat};
use diagnostics::{Error, Kind};

/// All output passes through a console.
pub(crate) struct Console {
    pub(crate) terminal: Terminal,
    stdout_color: bool,
    stderr_color: bool,
    /// Whether stderr is a terminal that may be redrawn.
    pub(crate) live: bool,
    quiet: bool,
    secrets: Secrets,
    /// The first error of a write to stdout: nothing is written to it afterwards.
    stdout_error: OnceLock<io::Error>,
}

/// A colour by its meaning.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Paint {
    Good,
    Bad,
    Doubtful,
    Faint,
    Strong,
    /// Distinguishes items of one kind.
    Nth(usize),
}

/// The codes of [`Paint::Nth`], without red, the code of [`Paint::Bad`].
const DISTINCT: [&str; 10] = ["36", "33", "32", "35", "34", "96", "93", "92", "95", "94"];

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "31",
            Self::Doubtful => "33",
            Self::Faint => "2",
            Self::Strong => "1",
            Self::Nth(n) => DISTINCT[n % DISTINCT.len()],
        }
    }

    /// `text` in this colour if `on`, else unchanged.
    pub(crate) fn on(self, on: bool, text: &str) -> String {
        if on {
            format!("\x1b[{}m{text}\x1b[0m", self.code())
        } else {
            text.to_owned()
        }
    }
}

impl Console {
    /// `no_color`: the variable NO_COLOR is set and not empty (no-color.org).
    pub(crate) fn new(global: &Global, no_color: bool, terminal: Terminal) -> Self {
        let color = |terminal: bool| match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !no_color,
        };
        Self {
            terminal,
            stdout_color: color(terminal.stdout),
            stderr_color: color(terminal.stderr),
            // Lines of `-v` would break redrawn lines.
            live: terminal.stderr && !global.no_progress && !global.quiet && global.verbose == 0,
            quiet: global.quiet,
            secrets: Secrets::default(),
            stdout_error: OnceLock::new(),
        }
    }

    /// Masks these values from now on ([`Secrets::add`]).
    pub(crate) fn mask(&self, values: &[String]) {
        self.secrets.add(values);
    }

    /// `text` with every known secret masked.
    pub(crate) fn masked(&self, text: &str) -> String {
        self.secrets.masked(text)
    }

    /// As [`Self::masked`], for bytes that may not be UTF-8.
    pub(crate) fn masked_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.secrets.masked_bytes(bytes)
    }

    /// Writes an indented JSON document to stdout. Its texts are masked, its ids and names are not.
    pub(crate) fn document(&self, document: &Value) {
        self.composed(&json::document(&self.secrets.masked_value(document)));
    }

    /// As [`Self::document`], on one line.
    pub(crate) fn line(&self, document: &Value) {
        self.composed(&self.secrets.masked_value(document).to_string());
    }

    /// Writes a text result, in which the caller has masked what may contain secrets, to stdout.
    pub(crate) fn composed(&self, text: &str) {
        self.to_stdout(|stdout| writeln!(stdout, "{text}"));
    }

    /// Writes lines, each with its line end, in which the caller has masked what may contain secrets. Waits
    /// while a pipe is full. A pipe that its reader closed is an error.
    pub(crate) fn results(&self, lines: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(lines.as_bytes())?;
        stdout.flush()
    }

    /// Writes to stdout unless an earlier write failed. [`Self::stdout_lost`] reports the error.
    fn to_stdout(&self, write: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<()>) {
        if self.is_stdout_gone() {
            return;
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = write(&mut stdout).and_then(|()| stdout.flush()) {
            // Benign race: if another thread has just set its error, that one is kept.
            drop(self.stdout_error.set(error));
        }
    }

    /// Whether a write to stdout failed, which includes a pipe that its reader closed.
    pub(crate) fn is_stdout_gone(&self) -> bool {
        self.stdout_error.get().is_some()
    }

    /// Whether a part of the result could not be written; reports the error on stderr. A pipe that its reader
    /// closed (`caravan topics | head`) is not an error.
    pub(crate) fn stdout_lost(&self) -> bool {
        let lost = self
            .stdout_error
            .get()
            .filter(|error| !is_reader_gone(error));
        if let Some(error) = lost {
            let error = Error::new(Kind::Unreachable, CANNOT_WRITE).because(error.to_string());
            self.failure(&error, ReportFormat::Plain);
        }
        lost.is_some()
    }

    /// Writes additional information to stderr, unless `--quiet` is given.
    pub(crate) fn note(&self, text: &str) {
        self.composed_note(&self.masked(text));
    }

    /// As [`Self::note`], for text in which the caller has masked what may contain secrets.
    pub(crate) fn composed_note(&self, text: &str) {
        if !self.quiet {
            self.composed_alarm(text);
        }
    }

    /// As [`Self::note`], marked as a warning.
    pub(crate) fn warn(&self, text: &str) {
        let text = self.masked(text);
        self.composed_note(&format!("{} {text}", self.err(Paint::Doubtful, "warning:")));
    }

    /// Writes to stderr, even with `--quiet`.
    pub(crate) fn alarm(&self, text: &str) {
        self.composed_alarm(&self.masked(text));
    }

    /// As [`Self::alarm`], for text in which the caller has masked what may contain secrets.
    pub(super) fn composed_alarm(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        // A failure to write to stderr cannot be reported anywhere.
        drop(writeln!(stderr, "{text}").and_then(|()| stderr.flush()));
    }

    /// `text` painted for stdout.
    pub(crate) fn out(&self, paint: Paint, text: &str) -> String {
        paint.on(self.stdout_color, text)
    }

    /// `text` painted for stderr.
    pub(crate) fn err(&self, paint: Paint, text: &str) -> String {
        paint.on(self.stderr_color, text)
    }

    /// Columns of stdout, if it is a terminal.
    pub(crate) fn width(&self) -> Option<u16> {
        self.terminal.columns()
    }

    /// Clears the terminal before a redraw. Does nothing if stdout is not a terminal.
    pub(crate) fn clear(&self) {
        if self.terminal.stdout {
            self.to_stdout(|stdout| writeln!(stdout, "\x1b[H\x1b[2J\x1b[3J"));
        }
    }

    /// Prompts on the terminal and waits for the answer; None: there is no terminal to answer on. Only `y`, `Y`
    /// and `yes` mean yes.
    ///
    /// A thread reads the answer, because a blocked read cannot be cancelled. If this future is dropped, the
    /// thread stays blocked and the process ends without it.
    pub(crate) async fn confirm(&self, question: &str) -> Option<bool> {
        if !self.terminal.answers() {
            return None;
        }
        let prompted = {
            let mut stderr = io::stderr().lock();
            write!(stderr, "{} [y/N] ", self.masked(question)).and_then(|()| stderr.flush())
        };
        if prompted.is_err() {
            return Some(false);
        }
        let (sender, answer) = oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = io::stdin().lock().read_line(&mut line);
            drop(sender.send(read.map(|_| line)));
        });
        let line = match answer.await {
            Ok(Ok(line)) => line,
            Ok(Err(_)) | Err(_) => String::new(),
        };
        if !line.ends_with('\n') {
            self.end_question();
        }
        Some(matches!(line.trim(), "y" | "Y" | "yes"))
    }

    /// Starts a new line after a prompt that was not answered.
    pub(crate) fn end_question(&self) {
        self.composed_alarm("");
    }
}

impl Console {
    /// A spinner on stderr for a wait; hidden if progress is not live.
    pub(crate) fn spinner(&self, prefix: &str) -> ProgressBar {
        if !self.live {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(None, self.terminal.draw_target());
        style_spinner(&bar, prefix);
        bar
    }
}

/// Sets the style that all spinners have.
pub(super) fn style_spinner(bar: &ProgressBar, prefix: &str) {
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_prefix(prefix.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
}

impl Console {
    /// Writes what the command in the network container wrote to its stdout, already masked. False: a write to
    /// stdout failed.
    pub(crate) fn relay_out(&self, bytes: &[u8]) -> bool {
        self.to_stdout(|stdout| stdout.write_all(bytes));
        !self.is_stdout_gone()
    }

    /// Writes what that command wrote to its stderr.
    pub(crate) fn relay_err(&self, bytes: &[u8]) -> bool {
        let mut stderr = io::stderr().lock();
        // A failure to write to stderr cannot be reported anywhere.
        drop(stderr.write_all(bytes).and_then(|()| stderr.flush()));
        true
    }
}

const CANNOT_WRITE: &str = "cannot write to stdout";

fn is_reader_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// As [`Console::stdout_lost`], before there is a console: reports an error of `written`, and returns whether
/// there is none.
pub(crate) fn check_stdout(written: io::Result<()>) -> bool {
    match written.and_then(|()| io::stdout().lock().flush()) {
        Err(error) if !is_reader_gone(&error) => {
            let mut stderr = io::stderr().lock();
            // A failure to write to stderr cannot be reported anywhere.
            drop(writeln!(stderr, "error: {CANNOT_WRITE}\n  {error}"));
            false
        }
        Ok(()) | Err(_) => true,
    }
}

#[cfg(test)]
impl Console {
    /// The console of a process whose streams are pipes, for snapshots.
    pub(super) fn plain() -> Self {
        Self {
            terminal: Terminal::default(),
            stdout_color: false,
            stderr_color: false,
            live: false,
            quiet: false,
            secrets: Secrets::default(),
            stdout_error: OnceLock::new(),
        }
    }
}
