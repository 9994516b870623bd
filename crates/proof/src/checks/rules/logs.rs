//! Logs: each replica printed its startup line since its last start and no forbidden line, and few of its
//! recent lines are at level error.

use chrono::{DateTime, TimeDelta, Utc};

use super::health;
use crate::{
    checks::{
        check::Check,
        context::CheckContext,
        finding::{Outcome, Status},
        ids,
        observe::{
            ObservationError,
            logs::{ContainerLog, FIRST, LAST, Recent, Repeated},
            services,
        },
    },
    stores::http::Answer,
};
use declaration::{Http, Pipeline, Service, units};
use diagnostics::Result;
use platform::Container;

/// An outage is over if no line at level error came for so long. What retries does so more often, and
/// what works again may print nothing.
const OVER: TimeDelta = TimeDelta::seconds(30);
/// A forbidden line is a failure for so long, and then a warning if the service goes on.
const HANDLED: TimeDelta = TimeDelta::minutes(5);
/// After so long it is no more than mentioned.
const FORGOTTEN: TimeDelta = TimeDelta::hours(24);
/// The share of lines at level error, in percent, that is allowed if none is declared.
const LIMIT: f64 = 10.0;
/// Fewer errors are ignored, unless the declared share is 0.
const LEAST: usize = 3;
/// Without a health check, a container may take so many seconds to print its startup line.
const STARTING: i64 = 5;
/// How many errors are shown.
const SHOWN: usize = 5;

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let services = pipeline.services.iter();
    services.flat_map(|s| of_service(pipeline, s)).collect()
}

fn of_service<'a>(pipeline: &'a Pipeline, service: &'a Service) -> Vec<Check<'a>> {
    let deployed = || [ids::deployed(pipeline, service)];
    let mut checks = Vec::new();
    if let (Some(id), Some(line)) = (ids::started(service), &service.startup) {
        let has_started = async move |context: &CheckContext<'_>| {
            let containers = context.observed.containers_of(service).await;
            let logs = context.observed.logs(service).await;
            let outcome = match started(service, logs, &containers, Utc::now()) {
                Startup::Judged(outcome) => outcome,
                Startup::Lost(containers, why) => without_log(service, &containers, &why).await,
            };
            // A restart would only write the line again.
            match outcome.status {
                Status::Fail => context.remedied(outcome, &service.name).await,
                _ => outcome,
            }
        };
        let expected = format!("{line} since this start");
        checks.push(Check::new(id, expected, has_started).needs(deployed()));
    }
    let works = processes_messages(pipeline, service);
    if works && !pipeline.forbidden_logs.is_empty() {
        let is_clean = async move |context: &CheckContext<'_>| {
            let logs = context.command(&format!("logs {}", service.name));
            let read = context.observed.logs(service).await;
            let outcome = clean(read, &logs, Utc::now());
            match outcome.status {
                Status::Warn if read.iter().any(Result::is_err) => outcome,
                // It is over: a restart would only remove the evidence.
                Status::Warn => outcome.hint(logs),
                Status::Pass | Status::Fail | Status::Skip => {
                    context.remedied(outcome, &service.name).await
                }
            }
        };
        let id = ids::CLEAN.of(&service.name);
        let check = Check::new(id, "no forbidden line since this start", is_clean);
        checks.push(check.explained_by(deployed()));
    }
    if works && !service.is_one_shot(pipeline) {
        let has_few_errors = async move |context: &CheckContext<'_>| errors(context, service).await;
        let id = ids::ERRORS.of(&service.name);
        let check = Check::new(id, expected_errors(pipeline.error_logs), has_few_errors);
        checks.push(check.warning().explained_by(deployed()));
    }
    let checks = checks.into_iter().map(|check| {
        check
            .explained_by(ids::dependencies_and_calls(pipeline, service))
            .possible_causes([ids::as_declared(service)])
    });
    checks.collect()
}

