//! Writes to stdout and stderr, according to the flags and the terminal.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, BufRead, StdoutLock, Write},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use declaration::units;
use indicatif::{ProgressBar, ProgressFinish, ProgressState, ProgressStyle};
use serde::Serialize;
use tokio::sync::oneshot;

use super::{Clock, Terminal, control, json::Ordered, listing, secrets::Secrets};
use crate::flags::{ColorChoice, Global, ReportFormat};
use diagnostics::{Error, Kind};

/// All output passes through a console.
pub(crate) struct Console {
    pub(crate) terminal: Terminal,
    stdout_color: bool,
    stderr_color: bool,
    /// Whether the locale has ASCII only.
    is_ascii: bool,
    /// Whether the terminal has no escape sequences.
    is_dumb: bool,
    /// Whether stderr is a terminal that may be redrawn.
    pub(crate) live: bool,
    quiet: bool,
    /// Whose time tables and texts have.
    pub(crate) clock: Clock,
    secrets: Secrets,
    /// The command, as documents name it.
    command: String,
    project: OnceLock<String>,
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
            format!(
                "{}{text}{}",
                control::colour(self.code()),
                control::colour("0")
            )
        } else {
            text.to_owned()
        }
    }
}

impl Console {
    /// Of the environment count NO_COLOR (no-color.org), TERM and the locale.
    pub(crate) fn new(
        global: &Global,
        environment: &BTreeMap<String, String>,
        terminal: Terminal,
        command: &str,
    ) -> Self {
        let is_dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        let no_color = environment.get("NO_COLOR").is_some_and(|v| !v.is_empty());
        let color = |terminal: bool| match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !no_color && !is_dumb,
        };
        Self {
            terminal,
            stdout_color: color(terminal.stdout),
            stderr_color: color(terminal.stderr),
            is_ascii: is_ascii(environment),
            is_dumb,
            // Lines of `-v` would break redrawn lines.
            live: terminal.stderr
                && !is_dumb
                && !global.no_progress
                && !global.quiet
                && global.verbose == 0,
            quiet: global.quiet,
            clock: match global.utc {
                true => Clock::Utc,
                false => Clock::Local,
            },
            secrets: Secrets::default(),
            command: command.to_owned(),
            project: OnceLock::new(),
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

    /// A document with its texts masked; its ids and names are not.
    pub(super) fn masked_document(&self, document: &impl Serialize) -> Ordered {
        self.secrets.masked_value(&Ordered::of(document))
    }

    /// The command, as documents name it.
    pub(super) fn command(&self) -> &str {
        &self.command
    }

    /// The project that the command is about, once it is known.
    pub(super) fn project(&self) -> Option<&str> {
        self.project.get().map(String::as_str)
    }

    /// From here on, documents name this project.
    pub(crate) fn set_project(&self, project: &str) {
        // A command is about one project: a second value is the same.
        drop(self.project.set(project.to_owned()));
    }

    /// Writes JSON, in which the caller has masked what may contain secrets, to stdout.
    pub(super) fn json(&self, text: &str) {
        let text = control::json(text);
        self.to_stdout(|stdout| writeln!(stdout, "{text}"));
    }

    /// Writes a text result, in which the caller has masked what may contain secrets, to stdout.
    pub(crate) fn composed(&self, text: &str) {
        let text = control::shown(text);
        self.to_stdout(|stdout| writeln!(stdout, "{text}"));
    }

    /// Writes lines, each with its line end, in which the caller has masked what may contain secrets. Waits
    /// while a pipe is full. A pipe that its reader closed is an error.
    pub(crate) fn results(&self, lines: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(control::shown(lines).as_bytes())?;
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

    /// Names the next command, if the result was shown on a terminal: below a pager it would be written into
    /// what it shows.
    pub(crate) fn next(&self, command: &str) {
        if self.terminal.stdout {
            self.note(&format!("{} {command}", self.err(Paint::Faint, "Next:")));
        }
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
        let text = control::shown(text);
        let mut stderr = io::stderr().lock();
        // A failure to write to stderr cannot be reported anywhere.
        drop(writeln!(stderr, "{text}").and_then(|()| stderr.flush()));
    }

    /// `text` painted for stdout.
    pub(crate) fn out(&self, paint: Paint, text: &str) -> String {
        paint.on(self.stdout_color, &self.marks(text))
    }

    /// `text` painted for stderr.
    pub(crate) fn err(&self, paint: Paint, text: &str) -> String {
        paint.on(self.stderr_color, &self.marks(text))
    }

    /// `text` with Caravan's own marks (`✓`, `…`, `▃`) replaced by ASCII characters if the locale has no
    /// others.
    pub(crate) fn marks(&self, text: &str) -> String {
        match self.is_ascii {
            true => text.chars().map(ascii).collect(),
            false => text.to_owned(),
        }
    }

    /// Whether `--quiet` is given.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Columns of stdout, if it is a terminal.
    pub(crate) fn width(&self) -> Option<u16> {
        self.terminal.columns()
    }

    /// Whether stdout is a terminal that can be redrawn.
    pub(crate) fn redraws(&self) -> bool {
        self.terminal.stdout && !self.is_dumb
    }

    /// Replaces what is on the terminal by `text`: its first line, and as many of the last ones as there is
    /// room for. `is_first`: the terminal shows something else before.
    pub(crate) fn redraw(&self, text: &str, is_first: bool) {
        let lines = self.last_lines(text);
        let begin = if is_first { "\x1b[2J" } else { "" };
        // Each line replaces the one that was there; then what was below is erased.
        let lines: String = lines
            .iter()
            .map(|line| format!("{}\x1b[K\n", control::shown(line)))
            .collect();
        self.to_stdout(|stdout| write!(stdout, "{begin}\x1b[H{lines}\x1b[J"));
    }

    /// The first line of `text`, and as many of the last ones as the terminal has rows for. A line that is wider
    /// than the terminal takes several rows.
    fn last_lines<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let columns = self.width().map_or(usize::MAX, usize::from).max(1);
        let rows = |line: &str| listing::width_of(line).div_ceil(columns).max(1);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        // The cursor is in a row below.
        let mut left = self.terminal.rows().saturating_sub(1 + rows(first));
        let mut shown = Vec::new();
        for line in lines.rev() {
            match left.checked_sub(rows(line)) {
                Some(rest) => left = rest,
                None => break,
            }
            shown.push(line);
        }
        shown.push(first);
        shown.reverse();
        shown
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
            let question = listing::prose(self, &format!("{} [y/N]", self.masked(question)));
            let mut stderr = io::stderr().lock();
            write!(stderr, "{} ", control::shown(&question)).and_then(|()| stderr.flush())
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
    pub(crate) fn spinner(&self, prefix: &str) -> Spinner {
        if !self.live {
            return Spinner::hidden();
        }
        let bar = ProgressBar::with_draw_target(None, self.terminal.draw_target());
        Spinner::of(bar, prefix)
    }
}

/// A redrawn line on stderr: for what it waits, and since when.
#[derive(Debug, Clone)]
pub(crate) struct Spinner {
    bar: ProgressBar,
    /// How long the wait may last.
    limit: Arc<Mutex<Option<Duration>>>,
}

impl Spinner {
    /// One that shows nothing.
    pub(crate) fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            limit: Arc::default(),
        }
    }

