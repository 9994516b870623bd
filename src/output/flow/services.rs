//! A row a service: how many of its steps were seen, what it did, and when, as a bar. The steps themselves are
//! shown with `--all`.

use std::time::Duration;

use super::super::{
    Console, Paint, control,
    listing::{self, Cell, Column},
};
use chrono::{DateTime, Utc};
use declaration::Pipeline;
use proof::flow::{Found, Hop, HopPlace, Missing, Sighting};

/// Columns of a bar: on a terminal of 80 columns, and on one of 120 or without one.
const BAR: (usize, usize) = (20, 40);
/// Beside a column of times, on a terminal of 80 columns.
const BAR_BESIDE_TIMES: usize = 8;
/// The column of times, where there is one.
const TIME: usize = 2;

/// What was seen of one service's steps.
pub(super) struct Service<'a> {
    pub(super) name: &'a str,
    hops: Vec<&'a Hop>,
    /// When its input was there, and when its last step was seen.
    span: Option<(Duration, Duration)>,
    /// When its first step was seen.
    began: Option<DateTime<Utc>>,
    /// The service whose event it lacks.
    waits_for: Option<&'a str>,
}

impl<'a> Service<'a> {
    /// The services of a message's hops, in the order of the flow.
    pub(super) fn of(pipeline: &Pipeline, hops: &'a [Hop]) -> Vec<Self> {
        let mut services: Vec<Self> = Vec::new();
        for hop in hops {
            let name = hop.step.service.as_str();
            match services.iter_mut().find(|service| service.name == name) {
                Some(service) => service.hops.push(hop),
                None => services.push(Self {
                    name,
                    hops: vec![hop],
                    span: None,
                    began: None,
                    waits_for: None,
                }),
            }
        }
        for service in &mut services {
            let inputs = inputs(pipeline, hops, service.name);
            let came = inputs.iter().filter_map(|hop| after(hop)).min();
            service.span = service.seen(came);
            let times = service.hops.iter().filter_map(|hop| sighting(hop)?.at);
            service.began = times.min();
            let lacked = inputs.iter().find(|hop| hop.is_missing());
            service.waits_for = lacked
                .filter(|_| service.count() == 0)
                .map(|hop| hop.step.service.as_str());
        }
        // A called service does nothing without its caller.
        let idle: Vec<&str> = services
            .iter()
            .filter(|service| service.count() == 0)
            .map(|service| service.name)
            .collect();
        for service in &mut services {
            let declared = pipeline.services.iter().find(|s| s.name == service.name);
            let is_called = declared.is_some_and(|s| s.consumes.is_empty());
            let mut callers = pipeline.services.iter().filter(|caller| {
                let calls = caller.calls.iter().any(|called| called == service.name);
                calls && caller.name != service.name
            });
            let idle = callers.find_map(|caller| idle.iter().find(|name| **name == caller.name));
            if service.count() == 0 && is_called && service.waits_for.is_none() {
                service.waits_for = idle.copied();
            }
        }
        services
    }

    /// The time of its steps; `came`: when its input was there.
    fn seen(&self, came: Option<Duration>) -> Option<(Duration, Duration)> {
        let times = || self.hops.iter().filter_map(|hop| after(hop));
        let (first, last) = (times().min()?, times().max()?);
        // The request was sent at 0.
        let entry = self.hops.first().map(|hop| &hop.step.place);
        let entry = entry.filter(|place| matches!(place, HopPlace::Entry { .. }));
        let first = came
            .or_else(|| entry.map(|_| Duration::ZERO))
            .unwrap_or(first);
        Some((first.min(last), last))
    }

    fn count(&self) -> usize {
        self.hops.iter().filter(|hop| hop.is_seen()).count()
    }

    /// How long it took from its input to its last step.
    pub(super) fn took(&self) -> Option<Duration> {
        let (first, last) = self.span?;
        Some(last - first)
    }

