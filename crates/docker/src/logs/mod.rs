//! Logs of containers, merged by time. `lines` joins Docker's frames to lines; `merge` merges several logs;
//! `shown`, `live` and `follow` return each new line once, across log rotation and restarts.

mod follow;
mod lines;
mod live;
mod merge;
mod shown;

use std::sync::{Arc, Mutex, PoisonError};

use bollard::query_parameters::LogsOptionsBuilder;
use diagnostics::Result;
use futures_util::{FutureExt, StreamExt, future};
use platform::{Container, CutOff, EachLine, LogLine, LogOptions, Logs, Scanned};

use self::{
    lines::{Lines, bounded, last, whole_seconds},
    merge::{Merge, Merged},
};
use crate::{connect::Engine, rotation};

/// The request for the wanted lines, as far as Docker's options can select them.
fn request(options: &LogOptions) -> LogsOptionsBuilder {
    let mut request = LogsOptionsBuilder::new();
    if let Some(since) = options.since {
        request = request.since(whole_seconds(since));
    }
    if let Some(until) = options.until {
        request = request.until(whole_seconds(until).saturating_add(1));
    }
    if let Some(tail) = options.tail.filter(|_| !narrows(options)) {
        // With `--tail 0` the last line is read too: its time is where new lines begin.
        request = request.tail(&tail.max(1).to_string());
    }
    request
}

/// The number of last lines that has to be counted here, because Docker's `tail` cannot select them.
fn own_tail(options: &LogOptions) -> Option<usize> {
    options.tail.filter(|tail| *tail == 0 || narrows(options))
}

/// Whether Docker's last lines may not be the wanted ones.
fn narrows(options: &LogOptions) -> bool {
    options.filter.is_some() || options.until.is_some()
}

fn narrow(options: &LogOptions, lines: Lines) -> Lines {
    let options = options.clone();
    let wanted = move |line: &Result<LogLine>| {
        let wanted = line.as_ref().map_or(true, |line| options.wants(line));
        future::ready(wanted)
    };
    lines.filter(wanted).boxed()
}

/// How many lines of a run are searched for a startup line.
const BEGINNING: usize = 5_000;
/// The same for a rotated log whose first remaining line is long after the start.
const ROTATED: usize = 500;

impl Engine {
    /// Lines of several containers, by time.
    pub(crate) fn logs(&self, containers: &[Container], options: &LogOptions) -> Logs {
        let mut merge = Merge::new(false);
        // What was read of each; empty if only last lines were requested.
        let mut read: Vec<(Container, Arc<Mutex<rotation::Seen>>)> = Vec::new();
        for container in containers {
            let mut lines = bounded(self.lines(container, request(options)));
            if options.tail.is_none() {
                let seen = Arc::<Mutex<rotation::Seen>>::default();
                read.push((container.clone(), Arc::clone(&seen)));
                let count = move |line: &Result<LogLine>| {
                    if let Ok(line) = line {
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.add(line);
                    }
                };
                lines = lines.inspect(count).boxed();
            }
            lines = narrow(options, lines);
            if let Some(tail) = own_tail(options) {
                lines = last(lines, tail);
            }
            merge.add(container.id.clone(), lines);
        }
        let lines = merge.filter_map(|merged| {
            future::ready(match merged {
                Merged::Line(line) => Some(line),
                Merged::Ended(_) => None,
            })
        });
        let (engine, since) = (self.clone(), options.since);
        let cut_off = async move {
            let mut lost = CutOff::new();
            for (container, seen) in &read {
                let seen = *seen.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(first) = engine.beginning(container, seen, since).await? {
                    lost.push((container.name.clone(), first));
                }
            }
            Ok(lost)
        };
        Logs::new(lines.boxed(), cut_off.boxed())
    }

    /// Passes the first lines of a container's current (or last) run to `each`: at least `least` lines, and
    /// further ones until `each` returns true, up to a fixed number. The time does not depend on the log's
    /// length.
    ///
    /// # Errors
    /// Docker does not respond.
    pub(crate) async fn scan_beginning(
        &self,
        container: &Container,
        least: usize,
        each: EachLine<'_>,
    ) -> Result<Scanned> {
        let mut scanned = Scanned::default();
        let Some(began) = container.run_began() else {
            return Ok(scanned);
        };
        let mut seen = rotation::Seen::default();
        let mut bound = BEGINNING;
        let request = LogsOptionsBuilder::new().since(whole_seconds(began));
        let mut lines = bounded(self.lines(container, request));
        while let Some(line) = lines.next().await {
            let line = line?;
            if line.at < began {
                continue;
            }
            seen.add(&line);
            if seen.lines == 1 && seen.is_late(began) {
                seen.kept = self.kept_after_rotation(container).await?;
                bound = seen.kept.map_or(BEGINNING, |_| ROTATED);
            }
            scanned.found |= each(line);
            if seen.lines >= bound || (scanned.found && seen.lines >= least) {
                scanned.partial = true;
                break;
            }
        }
        if !(scanned.found || scanned.partial || seen.kept.is_some()) {
            // Rotated within the first seconds, so that the first line is not late.
            let kept = self.kept_after_rotation(container).await?;
            seen.kept = kept.filter(|kept| *kept > 0);
        }
        scanned.start_lost = match scanned.partial {
            true => seen.kept.is_some(),
            false => seen.was_rotated(),
        };
        Ok(scanned)
    }

    /// [`rotation::Limits::kept`], if the container's log rotates.
    async fn kept_after_rotation(&self, container: &Container) -> Result<Option<u64>> {
        let limits = self.log_limits(container).await?;
        Ok(limits.map(|limits| limits.kept))
    }

    /// The last `count` lines of the current run, for error messages: an error is returned as a line.
    pub(super) async fn last_lines(&self, container: &Container, count: usize) -> Vec<String> {
        let Some(began) = container.run_began() else {
            return Vec::new();
        };
        let request = LogsOptionsBuilder::new()
            .since(whole_seconds(began))
            .tail(&count.to_string());
        let lines = bounded(self.lines(container, request)).collect::<Vec<_>>();
        let lines = lines.await.into_iter().filter_map(|line| match line {
            Ok(line) if line.at < began => None,
            Ok(line) => Some(line.text),
            Err(e) => Some(format!("(its log cannot be read: {e})")),
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use platform::Filter;

    use super::*;

    pub(super) fn line(service: &str, second: u32) -> Result<LogLine> {
        Ok(LogLine {
            service: service.to_owned(),
            container: format!("shop-{service}").into(),
            at: DateTime::from_timestamp(i64::from(second), 0).expect("in range"),
            text: second.to_string(),
        })
    }

    pub(super) async fn texts(lines: Lines) -> Vec<String> {
        let lines = lines.map(|line| line.expect("a line").text);
        lines.collect().await
    }

    #[tokio::test]
    async fn lines_are_narrowed_by_time_and_text() {
        let at = |second| DateTime::from_timestamp(second, 0);
        let options = LogOptions {
            tail: None,
            since: at(2),
            until: at(13),
            filter: Some(Filter(Arc::new(|text| text.contains('1')))),
        };
        let lines = futures_util::stream::iter((1..20).map(|n| line("a", n))).boxed();
        let narrowed = texts(narrow(&options, lines)).await;
        assert_eq!(narrowed, ["10", "11", "12", "13"]);
    }
}
