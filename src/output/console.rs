//! stdout and stderr, as the flags and the terminal want them.

use std::{
    io::{self, BufRead, Write},
    sync::Mutex,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::Terminal;
use crate::flags::{ColorChoice, Global};

/// Where everything that is shown goes through.
pub(crate) struct Console {
    pub(crate) terminal: Terminal,
    stdout_color: bool,
    stderr_color: bool,
    /// Whether stderr is a terminal that may be redrawn.
    pub(crate) live: bool,
    quiet: bool,
    /// Longest first, so that a secret within another is not half shown.
    secrets: Mutex<Vec<String>>,
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
            secrets: Mutex::new(Vec::new()),
        }
    }

    /// Values that are shown as `****` from here on. Very short ones would mask half of all text.
    pub(crate) fn mask(&self, values: &[String]) {
        if let Ok(mut secrets) = self.secrets.lock() {
            secrets.extend(values.iter().filter(|v| v.len() >= 4).cloned());
            secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
            secrets.dedup();
        }
    }

    /// `text` without any known secret.
    pub(crate) fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Ok(secrets) = self.secrets.lock() {
            for secret in secrets.iter() {
                if text.contains(secret.as_str()) {
                    text = text.replace(secret.as_str(), "****");
                }
            }
        }
        text
    }

    /// As [`Self::masked`], for what may be no text.
    pub(crate) fn masked_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        if let Ok(secrets) = self.secrets.lock() {
            for secret in secrets.iter().map(String::as_bytes) {
                let mut from = 0;
                while let Some(at) = bytes[from..]
                    .windows(secret.len())
                    .position(|w| w == secret)
                {
                    bytes.splice(from + at..from + at + secret.len(), *b"****");
                    from += at + 4;
                }
            }
        }
        bytes
    }

    /// A line of the result.
    pub(crate) fn result(&self, text: &str) {
        write_line(&mut io::stdout().lock(), &self.masked(text));
    }

    /// Lines of the result, each with its end. A pipe takes as many at once as it has room for, and
    /// this waits for it; nobody at its other end is an error.
    pub(crate) fn results(&self, lines: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(self.masked(lines).as_bytes())?;
        stdout.flush()
    }

    /// What a person may want to know besides the result.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            write_line(&mut io::stderr().lock(), &self.masked(text));
        }
    }

    /// As [`Self::note`], marked.
    pub(crate) fn warn(&self, text: &str) {
        self.note(&format!("{} {text}", self.err(Paint::Doubtful, "warning:")));
    }

    /// What is said even with `--quiet`.
    pub(crate) fn alarm(&self, text: &str) {
        write_line(&mut io::stderr().lock(), &self.masked(text));
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
            write_line(&mut io::stdout().lock(), "\x1b[H\x1b[2J\x1b[3J");
        }
    }

    /// Asks on a terminal; None where nobody can answer.
    pub(crate) fn confirm(&self, question: &str) -> Option<bool> {
        if !self.terminal.answers() {
            return None;
        }
        let mut stderr = io::stderr().lock();
        let asked =
            write!(stderr, "{} [y/N] ", self.masked(question)).and_then(|()| stderr.flush());
        let mut answer = String::new();
        if asked.is_err() || io::stdin().lock().read_line(&mut answer).is_err() {
            return Some(false);
        }
        Some(matches!(answer.trim(), "y" | "Y" | "yes"))
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
    /// What a command that runs inside wrote to stdout, masked there.
    pub(crate) fn relay_out(&self, bytes: &[u8]) {
        relay(&mut io::stdout().lock(), bytes);
    }

    /// What it wrote to stderr.
    pub(crate) fn relay_err(&self, bytes: &[u8]) {
        relay(&mut io::stderr().lock(), bytes);
    }
}

/// As for [`write_line`].
fn relay(stream: &mut impl Write, bytes: &[u8]) {
    match stream.write_all(bytes).and_then(|()| stream.flush()) {
        Ok(()) | Err(_) => {}
    }
}

/// A reader that left (`caravan logs | head`) is no error of ours.
fn write_line(stream: &mut impl Write, text: &str) {
    match writeln!(stream, "{text}").and_then(|()| stream.flush()) {
        Ok(()) | Err(_) => {}
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
            secrets: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_wherever_it_stands() {
        let console = Console::plain();
        console.mask(&[
            "hunter2".to_owned(),
            "hunter2hunter3".to_owned(),
            "ab".to_owned(),
        ]);
        assert_eq!(
            console.masked("postgres://u:hunter2@h/d abba hunter2hunter3"),
            "postgres://u:****@h/d abba ****"
        );
        assert_eq!(
            console.masked_bytes(b"\xffhunter2 hunter2hunter3hunter2\x00"),
            b"\xff**** ********\x00"
        );
    }
}
