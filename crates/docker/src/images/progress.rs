//! What both builders report: the step of a build, the last lines of its output, and its failure.

use std::{collections::VecDeque, time::Duration};

use diagnostics::{Error, Kind};
use platform::{Event, Events};

/// Timeout of a step without output, for slow downloads of packages.
pub(super) const STALL: Duration = Duration::from_secs(600);
/// How much of a failing step's output is shown.
pub(super) const LAST_LINES: usize = 15;

/// The error of a failed build, with the builder's message.
pub(super) fn not_built(reference: &str, error: &str) -> Error {
    let what = format!("Docker could not build {reference}");
    Error::new(Kind::NotRight, what).because(error.trim())
}

/// Sends an event with the current step of a build.
pub(super) fn report_step(reference: &str, at: &str, events: &Events) {
    let part = reference.to_owned();
    let what = format!("building ({at})");
    // A closed event channel does not stop the work.
    drop(events.send(Event::Doing { part, what }));
}

/// The last lines of an output, as a person reads them.
#[derive(Debug, Default)]
pub(super) struct LastLines(pub(super) VecDeque<String>);

impl LastLines {
    pub(super) fn add(&mut self, text: &str) {
        for line in text.lines().map(without_colours) {
            // The last version of a line that is overwritten with `\r`.
            let line = line.trim().rsplit('\r').next().unwrap_or_default();
            if line.is_empty() {
                continue;
            }
            if self.0.len() == LAST_LINES {
                drop(self.0.pop_front());
            }
            self.0.push_back(line.to_owned());
        }
    }
}

/// Removes terminal colours, with which the builder marks a step's stderr.
pub(super) fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // `[91m`: the letter ends it.
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        plain.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    plain
}
