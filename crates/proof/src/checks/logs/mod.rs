//! Logs: each replica printed its startup line since this start, and nothing forbidden; few of its last
//! lines are about errors.

mod errors;
mod level;

use chrono::{DateTime, Utc};
use futures_util::{TryStreamExt, future::join_all};

use super::{check::Check, facts::Facts, finding::Outcome, ids};
use crate::stores::{TIMEOUT, http};
use declaration::{Pattern, Pipeline, Service};
use diagnostics::Result;
use platform::{Container, LogLine, LogOptions, State};

/// Of a longer log, so many lines at its beginning are read, and so many at its end: Docker takes
/// as long over two thousand as over all other questions of `verify`.
const FIRST: usize = 500;
const LAST: usize = 2_000;

/// How many forbidden lines are shown, and how much of each.
const SHOWN: usize = 10;
const WIDTH: usize = 300;

/// What the log of one container's current run (or last one) told.
#[derive(Debug, Default)]
pub(super) struct Read {
    container: String,
    /// It runs now.
    runs: bool,
    started: bool,
    forbidden: Vec<String>,
    lines: usize,
    recent: errors::Recent,
    /// Lines between the first and the last ones were not read.
    partial: bool,
    /// Rotation has eaten the beginning.
    start_lost: bool,
}

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let services = pipeline.services.iter();
    services.flat_map(|s| of_service(pipeline, s)).collect()
}

fn of_service<'a>(pipeline: &'a Pipeline, service: &'a Service) -> Vec<Check<'a>> {
    let deployed = ids::deployed(pipeline, service);
    let works_on = || ids::works_on(pipeline, service);
    let drift = || [ids::as_declared(&service.name)];
    let mut checks = Vec::new();
    if let Some(line) = &service.startup {
        let started = async move |facts: &Facts<'_>| started(facts, service).await;
        let id = format!("logs.{}.started", service.name);
        let check = Check::new(id, format!("{line} since this start"), started);
        let check = check.needs([&deployed]).follows(works_on());
        checks.push(check.suspects(drift()));
    }
    if works_on_payments(pipeline, service) && !pipeline.forbidden_logs.is_empty() {
        let clean = async move |facts: &Facts<'_>| clean(facts, service).await;
        let id = format!("logs.{}.clean", service.name);
        let check = Check::new(id, "no forbidden line since this start", clean);
        let check = check.follows([&deployed]).follows(works_on());
        checks.push(check.suspects(drift()));
    }
    if works_on_payments(pipeline, service) && !service.is_one_shot(pipeline) {
        let errors = async move |facts: &Facts<'_>| errors::check(facts, service).await;
        let id = format!("logs.{}.errors", service.name);
        let check = Check::new(id, errors::expected(pipeline.error_logs), errors);
        let check = check.warning().follows([deployed]).follows(works_on());
        checks.push(check.suspects(drift()));
    }
    checks
}

/// Infrastructure logs in its own way; what works on payments must not panic.
fn works_on_payments(pipeline: &Pipeline, service: &Service) -> bool {
    let works = service.startup.is_some()
        || service.group.is_some()
        || service.http.is_some()
        || service.is_one_shot(pipeline);
    works && service.ready.is_none()
}

/// The logs of all containers of a service.
pub(super) async fn read_all(facts: &Facts<'_>, service: &Service) -> Vec<Result<Read>> {
    let own = facts.of(service).await;
    join_all(own.into_iter().map(|c| read(facts, service, c))).await
}

/// One pass over the beginning of the log and, if it is long, another over its end.
async fn read(facts: &Facts<'_>, service: &Service, container: &Container) -> Result<Read> {
    let mut read = Read {
        container: container.name.clone(),
        runs: matches!(container.state, State::Running | State::Paused),
        ..Read::default()
    };
    let pipeline = facts.pipeline;
    let (forbidden, allowed) = (&pipeline.forbidden_logs, &pipeline.allowed_logs);
    let sought = Sought {
        startup: service.startup.as_ref(),
        forbidden,
        allowed,
        now: Utc::now(),
    };
    let mut look = |line| {
        read.look(&line, &sought);
        read.started
    };
    let scanned = facts
        .engine
        .scan_beginning(container, FIRST, &mut look)
        .await?;
    read.start_lost = scanned.start_lost;
    if !scanned.partial {
        return Ok(read);
    }
    read.partial = true;
    // The last lines are read now, those that were read already among them.
    read.recent = errors::Recent::default();
    let options = LogOptions {
        tail: Some(LAST),
        since: container.run_began(),
        ..LogOptions::default()
    };
    let containers = std::slice::from_ref(container);
    let mut last = facts.engine.logs(containers, &options);
    while let Some(line) = last.try_next().await? {
        read.look(&line, &sought);
    }
    Ok(read)
}

