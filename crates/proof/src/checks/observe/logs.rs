//! The logs of a service's containers, each since its last start. What an earlier `verify` found of this start
//! is not read again; the time for reading does not grow with the log.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{TryStreamExt, future::join_all};
use sha2::{Digest, Sha256};

use super::log_level;
use crate::checks::results::LogResult;
use declaration::{Pattern, Pipeline, Service};
use diagnostics::Result;
use platform::{Container, LogLine, LogOptions, Platform, State};

/// Of a longer log, the number of lines that are read at its beginning and at its end. Docker takes as
/// long over two thousand lines as over all other requests of `verify`.
pub(crate) const FIRST: usize = 500;
pub(crate) const LAST: usize = 2_000;
/// The number of last lines that are read if an earlier `verify` has read the log. If these are not all new
/// lines, [`LAST`] are read, unless there are far more.
const FEW: usize = 500;

/// How many forbidden lines are kept, and how many characters of each.
const FORBIDDEN: usize = 10;
const WIDTH: usize = 300;

/// How many of the last lines of a run are shown, and how long before its end they may be written.
const WORDS: usize = 3;
const DYING: TimeDelta = TimeDelta::seconds(10);

/// How far back lines count as recent, at most to the container's start.
const SPAN: Duration = Duration::from_secs(300);
/// How many keys of repeated lines are kept; further lines share one.
const KEYS: usize = 50;

/// The log of one container since its last start.
#[derive(Debug, Default)]
pub(crate) struct ContainerLog {
    pub(crate) container: String,
    /// The container's id.
    pub(crate) id: String,
    /// The container is running or paused.
    pub(crate) runs: bool,
    /// The declared startup line is there.
    pub(crate) started: bool,
    /// The last forbidden lines, with their times.
    pub(crate) forbidden: Vec<(DateTime<Utc>, String)>,
    /// How many lines were read, without those that an earlier `verify` has read.
    pub(crate) lines: usize,
    pub(crate) recent: Recent,
    /// The lines between the first and the last ones were not read.
    pub(crate) partial: bool,
    /// An earlier `verify` has read the beginning.
    pub(crate) continued: bool,
    /// The beginning was removed by log rotation.
    pub(crate) start_lost: bool,
    /// For the next run.
    pub(crate) result: LogResult,
}

/// Reads the logs of all containers of a service.
pub(crate) async fn read_all(
    platform: &dyn Platform,
    pipeline: &Pipeline,
    service: &Service,
    containers: &[&Container],
    earlier: &BTreeMap<String, LogResult>,
) -> Vec<Result<ContainerLog>> {
    let patterns = Patterns {
        startup: service.startup.as_ref(),
        forbidden: &pipeline.forbidden_logs,
        allowed: &pipeline.allowed_logs,
    };
    let logs = containers.iter();
    let read = logs.map(|container| read(platform, container, &patterns, earlier));
    join_all(read).await
}

/// Reads the beginning of a log and, if the log is long, its end; of a log that was read before, its end.
async fn read(
    platform: &dyn Platform,
    container: &Container,
    patterns: &Patterns<'_>,
    earlier: &BTreeMap<String, LogResult>,
) -> Result<ContainerLog> {
    let basis = patterns.basis(container);
    let earlier = earlier.get(&container.id);
    let earlier = earlier.filter(|earlier| earlier.basis == basis);
    let mut log = ContainerLog {
        container: container.name.clone(),
        id: container.id.clone(),
        runs: matches!(container.state, State::Running | State::Paused),
        ..ContainerLog::default()
    };
    let now = Utc::now();
    let known = earlier.filter(|earlier| earlier.started || patterns.startup.is_none());
    if let Some(known) = known {
        log.continued = true;
        log.started = known.started;
        log.forbidden.clone_from(&known.forbidden);
        log.read_new(platform, container, patterns, known.until, now)
            .await?;
    } else {
        log.read_ends(platform, container, patterns, now).await?;
        // Found by an earlier run between the first and the last lines.
        for line in earlier.into_iter().flat_map(|earlier| &earlier.forbidden) {
            // A stored line is masked, so it may differ from the one that was read again.
            if log.forbidden.iter().all(|(at, _)| *at != line.0) {
                log.forbid(line.clone());
            }
        }
    }
    log.result.basis = basis;
    log.result.started = log.started;
    log.result.forbidden.clone_from(&log.forbidden);
    log.result.until = log
        .result
        .until
        .max(earlier.and_then(|earlier| earlier.until));
    Ok(log)
}