/// Infrastructure logs in its own way. A service that processes messages must not panic.
fn processes_messages(pipeline: &Pipeline, service: &Service) -> bool {
    let works = service.startup.is_some()
        || service.group.is_some()
        || service.http.is_some()
        || service.is_one_shot(pipeline);
    works && service.ready.is_none()
}

/// Whether each running container printed the startup line.
enum Startup<'a> {
    Judged(Outcome),
    /// The line of these may be there and cannot be read, for this reason, or it never came; the others
    /// printed it.
    Lost(Vec<&'a Container>, String),
}

fn started<'a>(
    service: &Service,
    logs: &[Result<ContainerLog>],
    containers: &[&'a Container],
    now: DateTime<Utc>,
) -> Startup<'a> {
    let mut lost = Vec::new();
    let mut seen = "printed".to_owned();
    let unread = logs.iter().find_map(|log| log.as_ref().err());
    if let Some(why) = unread {
        let running = containers.iter().copied();
        let running = running.filter(|c| c.has_processes()).collect();
        return Startup::Lost(running, why.to_string());
    }
    for log in logs.iter().flatten().filter(|log| log.runs && !log.started) {
        let container = containers.iter().copied().find(|c| c.id == log.id);
        if let Some(age) = container.and_then(|c| starting_for(service, c, now)) {
            seen = format!("starting for {age}s");
        } else if let Some(container) = container.filter(|_| log.start_lost) {
            lost.push(container);
        } else {
            let seen = format!("{}: not among its {} lines", log.container, log.lines);
            return Startup::Judged(Outcome::fail(seen));
        }
    }
    match lost.is_empty() {
        true => Startup::Judged(Outcome::pass(seen)),
        false => Startup::Lost(lost, ROTATED.to_owned()),
    }
}

/// For how many seconds a container has been starting: as long as Docker's health check says so, or, without
/// one, for a few seconds. One that its restart policy started has failed before.
fn starting_for(service: &Service, container: &Container, now: DateTime<Utc>) -> Option<i64> {
    if container.restart_count > 0 {
        return None;
    }
    match &service.healthcheck {
        Some(healthcheck) => health::starting_for(container, healthcheck, now),
        None => {
            let age = (now - container.started_at?).num_seconds();
            (age < STARTING).then_some(age)
        }
    }
}

/// The start of the log was rotated away, which busy services reach every day, or the logging driver cannot be
/// read: the service's readiness counts instead, or its health check.
async fn without_log(service: &Service, containers: &[&Container], why: &str) -> Outcome {
    let healthy = |c: &&Container| c.health.as_ref().is_some_and(|h| h.status == "healthy");
    match &service.http {
        Some(http) => ready_instead(http, why, services::ready_of_busy(http).await),
        None if containers.iter().all(healthy) => {
            Outcome::pass(format!("{why}; its health check passes"))
        }
        None => Outcome::warn(format!("unknown: {why}")),
    }
}

const ROTATED: &str = "the log of this start was rotated away";

fn ready_instead(http: &Http, why: &str, answer: Result<Answer, ObservationError>) -> Outcome {
    let path = &http.ready;
    match answer {
        Ok(answer) if answer.status == http.status => {
            Outcome::pass(format!("{why}; it reports that it is ready"))
        }
        Ok(answer) => Outcome::fail(format!("{why}; {path} answers {}", answer.status)),
        Err(error) => Outcome::fail(format!("{why}; {path}: {error}")),
    }
}