/// What is looked for in a log.
struct Sought<'a> {
    startup: Option<&'a Pattern>,
    forbidden: &'a [Pattern],
    allowed: &'a [Pattern],
    now: DateTime<Utc>,
}

impl Read {
    fn look(&mut self, line: &LogLine, sought: &Sought<'_>) {
        self.lines += 1;
        let has = |patterns: &[Pattern]| patterns.iter().any(|p| p.matches(&line.text));
        self.started |= sought.startup.is_some_and(|p| p.matches(&line.text));
        let allowed = has(sought.allowed);
        self.recent.look(line, sought.now, allowed);
        if self.forbidden.len() < SHOWN && !allowed && has(sought.forbidden) {
            let text: String = line.text.chars().take(WIDTH).collect();
            let text = format!("{}: {text}", self.container);
            // The end of a log may be its beginning as well.
            if !self.forbidden.contains(&text) {
                self.forbidden.push(text);
            }
        }
    }
}

async fn started(facts: &Facts<'_>, service: &Service) -> Outcome {
    let outcome = has_started(facts, service).await;
    facts.remedied(outcome, &service.name).await
}

async fn has_started(facts: &Facts<'_>, service: &Service) -> Outcome {
    let mut lost = false;
    let logs = facts.logs(service).await.iter();
    for read in logs.filter(|read| read.as_ref().map_or(true, |r| r.runs)) {
        match read {
            Err(e) => return Outcome::fail(format!("cannot be told: {e}")),
            Ok(read) if read.started => {}
            Ok(read) if read.start_lost => lost = true,
            Ok(read) => {
                let seen = format!("{}: not among its {} lines", read.container, read.lines);
                return Outcome::fail(seen);
            }
        }
    }
    if lost {
        return rotated(service).await;
    }
    Outcome::pass("printed")
}

/// The line was there, or never: the service's own word is the evidence, where it has one. A busy
/// service comes here every day, so that its word is enough.
async fn rotated(service: &Service) -> Outcome {
    const SEEN: &str = "the log of this start was rotated away";
    let Some(declared) = &service.http else {
        return Outcome::warn(SEEN);
    };
    let path = &declared.ready;
    match http::get(&declared.ready_url(), TIMEOUT).await {
        Ok(answer) if answer.status == declared.status => {
            Outcome::pass(format!("{SEEN}; it says it is ready"))
        }
        Ok(answer) => Outcome::fail(format!("{SEEN}; {path} answers {}", answer.status)),
        Err(why) => Outcome::fail(format!("{SEEN}; {path}: {why}")),
    }
}

async fn clean(facts: &Facts<'_>, service: &Service) -> Outcome {
    let outcome = is_clean(facts, service).await;
    facts.remedied(outcome, &service.name).await
}

async fn is_clean(facts: &Facts<'_>, service: &Service) -> Outcome {
    let logs = facts.logs(service).await;
    if logs.is_empty() {
        return Outcome::fail("not deployed");
    }
    let mut forbidden = Vec::new();
    let (mut lines, mut partial) = (0, false);
    for read in logs {
        match read {
            Err(e) => return Outcome::fail(format!("cannot be told: {e}")),
            Ok(read) => {
                forbidden.extend(read.forbidden.iter().cloned());
                lines += read.lines;
                partial |= read.partial;
            }
        }
    }
    if !forbidden.is_empty() {
        let logs = facts.command(&format!("logs {}", service.name));
        return Outcome::fail(format!("{} forbidden", forbidden.len()))
            .evidence(forbidden)
            .evidence([format!("around them: {logs}")]);
    }
    Outcome::pass(match partial {
        false => format!("{lines} lines"),
        true => format!("the first {FIRST} and last {LAST} lines"),
    })
}