impl ContainerLog {
    /// Reads the beginning and, if the log is long, the end.
    async fn read_ends(
        &mut self,
        platform: &dyn Platform,
        container: &Container,
        patterns: &Patterns<'_>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut each = |line| {
            self.read(&line, patterns, now);
            self.started
        };
        let scanned = platform.scan_beginning(container, FIRST, &mut each).await?;
        self.start_lost = scanned.start_lost;
        if !scanned.partial {
            return Ok(());
        }
        self.partial = true;
        // The last lines follow, and some of them may have been read already.
        self.recent = Recent::default();
        let options = LogOptions {
            tail: Some(LAST),
            since: container.run_began(),
            ..LogOptions::default()
        };
        let containers = std::slice::from_ref(container);
        let mut last = platform.logs(containers, &options);
        while let Some(line) = last.try_next().await? {
            self.read(&line, patterns, now);
        }
        Ok(())
    }

    /// Reads the lines after `until`, at most [`LAST`], and those of the last minutes before it.
    async fn read_new(
        &mut self,
        platform: &dyn Platform,
        container: &Container,
        patterns: &Patterns<'_>,
        until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let containers = std::slice::from_ref(container);
        let recent = TimeDelta::from_std(SPAN).map_or(now, |span| now - span);
        let since = until.map_or(recent, |until| until.min(recent));
        let since = container.run_began().map(|began| began.max(since));
        let last = async |tail| -> Result<Vec<LogLine>> {
            let options = LogOptions {
                tail: Some(tail),
                since,
                ..LogOptions::default()
            };
            platform.logs(containers, &options).try_collect().await
        };
        let mut size = FEW;
        let mut lines = last(size).await?;
        let new = new_lines(&lines, size, until);
        if new > size && new <= LAST {
            size = LAST;
            lines = last(size).await?;
        }
        self.partial = new_lines(&lines, size, until) > size;
        for line in &lines {
            if until.is_none_or(|until| line.at > until) {
                self.read(line, patterns, now);
            } else {
                let allowed = patterns.allows(&line.text);
                self.recent.read(line, now, allowed);
            }
        }
        Ok(())
    }
}

/// The last lines before the end of the last run that ended.
pub(crate) async fn last_words(
    platform: &dyn Platform,
    container: &Container,
) -> Result<Vec<String>> {
    let Some(ended) = container.finished_at else {
        return Ok(Vec::new());
    };
    let options = LogOptions {
        tail: Some(WORDS),
        since: Some(ended - DYING),
        // Docker may receive the last lines a moment after the end.
        until: container.started_at.filter(|at| *at > ended),
        ..LogOptions::default()
    };
    let containers = std::slice::from_ref(container);
    let lines: Vec<LogLine> = platform.logs(containers, &options).try_collect().await?;
    let texts = lines.into_iter().map(|line| line.text);
    let texts = texts.map(|text| text.chars().take(WIDTH).collect::<String>());
    Ok(texts.filter(|text| !text.trim().is_empty()).collect())
}

/// About how many lines the log has after `until`, of which `lines` are the last `size` at most.
fn new_lines(lines: &[LogLine], size: usize, until: Option<DateTime<Utc>>) -> usize {
    let (Some(first), Some(last), Some(until)) = (lines.first(), lines.last(), until) else {
        return lines.len();
    };
    if lines.len() < size || first.at <= until {
        return lines.len();
    }
    // As if the lines before were written at the same rate.
    let span = (last.at - first.at).as_seconds_f64().max(0.001);
    let before = (first.at - until).as_seconds_f64();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate of a positive number"
    )]
    let before = (lines.len() as f64 * before / span) as usize;
    lines.len() + before.max(1)
}

/// What lines are compared with.
struct Patterns<'a> {
    startup: Option<&'a Pattern>,
    forbidden: &'a [Pattern],
    allowed: &'a [Pattern],
}

impl Patterns<'_> {
    fn allows(&self, text: &str) -> bool {
        self.allowed.iter().any(|p| p.matches(text))
    }

    /// Identifies the patterns and the run of the container.
    fn basis(&self, container: &Container) -> String {
        let mut digest = Sha256::new();
        let patterns = (&self.startup, self.forbidden, self.allowed);
        digest.update(format!("{:?} {patterns:?}", container.started_at));
        let hex: String = digest
            .finalize()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        hex[..32].to_owned()
    }
}

impl ContainerLog {
    fn read(&mut self, line: &LogLine, patterns: &Patterns<'_>, now: DateTime<Utc>) {
        self.lines += 1;
        self.result.until = self.result.until.max(Some(line.at));
        let has = |patterns: &[Pattern]| patterns.iter().any(|p| p.matches(&line.text));
        self.started |= patterns.startup.is_some_and(|p| p.matches(&line.text));
        let allowed = patterns.allows(&line.text);
        self.recent.read(line, now, allowed);
        if !allowed && has(patterns.forbidden) {
            let text: String = line.text.chars().take(WIDTH).collect();
            let text = format!("{}: {text}", self.container);
            // A line at the end of the log may have been read at its beginning.
            self.forbid((line.at, text));
        }
    }

    /// Keeps a forbidden line, unless it is known or older than [`FORBIDDEN`] others.
    fn forbid(&mut self, line: (DateTime<Utc>, String)) {
        if let Err(place) = self.forbidden.binary_search(&line) {
            self.forbidden.insert(place, line);
        }
        if self.forbidden.len() > FORBIDDEN {
            self.forbidden.remove(0);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(milliseconds: &[i64]) -> Vec<LogLine> {
        let line = |at: &i64| LogLine {
            service: "web".to_owned(),
            container: "web".into(),
            at: DateTime::from_timestamp_millis(*at).expect("a time"),
            text: String::new(),
        };
        milliseconds.iter().map(line).collect()
    }

    #[test]
    fn lines_that_were_not_read_are_estimated_by_their_rate() {
        let until = |at| DateTime::from_timestamp_millis(at);
        let last = lines(&[1000, 2000]);
        assert_eq!(new_lines(&last, 3, until(0)), 2, "there are no others");
        assert_eq!(
            new_lines(&last, 2, until(1000)),
            2,
            "the first was read before"
        );
        assert_eq!(new_lines(&last, 2, until(0)), 4);
        assert_eq!(new_lines(&last, 2, until(999)), 3);
        assert_eq!(new_lines(&last, 2, until(-9000)), 22);
        assert_eq!(new_lines(&[], 2, until(0)), 0);
    }
}