/// No container printed a forbidden line. `more` is the command that shows the lines around it.
///
/// One of a while ago is a warning: the service has gone on since.
fn clean(logs: &[Result<ContainerLog>], more: &str, now: DateTime<Utc>) -> Outcome {
    if logs.is_empty() {
        return Outcome::fail("not deployed");
    }
    let mut forbidden = Vec::new();
    let (mut lines, mut partial, mut continued) = (0, false, true);
    for log in logs {
        match log {
            Err(e) => return Outcome::warn(format!("unknown: {e}")),
            Ok(log) => {
                forbidden.extend(log.forbidden.iter().cloned());
                lines += log.lines;
                partial |= log.partial;
                continued &= log.continued;
            }
        }
    }
    let read = match partial {
        false if continued => format!("{lines} new lines"),
        false => format!("{lines} lines"),
        true if continued => format!("the last {lines} lines"),
        true => format!("the first {FIRST} and last {LAST} lines"),
    };
    let Some(last) = forbidden.iter().map(|(at, _)| *at).max() else {
        return Outcome::pass(read);
    };
    let ago = (now - last).to_std().unwrap_or_default();
    let count = format!("{} forbidden", forbidden.len());
    let seen = format!("{count}, the last {} ago", units::coarse(ago));
    let lines = forbidden.into_iter().map(|(_, text)| text);
    let around = [format!("around them: {more}")];
    match now - last {
        age if age <= HANDLED => Outcome::fail(count).evidence(lines).evidence(around),
        age if age <= FORGOTTEN => Outcome::warn(seen).evidence(lines).evidence(around),
        _ => Outcome::pass(format!("{read}; {seen}")),
    }
}

async fn errors(context: &CheckContext<'_>, service: &Service) -> Outcome {
    let logs = context.observed.logs(service).await;
    if logs.is_empty() {
        return Outcome::fail("not deployed").hint(context.remedy(&service.name).await);
    }
    let mut recent = Vec::new();
    for log in logs {
        match log {
            Err(e) => return Outcome::fail(format!("unknown: {e}")),
            Ok(log) => recent.push(&log.recent),
        }
    }
    let more = context.command(&format!("logs {} --since 5m", service.name));
    few_errors(&recent, context.pipeline.error_logs, Utc::now()).hint(more)
}

fn expected_errors(limit: Option<f64>) -> String {
    match limit.unwrap_or(LIMIT) {
        0.0 => "no line at level error".to_owned(),
        limit => format!("at most {limit}% of lines at level error"),
    }
}

