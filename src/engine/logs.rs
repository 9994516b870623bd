//! What containers wrote: Docker's frames turned into whole lines with their times, of several
//! containers by time.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use chrono::{DateTime, Utc};
use futures_util::{
    Stream, StreamExt,
    future::join_all,
    stream::{self, BoxStream, Peekable},
};

use super::{
    connect::{CALL, Engine, failed, timed_out},
    observed::{Container, LogLine, State},
    rotation,
};
use crate::error::Result;

/// When each service's replica wrote its last line.
type LastSeen = HashMap<(String, u32), DateTime<Utc>>;
/// Lines whose next one can be looked at.
type Peeked<'a> = Pin<Box<Peekable<BoxStream<'a, Result<LogLine>>>>>;

/// A longer line is cut: nothing that Caravan reads is.
const LONGEST_LINE: usize = 1 << 20;

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogOptions {
    /// Go on with new lines.
    pub(crate) follow: bool,
    /// The last so many lines of each container.
    pub(crate) tail: Option<usize>,
    /// Lines since then.
    pub(crate) since: Option<DateTime<Utc>>,
}

/// What a scan of a container's current run came across.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub(crate) lines: usize,
    /// Log rotation has eaten the beginning: a missing startup line proves nothing.
    pub(crate) start_lost: bool,
}

impl Engine {
    /// Lines of several containers, by time; with `follow` new ones as they come, until each
    /// container has ended.
    pub(crate) fn logs<'a>(
        &'a self,
        containers: &'a [Container],
        options: LogOptions,
    ) -> impl Stream<Item = Result<LogLine>> + 'a {
        let history = containers.iter().map(|c| self.history(c, &options));
        let last: Arc<Mutex<LastSeen>> = Arc::default();
        let noted = Arc::clone(&last);
        let history = merge(history.collect()).inspect(move |line| {
            if let (Ok(line), Ok(mut noted)) = (line, noted.lock()) {
                noted.insert((line.service.clone(), line.replica), line.at);
            }
        });
        if !options.follow {
            return history.boxed();
        }
        // After the history, each container's lines after its last one there.
        let following = stream::once(async move {
            let last = last.lock().map(|last| last.clone()).unwrap_or_default();
            stream::select_all(containers.iter().map(|c| {
                let after = last.get(&(c.service.clone(), c.replica)).copied();
                self.follow(c, after.or(options.since)).boxed()
            }))
        });
        history.chain(following.flatten()).boxed()
    }

    /// What there is of a container's log.
    fn history<'a>(
        &'a self,
        container: &'a Container,
        options: &LogOptions,
    ) -> BoxStream<'a, Result<LogLine>> {
        let mut request = LogsOptionsBuilder::new();
        if let Some(since) = options.since {
            request = request.since(whole_seconds(since));
        }
        if let Some(tail) = options.tail {
            request = request.tail(&tail.to_string());
        }
        let since = options.since;
        bounded(self.lines(container, request))
            .filter(move |line| {
                let wanted =
                    since.is_none_or(|since| line.as_ref().map_or(true, |l| l.at >= since));
                async move { wanted }
            })
            .boxed()
    }

    /// New lines, those after `after` (exclusive), across Docker's restarts, until the container
    /// has ended.
    pub(super) fn follow<'a>(
        &'a self,
        container: &'a Container,
        after: Option<DateTime<Utc>>,
    ) -> impl Stream<Item = Result<LogLine>> + Send + 'a {
        let open = move |after: Option<DateTime<Utc>>| {
            let request = LogsOptionsBuilder::new()
                .follow(true)
                .since(after.map_or(0, whole_seconds));
            self.lines(container, request)
        };
        stream::unfold(
            (open(after), after),
            move |(mut lines, mut after)| async move {
                loop {
                    match lines.next().await {
                        Some(Ok(line)) if after.is_some_and(|after| line.at <= after) => {}
                        Some(Ok(line)) => {
                            after = Some(line.at);
                            return Some((Ok(line), (lines, after)));
                        }
                        Some(Err(e)) => return Some((Err(e), (stream::empty().boxed(), after))),
                        None => {
                            if !self.goes_on(container).await {
                                return None;
                            }
                            lines = open(after);
                        }
                    }
                }
            },
        )
    }

    /// Whether a container whose log stream ended will write again. Waits for it to.
    async fn goes_on(&self, container: &Container) -> bool {
        tokio::time::sleep(Duration::from_millis(100)).await;
        match self.inspect(&container.id).await {
            Ok(Some(now)) => {
                matches!(
                    now.state,
                    State::Running | State::Paused | State::Restarting
                )
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// Shows each line of a container's current run (or of its last one) to `each`, by time, until
    /// it breaks off: memory stays bounded however long the log is.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) async fn scan_since_start(
        &self,
        container: &Container,
        mut each: impl FnMut(LogLine) -> ControlFlow<()>,
    ) -> Result<Scanned> {
        let mut seen = rotation::Seen::default();
        let Some(began) = container.run_began() else {
            return Ok(Scanned {
                lines: 0,
                start_lost: false,
            });
        };
        let request = LogsOptionsBuilder::new().since(whole_seconds(began));
        let mut lines = bounded(self.lines(container, request));
        while let Some(line) = lines.next().await {
            let line = line?;
            if line.at < began {
                continue;
            }
            seen.add(&line);
            if each(line).is_break() {
                break;
            }
        }
        drop(lines);
        let start_lost = seen.is_late(began) && self.rotates(container, seen).await?;
        Ok(Scanned {
            lines: seen.lines,
            start_lost,
        })
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

    /// A container's lines as Docker has them: stdout and stderr, partial ones joined.
    fn lines<'a>(
        &'a self,
        container: &'a Container,
        request: LogsOptionsBuilder,
    ) -> BoxStream<'a, Result<LogLine>> {
        let request = request.stdout(true).stderr(true).timestamps(true).build();
        let frames = self.docker.logs(&container.id, Some(request));
        let mut joiner = Joiner::default();
        frames
            .filter_map(move |frame| {
                let line = match frame {
                    Ok(frame) => joiner.add(frame).map(|(at, text)| {
                        Ok(LogLine {
                            service: container.service.clone(),
                            replica: container.replica,
                            at,
                            text,
                        })
                    }),
                    Err(e) => Some(Err(failed(
                        &format!("read the log of {}", container.name),
                        &e,
                    ))),
                };
                async move { line }
            })
            .boxed()
    }
}

