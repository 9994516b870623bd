//! Whether log rotation deleted the beginning of a container's current run. Docker does not report it; it
//! follows from the logging options, the time of the first remaining line and the size of what remains.

use std::collections::HashMap;

use bollard::models::ContainerInspectResponse;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{connect::Engine, observe::time};
use diagnostics::Result;
use platform::{Container, LogLine};

/// What json-file adds to a line: its keys, the stream's name and the time.
const LINE_OVERHEAD: u64 = 70;

/// What was read of the current run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) lines: usize,
    /// Approximately the bytes that the lines take in Docker's file.
    bytes: u64,
    first: Option<DateTime<Utc>>,
    /// [`Limits::kept`], if the log rotates.
    pub(super) kept: Option<u64>,
}

impl Seen {
    pub(super) fn add(&mut self, line: &LogLine) {
        self.lines += 1;
        self.bytes += line.text.len() as u64 + LINE_OVERHEAD;
        self.first.get_or_insert(line.at);
    }

    /// Whether the first remaining line is so late that earlier lines may have been deleted.
    pub(super) fn is_late(&self, began: DateTime<Utc>) -> bool {
        self.first
            .is_some_and(|first| first - began > TimeDelta::seconds(2))
    }

    /// Whether the first line of the run may have been deleted before it was read: as much was read as the
    /// log can hold, or the log, which takes no new lines, is as long as after a rotation.
    pub(super) fn may_lack_its_first(&self, limits: Limits, is_quiet: bool) -> bool {
        let rotated = is_quiet && limits.kept > 0 && self.bytes >= limits.kept;
        rotated || self.bytes >= limits.all
    }

    /// Whether at least as much remains as after a rotation; the whole log has to be read before.
    pub(super) fn was_rotated(&self) -> bool {
        self.kept.is_some_and(|kept| self.bytes >= kept)
    }
}

impl Engine {
    /// The time of the first remaining line, if a rotation may have deleted earlier lines after `since` and
    /// after the container's creation.
    pub(super) async fn beginning(
        &self,
        container: &Container,
        seen: Seen,
        since: Option<DateTime<Utc>>,
    ) -> Result<Option<DateTime<Utc>>> {
        let Some(raw) = self.inspect_raw(&container.id).await? else {
            return Ok(None);
        };
        let made = time(raw.created.as_deref()).max(since);
        let late = made.is_some_and(|made| seen.is_late(made));
        let kept = limits(raw).map(|limits| limits.kept);
        Ok(seen
            .first
            .filter(|_| late && Seen { kept, ..seen }.was_rotated()))
    }

    /// The limits of a container's log. None: it never rotates.
    pub(super) async fn log_limits(&self, container: &Container) -> Result<Option<Limits>> {
        let raw = self.inspect_raw(&container.id).await?;
        Ok(raw.and_then(limits))
    }
}

/// How much a log that rotates holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes that certainly remain after a rotation: all files except the current one are full.
    pub(super) kept: u64,
    /// Bytes of all files.
    all: u64,
}

/// None: this log never rotates.
fn limits(container: ContainerInspectResponse) -> Option<Limits> {
    let log = container.host_config?.log_config?;
    limits_of(
        &log.typ.unwrap_or_default(),
        &log.config.unwrap_or_default(),
    )
}

fn limits_of(driver: &str, options: &HashMap<String, String>) -> Option<Limits> {
    let (default_size, default_files) = match driver {
        "local" => (Some(20 << 20), 5),
        _ => (None, 1),
    };
    let size = options.get("max-size").and_then(|text| bytes(text));
    let files = options.get("max-file").and_then(|text| text.parse().ok());
    let files: u64 = files.unwrap_or(default_files);
    let size = size.or(default_size)?;
    Some(Limits {
        // Files may be compressed and the count is approximate, so half the size counts as a rotation.
        kept: size * files.saturating_sub(1) / 2,
        all: size * files,
    })
}

/// `50m`, as Docker writes sizes.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    Some(digits.parse::<u64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn a_log_without_a_size_never_rotates() {
        assert_eq!(limits_of("json-file", &options(&[])), None);
        assert_eq!(limits_of("json-file", &options(&[("max-file", "4")])), None);
    }

    #[test]
    fn full_files_stay_after_a_rotation() {
        let kept = |driver, pairs: &[(&str, &str)]| {
            let limits = limits_of(driver, &options(pairs));
            limits.map(|limits| limits.kept)
        };
        let four = [("max-size", "50m"), ("max-file", "4")];
        assert_eq!(kept("json-file", &four), Some(75 << 20));
        assert_eq!(kept("json-file", &[("max-size", "20k")]), Some(0));
        assert_eq!(kept("local", &[]), Some(40 << 20));
    }

    #[test]
    fn a_first_line_may_be_lost_once_files_are_full() {
        let two = options(&[("max-size", "10k"), ("max-file", "2")]);
        let one = options(&[("max-size", "10k")]);
        let may_lack = |options, kib: u64, is_quiet| {
            let seen = Seen {
                bytes: kib << 10,
                ..Seen::default()
            };
            seen.may_lack_its_first(limits_of("json-file", options).expect("rotates"), is_quiet)
        };
        assert!(!may_lack(&two, 4, true) && may_lack(&two, 6, true));
        assert!(!may_lack(&two, 19, false) && may_lack(&two, 20, false));
        // One file that is truncated looks like one that was never full.
        assert!(!may_lack(&one, 9, true) && may_lack(&one, 10, false));
    }

    #[test]
    fn only_a_late_first_line_raises_the_question() {
        let began = DateTime::UNIX_EPOCH;
        let line = |second| LogLine {
            service: "a".to_owned(),
            container: "shop-a".into(),
            at: began + TimeDelta::seconds(second),
            text: "x".to_owned(),
        };
        let (mut soon, mut late) = (Seen::default(), Seen::default());
        soon.add(&line(1));
        soon.add(&line(60));
        late.add(&line(60));
        assert!(!soon.is_late(began) && late.is_late(began));
        assert!(!Seen::default().is_late(began));
    }
}
