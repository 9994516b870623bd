//! Follows logs across restarts, and across containers that replace or join others.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bollard::query_parameters::{EventsOptionsBuilder, LogsOptionsBuilder};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{
    Stream, StreamExt, future,
    stream::{self, BoxStream},
};

use super::{
    lines::{Lines, last, whole_seconds},
    live::Live,
    merge::{Merge, Merged},
    narrow, own_tail, request,
    shown::Log,
};
use crate::{connect::Engine, labels, observe::of_a_project};
use diagnostics::Result;
use platform::{Container, LogLine, LogOptions, OnLostLines, State};

/// Name of the subscription to start events, for errors.
const STARTS: &str = "report container starts";
/// Between the end of a log and the inspection of its container.
const INSPECT_DELAY: Duration = Duration::from_millis(100);

impl Engine {
    /// Lines of these containers, then new lines of all present and future containers of the `services` (of
    /// all, if none is named). The stream ends only with an error of Docker. `lost` is called with a
    /// container's name if rotation deleted lines before they were read.
    pub(crate) fn follow_services(
        &self,
        project: &str,
        services: Vec<String>,
        containers: &[Container],
        options: LogOptions,
        lost: OnLostLines,
    ) -> BoxStream<'static, Result<LogLine>> {
        let mut following = Following {
            engine: self.clone(),
            services,
            options,
            lost,
            merge: Merge::new(true),
            starts: self.starts(project),
            logs: HashMap::new(),
        };
        for container in containers {
            following.begin(container, true);
        }
        let next = |mut following: Following| async move {
            let line = following.next().await;
            Some((line, following))
        };
        stream::unfold(following, next).boxed()
    }

    /// Ids of the project's containers as they start, from shortly before now.
    fn starts(&self, project: &str) -> BoxStream<'static, Result<String>> {
        let label = format!("{}={project}", labels::PROJECT);
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("event", vec!["start".to_owned()]),
            ("label", of_a_project(&label)),
        ]);
        let since = (Utc::now() - TimeDelta::seconds(5)).timestamp().to_string();
        let options = EventsOptionsBuilder::new()
            .since(&since)
            .filters(&filters)
            .build();
        let events = self.docker.events(Some(options));
        let engine = self.clone();
        events
            .filter_map(move |event| {
                future::ready(match event {
                    Ok(event) => event.actor.and_then(|actor| actor.id).map(Ok),
                    Err(e) => Some(Err(engine.refused(STARTS, &e))),
                })
            })
            .boxed()
    }

    /// New lines of one container after `after` (exclusive), across Docker's restarts, until it exits.
    pub(crate) fn follow<'a>(
        &'a self,
        container: &'a Container,
        after: Option<DateTime<Utc>>,
    ) -> impl Stream<Item = Result<LogLine>> + Send + 'a {
        let log = Log::default();
        let lines = self.read_on(container, &log, after);
        stream::unfold((lines, log), move |(mut lines, log)| async move {
            loop {
                if let Some(line) = lines.next().await {
                    return Some((line, (lines, log)));
                }
                if !self.goes_on(container).await {
                    return None;
                }
                lines = self.read_on(container, &log, after);
            }
        })
    }

    /// Whether a container whose log ended runs or will be restarted by Docker.
    async fn goes_on(&self, container: &Container) -> bool {
        tokio::time::sleep(INSPECT_DELAY).await;
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

    /// Continues a log where reading ended, else after `after`, until the container's run ends.
    fn read_on(&self, container: &Container, log: &Log, after: Option<DateTime<Utc>>) -> Lines {
        let mut shown = log.shown();
        let since = shown.since().or(after).map_or(0, whole_seconds);
        let request = LogsOptionsBuilder::new().follow(true).since(since);
        let new = move |line: &Result<LogLine>| {
            let new =
                |line: &LogLine| after.is_none_or(|after| line.at > after) && !shown.take(line.at);
            future::ready(line.as_ref().map_or(true, new))
        };
        log.noting(self.lines(container, request).filter(new).boxed())
    }
}

/// The followed logs of a project's containers.
struct Following {
    engine: Engine,
    services: Vec<String>,
    options: LogOptions,
    lost: OnLostLines,
    merge: Merge,
    starts: BoxStream<'static, Result<String>>,
    /// By container id.
    logs: HashMap<String, Followed>,
}

struct Followed {
    log: Log,
    /// Whether `merge` has it.
    open: bool,
    /// Its container was started while this was open: the open log may be the previous run's.
    again: bool,
}

impl Following {
    async fn next(&mut self) -> Result<LogLine> {
        loop {
            tokio::select! {
                Some(merged) = self.merge.next(), if !self.merge.is_empty() => match merged {
                    Merged::Line(line) => return line,
                    Merged::Ended(id) => self.ended(&id).await?,
                },
                started = self.starts.next() => match started {
                    Some(id) => self.started(&id?).await?,
                    None => return Err(self.engine.lost(STARTS, "its stream of events ended")),
                },
            }
        }
    }

    /// Reads a container's log for the first time, from its last lines or its beginning on.
    fn begin(&mut self, container: &Container, tail: bool) {
        let mut options = self.options.clone();
        options.tail = options.tail.filter(|_| tail);
        let log = Log::default();
        let stored = self.engine.lines(container, request(&options));
        let mut first = narrow(&options, log.noting(stored));
        if let Some(count) = own_tail(&options) {
            first = last(first, count);
        }
        let followed = Followed {
            log,
            open: false,
            again: false,
        };
        self.logs.insert(container.id.clone(), followed);
        self.open(container, first);
    }

    /// Continues with the lines that are written after `first`.
    fn open(&mut self, container: &Container, first: Lines) {
        let Some(followed) = self.logs.get_mut(&container.id) else {
            return;
        };
        (followed.open, followed.again) = (true, false);
        let options = self.options.clone();
        let (log, lost) = (followed.log.clone(), Arc::clone(&self.lost));
        let lines = Live::lines(&self.engine, container, options, log, lost, first);
        self.merge.add(container.id.clone(), lines);
    }

    async fn started(&mut self, id: &str) -> Result<()> {
        match self.logs.get_mut(id) {
            Some(followed) if followed.open => followed.again = true,
            Some(_) => self.reopen(id).await?,
            None => {
                if let Some(container) = self.engine.inspect(id).await?
                    && self.concerns(&container)
                    && !self.engine.inherits(&container).await?
                {
                    self.begin(&container, false);
                }
            }
        }
        Ok(())
    }

    fn concerns(&self, container: &Container) -> bool {
        let one_off = container.labels.get(labels::ONEOFF);
        let named = self.services.is_empty() || self.services.contains(&container.service);
        named && one_off.is_none_or(|v| v != "True")
    }

    /// A log ends with its container's run; the next one begins with a start.
    async fn ended(&mut self, id: &str) -> Result<()> {
        let Some(followed) = self.logs.get_mut(id) else {
            return Ok(());
        };
        followed.open = false;
        if followed.again {
            return self.reopen(id).await;
        }
        tokio::time::sleep(INSPECT_DELAY).await;
        match self.engine.inspect(id).await? {
            Some(now) if matches!(now.state, State::Running | State::Paused) => {
                self.reopen(id).await
            }
            Some(_) => Ok(()),
            None => {
                self.logs.remove(id);
                Ok(())
            }
        }
    }

    async fn reopen(&mut self, id: &str) -> Result<()> {
        match self.engine.inspect(id).await? {
            Some(container) => self.open(&container, stream::empty().boxed()),
            None => drop(self.logs.remove(id)),
        }
        Ok(())
    }
}
