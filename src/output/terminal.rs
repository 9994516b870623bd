//! Which standard streams are a terminal, and its width. A command in the network container uses the terminal
//! of the process on the host.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressDrawTarget, TermLike};
use serde::{Deserialize, Serialize};

/// The width of a terminal that does not report one.
const WIDTH: u16 = 100;

/// The standard streams.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Terminal {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// Columns.
    width: u16,
    /// The terminal is that of another process, to which this process's stderr is forwarded.
    #[serde(skip_serializing, default = "is_remote_by_default")]
    is_remote: bool,
}

/// A deserialised terminal is that of the process which serialised it.
fn is_remote_by_default() -> bool {
    true
}

impl Terminal {
    /// The streams of this process.
    pub(crate) fn here() -> Self {
        Self {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
            // A terminal whose size was never set reports 0 columns.
            width: comfy_table::Table::new()
                .width()
                .filter(|&columns| columns > 0)
                .unwrap_or(WIDTH),
            is_remote: false,
        }
    }

    /// Whether a prompt can be shown and answered.
    pub(crate) fn answers(self) -> bool {
        self.stdin && self.stderr
    }

    /// Columns of stdout, if it is a terminal.
    pub(super) fn columns(self) -> Option<u16> {
        self.stdout.then_some(self.width)
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
