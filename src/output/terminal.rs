//! Which standard streams are a terminal, and its width. A command in the network container uses the terminal
//! of the process on the host.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressDrawTarget, TermLike};
use serde::{Deserialize, Serialize};

/// Rows and columns of a terminal that does not report them.
const SIZE: (u16, u16) = (24, 100);

/// The standard streams.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Terminal {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// Columns.
    width: u16,
    rows: u16,
    /// The terminal is that of another process, to which this process's stderr is forwarded.
    #[serde(skip_serializing, default = "is_remote_by_default")]
    is_remote: bool,
}

/// A deserialised terminal is that of the process which serialised it.
fn is_remote_by_default() -> bool {
    true
}

/// Rows and columns of the terminal that stdout or stderr is. One whose size was never set has none.
fn size() -> Option<(u16, u16)> {
    let terminals = [console::Term::stdout(), console::Term::stderr()];
    let mut sizes = terminals.iter().filter_map(console::Term::size_checked);
    sizes.find(|(rows, columns)| *rows > 0 && *columns > 0)
}

impl Terminal {
    /// The streams of this process.
    pub(crate) fn here() -> Self {
        Self {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
            width: size().unwrap_or(SIZE).1,
            rows: size().unwrap_or(SIZE).0,
            is_remote: false,
        }
    }

    /// Whether a prompt can be shown and answered.
    pub(crate) fn answers(self) -> bool {
        self.stdin && self.stderr
    }

    /// Whether stdout and stderr are shown in one place, where their order counts.
    pub(crate) fn is_shared(self) -> bool {
        self.stdout && self.stderr
    }

    /// Columns of stdout, if it is a terminal.
    pub(super) fn columns(self) -> Option<u16> {
        self.stdout.then(|| self.size().1)
    }

    /// Rows of stdout, if it is a terminal.
    pub(super) fn rows(self) -> usize {
        self.size().0.into()
    }

    /// The terminal of this process may have been resized since it started.
    fn size(self) -> (u16, u16) {
        let now = match self.is_remote {
            true => None,
            false => size(),
        };
        now.unwrap_or((self.rows, self.width))
    }

    /// Where live progress is drawn.
    pub(super) fn draw_target(self) -> ProgressDrawTarget {
        match self.is_remote {
            true => ProgressDrawTarget::term_like(Box::new(Remote { width: self.width })),
            false => ProgressDrawTarget::stderr(),
        }
    }
}

/// A terminal that receives stderr, controlled by escape sequences (ECMA-48).
#[derive(Debug)]
struct Remote {
    width: u16,
}

impl Remote {
    fn move_cursor(&self, n: usize, letter: char) -> io::Result<()> {
        match n {
            0 => Ok(()),
            _ => self.write_str(&format!("\x1b[{n}{letter}")),
        }
    }
}

impl TermLike for Remote {
    fn width(&self) -> u16 {
        self.width
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.write_str(&format!("{s}\n"))
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        io::stderr().lock().write_all(s.as_bytes())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write_str("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

#[cfg(test)]
impl Terminal {
    /// A terminal of another process, of this width.
    pub(super) fn of_width(width: u16) -> Self {
        Self {
            stdin: true,
            stdout: true,
            stderr: true,
            width,
            rows: SIZE.0,
            is_remote: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deserialised_terminal_is_remote() {
        let here = Terminal {
            stderr: true,
            width: 72,
            ..Terminal::default()
        };
        let text = serde_json::to_string(&here).expect("writes");
        let there: Terminal = serde_json::from_str(&text).expect("reads");
        assert!(there.stderr && there.is_remote && !here.is_remote);
        assert_eq!(there.width, 72);
        assert!(!there.draw_target().is_hidden());
    }
}
