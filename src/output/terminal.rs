//! Which of the standard streams are a terminal, and how wide that is: this process's own, or, for
//! one that runs inside the pipeline's network, those of the process on the host.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressDrawTarget, TermLike};
use serde::{Deserialize, Serialize};

/// What is known of a terminal whose width is not.
const WIDTH: u16 = 100;

/// The standard streams.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Terminal {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// Columns.
    width: u16,
    /// Somebody else's: it is drawn on by what is written to stderr.
    #[serde(skip_serializing, default = "elsewhere")]
    elsewhere: bool,
}

fn elsewhere() -> bool {
    true
}

impl Terminal {
    /// Those of this process.
    pub(crate) fn here() -> Self {
        Self {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
            // A terminal that nobody has told its size says 0.
            width: comfy_table::Table::new()
                .width()
                .filter(|&columns| columns > 0)
                .unwrap_or(WIDTH),
            elsewhere: false,
        }
    }

    /// Whether somebody can be asked, and answer.
    pub(crate) fn answers(self) -> bool {
        self.stdin && self.stderr
    }

    /// Columns of stdout, if it is a terminal.
    pub(super) fn columns(self) -> Option<u16> {
        self.stdout.then_some(self.width)
    }

    /// Where live progress is drawn.
    pub(super) fn draw_target(self) -> ProgressDrawTarget {
        match self.elsewhere {
            true => ProgressDrawTarget::term_like(Box::new(Remote { width: self.width })),
            false => ProgressDrawTarget::stderr(),
        }
    }
}

/// A terminal at the other end of stderr, steered as ECMA-48 has it.
#[derive(Debug)]
struct Remote {
    width: u16,
}

impl Remote {
    fn steer(&self, n: usize, letter: char) -> io::Result<()> {
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
        self.steer(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.steer(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.steer(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.steer(n, 'D')
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
    fn what_is_handed_over_is_somebody_elses() {
        let here = Terminal {
            stderr: true,
            width: 72,
            ..Terminal::default()
        };
        let text = serde_json::to_string(&here).expect("writes");
        let there: Terminal = serde_json::from_str(&text).expect("reads");
        assert!(there.stderr && there.elsewhere && !here.elsewhere);
        assert_eq!(there.width, 72);
        assert!(!there.draw_target().is_hidden());
    }
}
