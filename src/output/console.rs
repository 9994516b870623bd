//! stdout and stderr, as the flags and the terminal want them.

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

/// Where everything that is shown goes through.
pub(crate) struct Console {
    pub(crate) terminal: Terminal,
    stdout_color: bool,
    stderr_color: bool,
    /// Whether stderr is a terminal that may be redrawn.
    pub(crate) live: bool,
    quiet: bool,
    secrets: Secrets,
    /// Why stdout takes nothing more.
    gone: OnceLock<io::Error>,
}

/// A colour with a meaning, not a hue.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Paint {
    Good,
    Bad,
    Doubtful,
    Faint,
    Strong,
    /// One of several that are alike, to be told apart.
    Nth(usize),
}

/// Those of [`Paint::Nth`]; red is for what is bad.
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

    /// `text` in this colour if `on`, else as it is.
    pub(crate) fn on(self, on: bool, text: &str) -> String {
        if on {
            format!("\x1b[{}m{text}\x1b[0m", self.code())
        } else {
            text.to_owned()
        }
    }
}

impl Console {
    /// `no_color`: the NO_COLOR variable is set to something (no-color.org).
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
            // Lines of `-v` and what is drawn anew would tear each other apart.
            live: terminal.stderr && !global.no_progress && !global.quiet && global.verbose == 0,
            quiet: global.quiet,
            secrets: Secrets::default(),
            gone: OnceLock::new(),
        }
    }

    /// Values that are shown as `****` from here on ([`Secrets::add`]).
    pub(crate) fn mask(&self, values: &[String]) {
        self.secrets.add(values);
    }

    /// `text` without any known secret.
    pub(crate) fn masked(&self, text: &str) -> String {
        self.secrets.masked(text)
    }

    /// As [`Self::masked`], for what may be no text.
    pub(crate) fn masked_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.secrets.masked_bytes(bytes)
    }

    /// A JSON document, indented. Its ids and names are not masked, its texts are.
    pub(crate) fn document(&self, document: &Value) {
        self.composed(&json::document(&self.secrets.masked_value(document)));
    }

    /// As [`Self::document`], in one line.
    pub(crate) fn line(&self, document: &Value) {
        self.composed(&self.secrets.masked_value(document).to_string());
    }

    /// Text of the result whose writer has masked what is not Caravan's own.
    pub(crate) fn composed(&self, text: &str) {
        self.to_stdout(|stdout| writeln!(stdout, "{text}"));
    }

    /// Lines of the result, each with its end; their writer has masked what is not Caravan's own. A
    /// pipe takes as many at once as it has room for, and this waits for it; nobody at its other end
    /// is an error.
    pub(crate) fn results(&self, lines: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(lines.as_bytes())?;
        stdout.flush()
    }

    /// Writes to stdout, until that fails for the first time: [`Self::stdout_lost`] reports it.
    fn to_stdout(&self, write: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<()>) {
        if self.is_stdout_gone() {
            return;
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = write(&mut stdout).and_then(|()| stdout.flush()) {
            // Another thread's failure, a moment earlier, is as good a reason.
            drop(self.gone.set(error));
        }
    }

    /// Whether stdout takes nothing more: its reader left, or writing failed.
    pub(crate) fn is_stdout_gone(&self) -> bool {
        self.gone.get().is_some()
    }

    /// Whether a part of the result could not be written, which is then said on stderr. A reader that
    /// left (`caravan topics | head`) has what it wanted.
    pub(crate) fn stdout_lost(&self) -> bool {
        let lost = self.gone.get().filter(|error| !is_reader_gone(error));
        if let Some(error) = lost {
            let error = Error::new(Kind::Unreachable, CANNOT_WRITE).because(error.to_string());
            self.failure(&error, ReportFormat::Plain);
        }
        lost.is_some()
    }

    /// What a person may want to know besides the result.
    pub(crate) fn note(&self, text: &str) {
        self.composed_note(&self.masked(text));
    }

    /// As [`Self::note`], of which the writer has masked what is not Caravan's own.
    pub(crate) fn composed_note(&self, text: &str) {
        if !self.quiet {
            self.composed_alarm(text);
        }
    }

    /// As [`Self::note`], marked.
    pub(crate) fn warn(&self, text: &str) {
        let text = self.masked(text);
        self.composed_note(&format!("{} {text}", self.err(Paint::Doubtful, "warning:")));
    }

    /// What is said even with `--quiet`.
    pub(crate) fn alarm(&self, text: &str) {
        self.composed_alarm(&self.masked(text));
    }

    /// As [`Self::alarm`], of which the writer has masked what is not Caravan's own.
    pub(super) fn composed_alarm(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        // There is no other place where a broken stderr could be reported.
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

    /// An empty terminal, for what is drawn again and again; nothing elsewhere.
    pub(crate) fn clear(&self) {
        if self.terminal.stdout {
            self.to_stdout(|stdout| writeln!(stdout, "\x1b[H\x1b[2J\x1b[3J"));
        }
    }

    /// Asks on a terminal; None where nobody can answer. Only `y` and `yes` are a yes.
    ///
    /// A thread of its own reads the answer and is left behind when nobody waits for it any more: a
    /// blocked read cannot be cancelled, and the process ends without it.
    pub(crate) async fn confirm(&self, question: &str) -> Option<bool> {
        if !self.terminal.answers() {
            return None;
        }
        let asked = {
            let mut stderr = io::stderr().lock();
            write!(stderr, "{} [y/N] ", self.masked(question)).and_then(|()| stderr.flush())
        };
        if asked.is_err() {
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

    /// Begins a new line below a question that got no answer.
    pub(crate) fn end_question(&self) {
        self.composed_alarm("");
    }
}

impl Console {
    /// A line that lives on stderr while something is awaited; invisible without a terminal.
    pub(crate) fn spinner(&self, prefix: &str) -> ProgressBar {
        if !self.live {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(None, self.terminal.draw_target());
        style_spinner(&bar, prefix);
        bar
    }
}

/// The look of every spinner.
pub(super) fn style_spinner(bar: &ProgressBar, prefix: &str) {
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_prefix(prefix.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
}

impl Console {
    /// What a command that runs inside wrote to stdout, masked there. False: stdout takes no more.
    pub(crate) fn relay_out(&self, bytes: &[u8]) -> bool {
        self.to_stdout(|stdout| stdout.write_all(bytes));
        !self.is_stdout_gone()
    }

    /// What it wrote to stderr.
    pub(crate) fn relay_err(&self, bytes: &[u8]) -> bool {
        let mut stderr = io::stderr().lock();
        // There is no other place where a broken stderr could be reported.
        drop(stderr.write_all(bytes).and_then(|()| stderr.flush()));
        true
    }
}

const CANNOT_WRITE: &str = "cannot write to stdout";

fn is_reader_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// As [`Console::stdout_lost`], for `written` where there is no console yet: whether all is written.
pub(crate) fn check_stdout(written: io::Result<()>) -> bool {
    match written.and_then(|()| io::stdout().lock().flush()) {
        Err(error) if !is_reader_gone(&error) => {
            let mut stderr = io::stderr().lock();
            // There is no other place where a broken stderr could be reported.
            drop(writeln!(stderr, "error: {CANNOT_WRITE}\n  {error}"));
            false
        }
        Ok(()) | Err(_) => true,
    }
}

#[cfg(test)]
impl Console {
    /// As in a pipe, for snapshots.
    pub(super) fn plain() -> Self {
        Self {
            terminal: Terminal::default(),
            stdout_color: false,
            stderr_color: false,
            live: false,
            quiet: false,
            secrets: Secrets::default(),
            gone: OnceLock::new(),
        }
    }
}