fn few_errors(recent: &[&Recent], limit: Option<f64>, now: DateTime<Utc>) -> Outcome {
    let limit = limit.unwrap_or(LIMIT);
    let lines: usize = recent.iter().map(|r| r.lines).sum();
    let mut errors: Vec<&Repeated> = recent.iter().flat_map(|r| r.errors.values()).collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.at));
    let count: usize = errors.iter().map(|error| error.times).sum();
    let Some(last) = errors.first().map(|error| error.at) else {
        return Outcome::pass(format!("none of {lines} in 5m"));
    };
    let ago = (now - last).num_seconds().max(0);
    let seen = format!("{count} of {lines} in 5m, the last {ago}s ago");
    let over = now - last > OVER;
    let least = if limit > 0.0 { LEAST } else { 1 };
    #[expect(clippy::cast_precision_loss, reason = "a share of some thousand lines")]
    let share = 100.0 * count as f64 / lines as f64;
    if over || count < least || share <= limit {
        return Outcome::pass(seen);
    }
    let shown = errors.iter().take(SHOWN).map(|error| match error.times {
        1 => error.text.clone(),
        n => format!("{n} times, the last: {}", error.text),
    });
    Outcome::fail(seen).evidence(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::LogLine;

    /// Lines so many seconds ago.
    fn wrote(lines: &[(i64, &str)]) -> (Recent, DateTime<Utc>) {
        let now = Utc::now();
        let mut recent = Recent::default();
        for (ago, text) in lines {
            let line = LogLine {
                service: "billing".to_owned(),
                container: "billing".into(),
                at: now - TimeDelta::seconds(*ago),
                text: (*text).to_owned(),
            };
            recent.read(&line, now, text.contains("allowed"));
        }
        (recent, now)
    }

    fn judged(lines: &[(i64, &str)], limit: Option<f64>) -> Status {
        let (recent, now) = wrote(lines);
        few_errors(&[&recent], limit, now).status
    }

    const FAILED: &str = "ERROR order 17 of 3f2504e0-4f89 failed";
    const FINE: &str = "INFO billed";

    #[test]
    fn a_forbidden_line_ages_while_the_service_goes_on() {
        let now = Utc::now();
        let judged = |ago: &[i64]| {
            let forbidden = ago.iter().map(|ago| {
                let at = now - TimeDelta::minutes(*ago);
                (at, format!("api: Traceback of {ago} m ago"))
            });
            let log = ContainerLog {
                forbidden: forbidden.collect(),
                lines: 40,
                ..ContainerLog::default()
            };
            let outcome = clean(&[Ok(log)], "caravan logs api", now);
            (outcome.status, outcome.seen)
        };
        assert_eq!(judged(&[]), (Status::Pass, "40 lines".to_owned()));
        assert_eq!(judged(&[90, 2]), (Status::Fail, "2 forbidden".to_owned()));
        let aged = "1 forbidden, the last 2h ago".to_owned();
        assert_eq!(judged(&[130]), (Status::Warn, aged));
        let old = "40 lines; 1 forbidden, the last 25h ago".to_owned();
        assert_eq!(judged(&[25 * 60]), (Status::Pass, old));
    }

    #[test]
    fn errors_count_from_a_share_on() {
        let three = [(9, FAILED), (8, FAILED), (7, FAILED)];
        assert_eq!(judged(&three, None), Status::Fail);
        assert_eq!(judged(&three[..2], None), Status::Pass);
        assert_eq!(judged(&three[..1], Some(0.0)), Status::Fail);
        let mut many = vec![(6, FINE); 27];
        many.extend(three);
        assert_eq!(judged(&many, None), Status::Pass);
        assert_eq!(judged(&many, Some(5.0)), Status::Fail);
        assert_eq!(judged(&[(1, FINE)], Some(0.0)), Status::Pass);
        assert_eq!(judged(&[], None), Status::Pass);
    }

    #[test]
    fn a_startup_line_is_awaited_while_a_container_starts() {
        let service = platform::testing::depending("web", &[]);
        let now = Utc::now();
        let judged = |age, restart_count, start_lost| {
            let mut container = platform::testing::container("web", 1);
            container.started_at = Some(now - TimeDelta::seconds(age));
            container.restart_count = restart_count;
            let log = ContainerLog {
                id: container.id.clone(),
                runs: true,
                start_lost,
                ..ContainerLog::default()
            };
            match started(&service, &[Ok(log)], &[&container], now) {
                Startup::Judged(outcome) => Some(outcome.status),
                Startup::Lost(..) => None,
            }
        };
        assert_eq!(judged(2, 0, false), Some(Status::Pass));
        assert_eq!(judged(2, 1, false), Some(Status::Fail), "it failed before");
        assert_eq!(judged(9, 0, false), Some(Status::Fail));
        assert_eq!(judged(9, 0, true), None, "log rotation removed its line");
    }

    #[test]
    fn old_and_allowed_lines_and_errors_that_ended_do_not_count() {
        let failed = |ago| [(ago + 2, FAILED), (ago + 1, FAILED), (ago, FAILED)];
        assert_eq!(judged(&failed(301), None), Status::Pass);
        assert_eq!(judged(&[(1, "ERROR allowed"); 3], None), Status::Pass);
        assert_eq!(judged(&failed(31), None), Status::Pass);
        assert_eq!(judged(&failed(29), None), Status::Fail);
    }

    #[test]
    fn repeated_lines_are_shown_once_the_newest_first() {
        let (recent, now) = wrote(&[
            (9, "ERROR order 17 of 3f2504e0-4f89 failed"),
            (8, "ERROR no stock"),
            (7, "ERROR order 18 of 6b29fc40-ca47 failed"),
        ]);
        let outcome = few_errors(&[&recent], None, now);
        assert_eq!(outcome.seen, "3 of 3 in 5m, the last 7s ago");
        assert_eq!(
            outcome.evidence,
            [
                "2 times, the last: billing: ERROR order 18 of 6b29fc40-ca47 failed",
                "billing: ERROR no stock",
            ]
        );
    }
}
