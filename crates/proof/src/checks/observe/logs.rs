//! The logs of a service's containers, each since its last start.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{TryStreamExt, future::join_all};

use super::log_level;
use declaration::{Pattern, Pipeline, Service};
use diagnostics::Result;
use platform::{Container, LogLine, LogOptions, Platform, State};

/// Of a longer log, the number of lines that are read at its beginning and at its end. Docker takes as
/// long over two thousand lines as over all other requests of `verify`.
pub(crate) const FIRST: usize = 500;
pub(crate) const LAST: usize = 2_000;

/// How many forbidden lines are kept, and how many characters of each.
const FORBIDDEN: usize = 10;
const WIDTH: usize = 300;

/// How far back lines count as recent, at most to the container's start.
const SPAN: Duration = Duration::from_secs(300);
/// How many keys of repeated lines are kept; further lines share one.
const KEYS: usize = 50;

/// The log of one container since its last start.
#[derive(Debug, Default)]
pub(crate) struct ContainerLog {
    pub(crate) container: String,
    /// The container is running or paused.
    pub(crate) runs: bool,
    /// The declared startup line is there.
    pub(crate) started: bool,
    /// The last forbidden lines, with their times.
    pub(crate) forbidden: Vec<(DateTime<Utc>, String)>,
    pub(crate) lines: usize,
    pub(crate) recent: Recent,
    /// The lines between the first and the last ones were not read.
    pub(crate) partial: bool,
    /// The beginning was removed by log rotation.
    pub(crate) start_lost: bool,
}

/// Reads the logs of all containers of a service.
pub(crate) async fn read_all(
    platform: &dyn Platform,
    pipeline: &Pipeline,
    service: &Service,
    containers: &[&Container],
) -> Vec<Result<ContainerLog>> {
    let patterns = Patterns {
        startup: service.startup.as_ref(),
        forbidden: &pipeline.forbidden_logs,
        allowed: &pipeline.allowed_logs,
    };
    let logs = containers.iter();
    join_all(logs.map(|container| read(platform, container, &patterns))).await
}

/// Reads the beginning of a log and, if the log is long, its end.
async fn read(
    platform: &dyn Platform,
    container: &Container,
    patterns: &Patterns<'_>,
) -> Result<ContainerLog> {
    let mut log = ContainerLog {
        container: container.name.clone(),
        runs: matches!(container.state, State::Running | State::Paused),
        ..ContainerLog::default()
    };
    let now = Utc::now();
    let mut each = |line| {
        log.read(&line, patterns, now);
        log.started
    };
    let scanned = platform.scan_beginning(container, FIRST, &mut each).await?;
    log.start_lost = scanned.start_lost;
    if !scanned.partial {
        return Ok(log);
    }
    log.partial = true;
    // The last lines follow, and some of them may have been read already.
    log.recent = Recent::default();
    let options = LogOptions {
        tail: Some(LAST),
        since: container.run_began(),
        ..LogOptions::default()
    };
    let containers = std::slice::from_ref(container);
    let mut last = platform.logs(containers, &options);
    while let Some(line) = last.try_next().await? {
        log.read(&line, patterns, now);
    }
    Ok(log)
}

/// What lines are compared with.
struct Patterns<'a> {
    startup: Option<&'a Pattern>,
    forbidden: &'a [Pattern],
    allowed: &'a [Pattern],
}

impl ContainerLog {
    fn read(&mut self, line: &LogLine, patterns: &Patterns<'_>, now: DateTime<Utc>) {
        self.lines += 1;
        let has = |patterns: &[Pattern]| patterns.iter().any(|p| p.matches(&line.text));
        self.started |= patterns.startup.is_some_and(|p| p.matches(&line.text));
        let allowed = has(patterns.allowed);
        self.recent.read(line, now, allowed);
        if !allowed && has(patterns.forbidden) {
            let text: String = line.text.chars().take(WIDTH).collect();
            let text = format!("{}: {text}", self.container);
            // A line at the end of the log may have been read at its beginning.
            let forbidden = (line.at, text);
            if !self.forbidden.contains(&forbidden) {
                self.forbidden.push(forbidden);
            }
            if self.forbidden.len() > FORBIDDEN {
                self.forbidden.remove(0);
            }
        }
    }
}

/// What one container wrote within [`SPAN`].
#[derive(Debug, Default)]
pub(crate) struct Recent {
    pub(crate) lines: usize,
    /// Lines at level error, by their text without numbers.
    pub(crate) errors: BTreeMap<String, Repeated>,
}

/// Lines that differ only in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repeated {
    pub(crate) times: usize,
    /// Time and text of the last one.
    pub(crate) at: DateTime<Utc>,
    pub(crate) text: String,
}

impl Recent {
    /// An `allowed` line counts as no error, whatever its level.
    pub(crate) fn read(&mut self, line: &LogLine, now: DateTime<Utc>, allowed: bool) {
        let since = TimeDelta::from_std(SPAN).ok();
        if since.is_some_and(|span| now - line.at > span) {
            return;
        }
        self.lines += 1;
        if allowed || !log_level::is_error(&line.text) {
            return;
        }
        let mut key = without_numbers(&line.text);
        if self.errors.len() >= KEYS && !self.errors.contains_key(&key) {
            key = String::new();
        }
        let text: String = line.text.chars().take(WIDTH).collect();
        let repeated = self.errors.entry(key).or_insert(Repeated {
            times: 0,
            at: line.at,
            text: String::new(),
        });
        repeated.times += 1;
        repeated.at = line.at;
        repeated.text = format!("{}: {text}", line.container);
    }
}

/// A line with `#` for each word that holds a digit, because such words differ from line to line.
fn without_numbers(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let text: String = text.chars().take(WIDTH).collect();
    let mut key = String::new();
    for word in text.split_inclusive(|c| !is_word(c)) {
        let bare = word.trim_end_matches(|c| !is_word(c));
        match bare.contains(|c: char| c.is_ascii_digit()) {
            true => key.extend(['#'].into_iter().chain(word[bare.len()..].chars())),
            false => key.push_str(word),
        }
    }
    key
}