    fn mark(&self) -> Cell {
        if self.hops.iter().any(|hop| hop.is_missing()) {
            match self.waits_for {
                Some(_) => Cell::painted(Paint::Faint, "-"),
                None => Cell::painted(Paint::Bad, "✗"),
            }
        } else if self.count() == self.hops.len() {
            Cell::painted(Paint::Good, "✓")
        } else {
            Cell::painted(Paint::Faint, "?")
        }
    }

    /// What it did, or why it did not.
    fn did(&self, missing: Option<&Missing>) -> String {
        if let Some(service) = self.waits_for {
            return format!("waits for {service}");
        }
        if let Some(hop) = self.hops.iter().find(|hop| hop.is_missing()) {
            return missing
                .and_then(|missing| reason(missing, self.name))
                .unwrap_or_else(|| lacks(hop));
        }
        self.done()
    }

    /// `201, 2 rows, purchase-created/1/0`.
    fn done(&self) -> String {
        let (mut did, mut events) = (Vec::new(), Vec::new());
        let (mut rows, mut lines) = (0, 0);
        for hop in &self.hops {
            let Found::Seen(sightings) = &hop.found else {
                continue;
            };
            match &hop.step.place {
                HopPlace::Entry { .. } => did.push(detail(sightings)),
                HopPlace::Topic { .. } => events.push(detail(sightings)),
                HopPlace::Table { rows: own, .. } => rows += usize::try_from(*own).unwrap_or(0),
                HopPlace::Cache { keys, .. } => {
                    did.push(format!("{} deleted", listing::count(*keys, "key")));
                }
                HopPlace::Log { .. } => lines += 1,
            }
        }
        if rows > 0 {
            did.push(listing::count(rows, "row"));
        }
        match events.len() {
            0 | 1 => did.extend(events),
            count => did.push(format!("{count} events")),
        }
        match (did.is_empty(), lines) {
            (true, 0) => "-".to_owned(),
            (true, lines) => listing::count(lines, "log line"),
            (false, _) => did.join(", "),
        }
    }
}

/// The table of the services; `missing`: the first missing hop; `at`: with the time of each first step.
pub(super) fn table(
    console: &Console,
    services: &[Service<'_>],
    missing: Option<&Missing>,
    at: bool,
) -> String {
    let last = services.iter().filter_map(|service| service.span);
    let last = last.map(|(_, last)| last).max().unwrap_or_default();
    let width = match console.width() {
        Some(..120) if at => BAR_BESIDE_TIMES,
        Some(..120) => BAR.0,
        Some(_) | None => BAR.1,
    };
    let end = listing::duration(last);
    let scale = format!("0ms{end:>0$}", width.saturating_sub(3));
    let time = console.clock.header("AT");
    let mut columns = vec![
        Column::name(""),
        Column::name("SERVICE"),
        Column::name(&time),
        Column::number("STEPS"),
        Column::line("DID"),
        Column::name(&scale).optional(1),
    ];
    let rows = services.iter().map(|service| {
        let steps = format!("{}/{}", service.count(), service.hops.len());
        let began = service.began.map(|at| console.clock.time(at));
        let mut row = vec![
            service.mark(),
            service.name.into(),
            began.unwrap_or_else(|| "-".to_owned()).into(),
            steps.into(),
            service.did(missing).into(),
            console.marks(&bar(service, last, width)).into(),
        ];
        if !at {
            row.remove(TIME);
        }
        row
    });
    if !at {
        columns.remove(TIME);
    }
    listing::table(console, &columns, rows.collect())
}

/// From the service's input to its last step; what is missing is dotted until the end.
fn bar(service: &Service<'_>, end: Duration, width: usize) -> String {
    let column = |at: Duration| {
        let share = at.as_secs_f64() / end.as_secs_f64().max(f64::MIN_POSITIVE);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a few columns"
        )]
        let column = (share * width as f64).round() as usize;
        column.min(width)
    };
    let fails = service.waits_for.is_none() && service.hops.iter().any(|hop| hop.is_missing());
    let Some((first, last)) = service.span else {
        return match fails {
            true => format!("{}········", " ".repeat(width.saturating_sub(8))),
            false => String::new(),
        };
    };
    let first = column(first).min(width - 1);
    let last = column(last).max(first + 1);
    let rest = if fails { width - last } else { 0 };
    format!(
        "{}{}{}",
        " ".repeat(first),
        "█".repeat(last - first),
        "·".repeat(rest)
    )
}