/// Docker takes `since` in whole seconds.
fn whole_seconds(at: DateTime<Utc>) -> i32 {
    i32::try_from(at.timestamp()).unwrap_or(0)
}

/// Ends a read that stalls, with an error.
fn bounded<'a>(lines: BoxStream<'a, Result<LogLine>>) -> BoxStream<'a, Result<LogLine>> {
    let next = |mut lines: BoxStream<'a, Result<LogLine>>| async move {
        match tokio::time::timeout(CALL, lines.next()).await {
            Ok(line) => line.map(|line| (line, lines)),
            Err(_) => Some((Err(timed_out("read a log", CALL)), stream::empty().boxed())),
        }
    };
    stream::unfold(lines, next).boxed()
}

/// Several streams, each by time, as one by time.
fn merge<'a>(sources: Vec<BoxStream<'a, Result<LogLine>>>) -> BoxStream<'a, Result<LogLine>> {
    let sources: Vec<_> = sources
        .into_iter()
        .map(|s| Box::pin(s.peekable()))
        .collect();
    let next = |mut sources: Vec<Peeked<'a>>| async move {
        let heads = join_all(sources.iter_mut().map(|source| source.as_mut().peek())).await;
        // An error goes first: what comes after it is not in order any more.
        let time = |head: &Result<LogLine>| head.as_ref().map_or(DateTime::UNIX_EPOCH, |l| l.at);
        let heads = heads.into_iter().enumerate();
        let times = heads.filter_map(|(i, head)| Some((time(head?), i)));
        let (_, first) = times.min()?;
        let line = sources[first].next().await?;
        Some((line, sources))
    };
    stream::unfold(sources, next).boxed()
}

/// Puts lines together that Docker split (it does at 16 KiB); stdout and stderr interleave.
#[derive(Debug, Default)]
struct Joiner {
    /// Begun lines of stdout and stderr.
    begun: [Option<(DateTime<Utc>, String)>; 2],
}

impl Joiner {
    /// A frame is `TIMESTAMP text`, with a line feed at its end unless the line goes on.
    fn add(&mut self, frame: LogOutput) -> Option<(DateTime<Utc>, String)> {
        let slot = usize::from(matches!(frame, LogOutput::StdErr { .. }));
        let text = String::from_utf8_lossy(frame.as_ref());
        let (at, text) = text.split_once(' ').unwrap_or((&text, ""));
        let at = DateTime::parse_from_rfc3339(at.trim_end()).ok()?.to_utc();
        let (at, mut line) = self.begun[slot].take().unwrap_or((at, String::new()));
        let room = LONGEST_LINE.saturating_sub(line.len());
        let (piece, ends) = match text.strip_suffix('\n') {
            Some(piece) => (piece, true),
            None => (text, false),
        };
        line.push_str(&piece[..piece.floor_char_boundary(room.min(piece.len()))]);
        if ends {
            line.truncate(line.trim_end_matches('\r').len());
            return Some((at, line));
        }
        self.begun[slot] = Some((at, line));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> LogOutput {
        LogOutput::StdOut {
            message: text.to_owned().into(),
        }
    }

    fn line(service: &str, second: u32) -> Result<LogLine> {
        Ok(LogLine {
            service: service.to_owned(),
            replica: 1,
            at: DateTime::from_timestamp(i64::from(second), 0).expect("in range"),
            text: second.to_string(),
        })
    }

    #[test]
    fn split_lines_are_joined_within_their_stream() {
        let mut joiner = Joiner::default();
        assert_eq!(joiner.add(frame("2026-01-01T00:00:00.1Z one, ")), None);
        let other = LogOutput::StdErr {
            message: "2026-01-01T00:00:00.2Z aside\n".into(),
        };
        assert_eq!(
            joiner.add(other).map(|(_, text)| text).as_deref(),
            Some("aside")
        );
        let (at, text) = joiner
            .add(frame("2026-01-01T00:00:00.3Z two\n"))
            .expect("ends");
        assert_eq!(text, "one, two");
        assert_eq!(at.timestamp_subsec_millis(), 100);
    }

    #[test]
    fn an_empty_line_is_a_line() {
        let mut joiner = Joiner::default();
        let (_, text) = joiner
            .add(frame("2026-01-01T00:00:00Z \n"))
            .expect("a line");
        assert_eq!(text, "");
    }

    #[tokio::test]
    async fn several_logs_are_one_by_time() {
        let a = stream::iter([line("a", 1), line("a", 4)]).boxed();
        let b = stream::iter([line("b", 2), line("b", 3), line("b", 5)]).boxed();
        let merged: Vec<_> = merge(vec![a, b]).collect().await;
        let texts: Vec<_> = merged
            .into_iter()
            .map(|l| l.expect("a line").text)
            .collect();
        assert_eq!(texts, ["1", "2", "3", "4", "5"]);
    }
}
