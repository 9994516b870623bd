//! What containers wrote, of several of them by time. `lines`: whole lines out of Docker's frames;
//! `merge`: several logs as one; `shown`, `live` and `follow`: new lines, each once, whatever
//! becomes of the logs and the containers.

mod follow;
mod lines;
mod live;
mod merge;
mod shown;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bollard::query_parameters::LogsOptionsBuilder;
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt, future};

use self::{
    lines::{Lines, bounded, last, whole_seconds},
    merge::{Merge, Merged},
};
use super::{
    connect::Engine,
    observed::{Container, LogLine},
    rotation,
};
use diagnostics::Result;

/// Which lines are wanted.
#[derive(Clone, Default)]
pub(crate) struct LogOptions {
    /// The last so many of those that the rest wants, of each container.
    pub(crate) tail: Option<usize>,
    /// Lines since then.
    pub(crate) since: Option<DateTime<Utc>>,
    /// Lines until then.
    pub(crate) until: Option<DateTime<Utc>>,
    pub(crate) filter: Option<Filter>,
}

/// Whether a line is wanted, by its text.
#[derive(Clone)]
pub(crate) struct Filter(pub(crate) Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl LogOptions {
    /// As far as Docker can tell which they are.
    fn request(&self) -> LogsOptionsBuilder {
        let mut request = LogsOptionsBuilder::new();
        if let Some(since) = self.since {
            request = request.since(whole_seconds(since));
        }
        if let Some(until) = self.until {
            request = request.until(whole_seconds(until).saturating_add(1));
        }
        if let Some(tail) = self.tail.filter(|_| !self.narrows()) {
            // Where none is wanted, the last one still tells from where on a log is new.
            request = request.tail(&tail.max(1).to_string());
        }
        request
    }

    /// The last so many, where Docker cannot tell which they are.
    fn own_tail(&self) -> Option<usize> {
        self.tail.filter(|tail| *tail == 0 || self.narrows())
    }

    /// Whether Docker's last lines may not be among the wanted.
    fn narrows(&self) -> bool {
        self.filter.is_some() || self.until.is_some()
    }

    fn wants(&self, line: &LogLine) -> bool {
        self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at <= until)
            && self.filter.as_ref().is_none_or(|f| (f.0)(&line.text))
    }

    fn narrow(&self, lines: Lines) -> Lines {
        let options = self.clone();
        let wanted = move |line: &Result<LogLine>| {
            let wanted = line.as_ref().map_or(true, |line| options.wants(line));
            future::ready(wanted)
        };
        lines.filter(wanted).boxed()
    }
}

/// Where a startup line is looked for: who says more before it has started is not known by one.
const BEGINNING: usize = 5_000;
/// The same where the log rotates, and what is left of it begins long after the start.
const ROTATED: usize = 500;

/// What a scan of the beginning of a container's current run came across.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scanned {
    /// There are more lines than were shown.
    pub(crate) partial: bool,
    /// What was looked for is there.
    pub(crate) found: bool,
    /// Log rotation may have eaten the beginning: what is not found may have been there.
    pub(crate) start_lost: bool,
}

/// What is stored of several containers' logs, by time.
pub(crate) struct Logs {
    merge: Merge,
    since: Option<DateTime<Utc>>,
    /// What was read of each; none where only last lines were asked for.
    read: Vec<(Container, Arc<Mutex<rotation::Seen>>)>,
}

impl Stream for Logs {
    type Item = Result<LogLine>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<LogLine>>> {
        loop {
            match ready!(self.merge.poll_next_unpin(context)) {
                Some(Merged::Line(line)) => return Poll::Ready(Some(line)),
                Some(Merged::Ended(_)) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Engine {
    /// Lines of several containers, by time.
    pub(crate) fn logs(&self, containers: &[Container], options: &LogOptions) -> Logs {
        let mut logs = Logs {
            merge: Merge::new(false),
            since: options.since,
            read: Vec::new(),
        };
        for container in containers {
            let mut lines = bounded(self.lines(container, options.request()));
            if options.tail.is_none() {
                let seen = Arc::<Mutex<rotation::Seen>>::default();
                logs.read.push((container.clone(), Arc::clone(&seen)));
                let count = move |line: &Result<LogLine>| {
                    if let Ok(line) = line {
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.add(line);
                    }
                };
                lines = lines.inspect(count).boxed();
            }
            lines = options.narrow(lines);
            if let Some(tail) = options.own_tail() {
                lines = last(lines, tail);
            }
            logs.merge.add(container.id.clone(), lines);
        }
        logs
    }

    /// The containers of which the beginning of what was asked for may be gone, and the time of
    /// their first line. To be asked once all was read.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn cut_off(&self, logs: &Logs) -> Result<Vec<(String, DateTime<Utc>)>> {
        let mut lost = Vec::new();
        for (container, seen) in &logs.read {
            let seen = *seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(first) = self.beginning(container, seen, logs.since).await? {
                lost.push((container.name.clone(), first));
            }
        }
        Ok(lost)
    }

    /// Shows the first lines of a container's current run (or of its last one) to `each`, by time:
    /// `least` of them, and on to the one that `each` was looking for (true); where it does not
    /// come, to the end of the beginning. However long the log is, this takes no longer.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn scan_beginning(
        &self,
        container: &Container,
        least: usize,
        mut each: impl FnMut(LogLine) -> bool,
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
        scanned.start_lost = match scanned.partial {
            true => seen.kept.is_some(),
            false => seen.was_rotated(),
        };
        Ok(scanned)
    }

    /// The last `count` lines of the current run; for error messages, so a failure to read is a
    /// line itself.
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
        let narrowed = texts(options.narrow(lines)).await;
        assert_eq!(narrowed, ["10", "11", "12", "13"]);
    }
}