/// The hops of the topics that a service, or one that calls it, consumes.
fn inputs<'a>(pipeline: &Pipeline, hops: &'a [Hop], service: &str) -> Vec<&'a Hop> {
    let own = pipeline.services.iter().filter(|s| s.name == service);
    let calls = |s: &&declaration::Service| s.calls.iter().any(|called| called == service);
    let callers = pipeline.services.iter().filter(calls);
    let consumed: Vec<&String> = own.chain(callers).flat_map(|s| &s.consumes).collect();
    let is_input = |hop: &&Hop| {
        hop.step.service != service
            && hop
                .step
                .topic()
                .is_some_and(|topic| consumed.iter().any(|c| *c == topic))
    };
    hops.iter().filter(is_input).collect()
}

fn after(hop: &Hop) -> Option<Duration> {
    sighting(hop)?.after
}

fn sighting(hop: &Hop) -> Option<&Sighting> {
    match &hop.found {
        Found::Seen(sightings) => sightings.first(),
        Found::Missing(_) | Found::Unknown(_) => None,
    }
}

fn detail(sightings: &[Sighting]) -> String {
    sightings
        .first()
        .map_or_else(String::new, |s| s.detail.clone())
}

/// The reason of the first missing hop that is about the service: `not deployed`. A service that runs is no
/// reason.
pub(super) fn reason(missing: &Missing, service: &str) -> Option<String> {
    let lead = format!("{service}: ");
    let state = missing.why.iter().find_map(|why| why.strip_prefix(&lead));
    state
        .filter(|state| !state.starts_with("running"))
        .map(str::to_owned)
}

/// `✗ stopped at billing: not deployed (15 of 27 steps, 5s)`, and the evidence below it; masked.
pub(super) fn stopped(
    console: &Console,
    services: &[Service<'_>],
    missing: &Missing,
    hop: &Hop,
    (seen, lines): (&str, &[String]),
) -> String {
    // A service that calls the one with the missing step may be the one that is stopped.
    let names = services.iter().map(|service| service.name);
    let mut names = std::iter::once(missing.service.as_str()).chain(names);
    let stopped = names.find_map(|name| Some((name, reason(missing, name)?)));
    let service = stopped
        .as_ref()
        .map_or(missing.service.as_str(), |(name, _)| name);
    let state = stopped.as_ref().map(|(_, state)| state.clone());
    let what = console.masked(&state.clone().unwrap_or_else(|| lacks(hop)));
    let lead = format!("{} ", console.out(Paint::Bad, "✗"));
    let text = format!("stopped at {service}: {what} ({seen})");
    let mut text = listing::paragraph(console, &lead, 2, &text);
    let said = state.map(|state| format!("{service}: {state}"));
    let why = missing.why.iter().filter(|why| said.as_ref() != Some(why));
    for line in why.chain(lines) {
        let line = control::line(&console.masked(&control::without_colours(line)));
        text.push_str(&listing::paragraph(console, "\n    ", 6, &line));
    }
    text
}

/// `3 of 7 rows in lessons`, `no event on paid`: what was found instead of a missing hop.
pub(super) fn lacks(hop: &Hop) -> String {
    let instead = match &hop.found {
        Found::Missing(instead) => instead.as_deref(),
        Found::Seen(_) | Found::Unknown(_) => None,
    };
    let place = match &hop.step.place {
        HopPlace::Entry { .. } => "not accepted".to_owned(),
        HopPlace::Topic { topic } => format!("no event on {topic}"),
        HopPlace::Log { stage, .. } => format!("no log line \"{stage}\""),
        HopPlace::Table { table, .. } => match instead {
            Some(rows) => return format!("{rows} in {table}"),
            None => format!("no rows in {table}"),
        },
        HopPlace::Cache { keys, .. } => format!("{} not deleted", listing::count(*keys, "key")),
    };
    match instead {
        Some(instead) => format!("{place}: {instead}"),
        None => place,
    }
}