    pub(super) fn of(bar: ProgressBar, prefix: &str) -> Self {
        // Also when it is dropped because the command is interrupted.
        let bar = bar.with_finish(ProgressFinish::AndClear);
        let limit = Arc::new(Mutex::new(None::<Duration>));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {wide_msg} {since}") {
            let limits = Arc::clone(&limit);
            let since = move |state: &ProgressState, text: &mut dyn fmt::Write| {
                let since = Duration::from_secs(state.elapsed().as_secs());
                let limit = limits.lock().ok().and_then(|limit| *limit);
                let limit = limit.map(|limit| format!(" of {}", units::shown(limit)));
                let limit = limit.unwrap_or_default();
                let _never_fails = write!(text, "{}{limit}", units::shown(since));
            };
            bar.set_style(style.with_key("since", since));
        }
        bar.set_prefix(control::line(prefix));
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, limit }
    }

    /// How long this wait may last; its time counts from the first call with a limit.
    pub(crate) fn set_limit(&self, limit: Option<Duration>) {
        if let Ok(mut current) = self.limit.lock()
            && *current != limit
        {
            *current = limit;
            self.bar.reset_elapsed();
        }
    }

    /// `text`: masked.
    pub(crate) fn set_message(&self, text: impl AsRef<str>) {
        self.bar.set_message(control::line(text.as_ref()));
    }

    /// As [`Self::set_message`], for another wait: its time counts from now.
    pub(super) fn set_wait(&self, text: &str) {
        let text = control::line(text);
        if self.bar.message() != text {
            self.bar.reset_elapsed();
            self.bar.set_message(text);
        }
    }

    /// Writes other lines while the spinner is away.
    pub(crate) fn suspend(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    pub(crate) fn finish_and_clear(&self) {
        self.bar.finish_and_clear();
    }
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

/// Whether the locale is `C` or `POSIX`, by the first variable that is set, as in setlocale(3). Without any
/// of them nothing is known about the terminal, and almost all of them show UTF-8.
fn is_ascii(environment: &BTreeMap<String, String>) -> bool {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let mut values = names.iter().filter_map(|name| environment.get(*name));
    let locale = values.find(|value| !value.is_empty());
    locale.is_some_and(|locale| locale == "C" || locale == "POSIX")
}

/// A mark in ASCII.
fn ascii(mark: char) -> String {
    let mark = match mark {
        '✓' => "+",
        '✗' | '×' => "x",
        '·' | '▁' => ".",
        '…' => "...",
        '→' => "->",
        '▂' => ":",
        '▃' => "-",
        '▄' => "=",
        '▅' => "+",
        '▆' => "*",
        '▇' => "%",
        '█' => "#",
        mark => return mark.to_string(),
    };
    mark.to_owned()
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
            is_ascii: false,
            is_dumb: false,
            live: false,
            quiet: false,
            clock: Clock::Utc,
            secrets: Secrets::default(),
            command: "test".to_owned(),
            project: OnceLock::from("shop".to_owned()),
            stdout_error: OnceLock::new(),
        }
    }

    /// As [`Self::plain`], with colours.
    pub(super) fn coloured() -> Self {
        Self {
            stdout_color: true,
            ..Self::plain()
        }
    }

    /// A terminal of this width, without colours.
    pub(crate) fn narrow(width: u16) -> Self {
        Self {
            terminal: Terminal::of_width(width),
            ..Self::plain()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn console(environment: &[(&str, &str)]) -> Console {
        let cli = Cli::try_parse_from(["caravan", "status"]).expect("parses");
        let environment = environment.iter();
        let environment =
            environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let terminal = Terminal::of_width(80);
        Console::new(&cli.global, &environment.collect(), terminal, "status")
    }

    #[test]
    fn a_dumb_terminal_gets_no_colours() {
        let shown = |environment: &[_]| {
            let text = console(environment).out(Paint::Good, "✓");
            control::shown(&text).into_owned()
        };
        assert_eq!(shown(&[("TERM", "xterm")]), "\x1b[32m✓\x1b[0m");
        assert_eq!(shown(&[("TERM", "dumb")]), "✓");
        assert_eq!(shown(&[("NO_COLOR", "1")]), "✓");
        assert_eq!(shown(&[("NO_COLOR", "")]), "\x1b[32m✓\x1b[0m");
    }

    #[test]
    fn a_screen_is_the_first_line_and_the_last_ones_that_have_room() {
        let console = Console::narrow(10);
        // The terminal has 24 rows; the cursor is in the last one.
        let lines: Vec<_> = (0..40).map(|n| n.to_string()).collect();
        let shown = |text: &str| {
            let lines = console.last_lines(text);
            let (first, last) = (lines[0].to_owned(), lines[lines.len() - 1].to_owned());
            (lines.len(), first, last)
        };
        let all = lines.join("\n");
        assert_eq!(shown(&all), (23, "0".to_owned(), "39".to_owned()));
        // It takes three rows.
        let wide = format!("{all}\n{}", "x".repeat(21));
        assert_eq!(shown(&wide).0, 21);
        assert_eq!(shown("a\nb"), (2, "a".to_owned(), "b".to_owned()));
    }

    #[test]
    fn marks_are_ascii_in_the_locale_c() {
        let shown = |environment: &[_]| console(environment).marks("✓ ▁█ é…");
        assert_eq!(shown(&[("LANG", "C")]), "+ .# é...");
        assert_eq!(
            shown(&[("LC_ALL", "POSIX"), ("LANG", "de_DE.UTF-8")]),
            "+ .# é..."
        );
        assert_eq!(shown(&[("LC_ALL", ""), ("LANG", "C")]), "+ .# é...");
        assert_eq!(shown(&[("LC_CTYPE", "C.UTF-8"), ("LANG", "C")]), "✓ ▁█ é…");
        assert_eq!(shown(&[]), "✓ ▁█ é…");
    }
}
