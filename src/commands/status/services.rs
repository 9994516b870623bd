//! `status`: a line for each service, what is wrong first.

use std::{collections::BTreeMap, time::Duration};

use chrono::Utc;

use crate::output::{
    Console, Paint,
    json::Outcome,
    listing::{self, Cell, Column},
    status::{Service, Summary},
};
use declaration::{Pipeline, units};
use diagnostics::Invocation;
use platform::{Container, State};

/// What a state means, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Meaning {
    Bad,
    Doubtful,
    Good,
    /// A one-shot that completed.
    Done,
}

impl Meaning {
    fn mark(self) -> (Paint, &'static str) {
        match self {
            Self::Bad => (Paint::Bad, "✗"),
            Self::Doubtful => (Paint::Doubtful, "!"),
            Self::Good => (Paint::Good, "✓"),
            Self::Done => (Paint::Faint, "·"),
        }
    }
}

/// Lags by service; None: unknown.
pub(super) type Lags = BTreeMap<String, Option<i64>>;

/// A service and its containers, or one of its containers.
#[derive(Debug)]
pub(super) struct Line<'a> {
    service: &'a str,
    containers: Vec<&'a Container>,
    is_declared: bool,
    meaning: Meaning,
    /// Health and state in one word.
    state: String,
    /// None: it consumes nothing, or the pipeline has no Kafka.
    lag: Option<Option<i64>>,
}

/// The services in declared order, then those that are not declared; what is wrong first.
pub(super) fn lines<'a>(
    pipeline: &'a Pipeline,
    containers: &'a [Container],
    lags: &Lags,
) -> Vec<Line<'a>> {
    let mut lines: Vec<_> = pipeline
        .services
        .iter()
        .map(|service| {
            let own = containers.iter().filter(|c| c.service == service.name);
            let mut own: Vec<_> = own.collect();
            own.sort_by_key(|c| c.replica);
            let wanted = platform::replicas(service, containers);
            let (meaning, state) = folded(&own, wanted, service.is_one_shot(pipeline));
            Line {
                service: &service.name,
                containers: own,
                is_declared: true,
                meaning,
                state,
                lag: lags.get(&service.name).copied(),
            }
        })
        .collect();
    let orphans = containers
        .iter()
        .filter(|c| pipeline.service(&c.service).is_none());
    lines.extend(orphans.map(|container| Line {
        service: &container.service,
        containers: vec![container],
        is_declared: false,
        meaning: Meaning::Doubtful,
        state: format!("{}, not declared", one(container, false).1),
        lag: None,
    }));
    lines.sort_by_key(|line| line.meaning);
    lines
}

/// The state of all containers of a service.
fn folded(own: &[&Container], wanted: u32, is_one_shot: bool) -> (Meaning, String) {
    let states: Vec<_> = own.iter().map(|c| one(c, is_one_shot)).collect();
    let Some(worst) = states.iter().min_by_key(|(meaning, _)| *meaning) else {
        return (Meaning::Bad, "not deployed".to_owned());
    };
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let (meaning, state) = worst;
    let same = states.iter().filter(|(_, other)| other == state).count();
    if !is_one_shot && states.len() < wanted && *meaning > Meaning::Bad {
        return (Meaning::Bad, format!("{} of {wanted}", states.len()));
    }
    match same == states.len() {
        true => (*meaning, state.clone()),
        false => (*meaning, format!("{same} of {} {state}", states.len())),
    }
}

/// The state of a container, with its health.
fn one(container: &Container, is_one_shot: bool) -> (Meaning, String) {
    let health = container.health.as_ref().map(|h| h.status.as_str());
    let code = container.exit_code;
    let exited = |name: &str| match code {
        Some(code) => format!("{name} ({code})"),
        None => name.to_owned(),
    };
    match container.state {
        State::Exited if is_one_shot && code == Some(0) => (Meaning::Done, "done".to_owned()),
        State::Exited if container.oom_killed => (Meaning::Bad, "out of memory".to_owned()),
        State::Exited => (Meaning::Bad, exited("exited")),
        State::Running => match health {
            Some("healthy") => (Meaning::Good, "healthy".to_owned()),
            Some("starting") => (Meaning::Doubtful, "starting".to_owned()),
            Some("unhealthy") => (Meaning::Bad, "unhealthy".to_owned()),
            Some(_) | None => (Meaning::Good, "running".to_owned()),
        },
        State::Restarting => (Meaning::Bad, exited("restarting")),
        State::Paused => (Meaning::Bad, "paused".to_owned()),
        State::Dead => (Meaning::Bad, "dead".to_owned()),
        State::Unknown => (Meaning::Doubtful, "unknown".to_owned()),
        State::Created => (Meaning::Bad, "created".to_owned()),
        State::Removing => (Meaning::Doubtful, "removing".to_owned()),
    }
}

/// `8 of 9 running, 2 jobs done, 1 not deployed`
pub(super) fn verdict(pipeline: &Pipeline, lines: &[Line<'_>]) -> String {
    let is_job = |line: &&Line<'_>| {
        let service = pipeline.service(line.service);
        service.is_some_and(|service| service.is_one_shot(pipeline))
    };
    let declared = || lines.iter().filter(|line| line.is_declared);
    let (jobs, servers): (Vec<_>, Vec<_>) = declared().partition(is_job);
    let runs = |line: &&&Line<'_>| line.meaning > Meaning::Bad;
    let running = servers.iter().filter(runs).count();
    let mut parts = vec![format!("{running} of {} running", servers.len())];
    let done = jobs.iter().filter(|l| l.meaning == Meaning::Done).count();
    match jobs.len() {
        0 => {}
        all if all == done => parts.push(format!("{} done", listing::count(done, "job"))),
        all => parts.push(format!("{done} of {} done", listing::count(all, "job"))),
    }
    let mut others: Vec<(&str, usize)> = Vec::new();
    let is_shared = |state: &str| state.chars().all(|c| c.is_alphabetic() || c == ' ');
    for line in lines
        .iter()
        .filter(|line| line.meaning <= Meaning::Doubtful)
    {
        if !is_shared(&line.state) {
            parts.push(format!("{} {}", line.service, line.state));
            continue;
        }
        match others.iter_mut().find(|(state, _)| *state == line.state) {
            Some((_, n)) => *n += 1,
            None => others.push((&line.state, 1)),
        }
    }
    parts.extend(others.iter().map(|(state, n)| format!("{n} {state}")));
    parts.join(", ")
}

/// A line for each service.
pub(super) fn table(console: &Console, lines: &[Line<'_>]) -> String {
    let mut columns = vec![
        Column::name(""),
        Column::name("SERVICE"),
        Column::name("STATE"),
        Column::number("SINCE"),
        Column::number("RESTARTS").optional(2),
        Column::number("LAG"),
        Column::names("ADDRESS").optional(1),
    ];
    let has_lag = lines.iter().any(|line| line.lag.is_some());
    if !has_lag {
        columns.remove(LAG);
    }
    let rows = lines.iter().map(|line| {
        let mut row = line.row(console);
        if !has_lag {
            row.remove(LAG);
        }
        row
    });
    listing::table(console, &columns, rows.collect())
}

/// The place of the lag in [`Line::row`].
const LAG: usize = 5;

/// A line for each container, with all that is known of it.
pub(super) fn wide(console: &Console, lines: &[Line<'_>]) -> String {
    let columns = [
        Column::name(""),
        Column::name("SERVICE"),
        Column::name("CONTAINER"),
        Column::name("STATE"),
        Column::number("SINCE"),
        Column::number("RESTARTS").optional(1),
        Column::name("IMAGE").optional(3),
        Column::name("IP").optional(2),
        Column::names("PORTS"),
    ];
    let mut rows = Vec::new();
    for line in lines {
        if line.containers.is_empty() {
            let mark = line.mark();
            let state = line.painted_state();
            rows.push(vec![mark, line.service.into(), "-".into(), state]);
        }
        let is_one_shot = line.meaning == Meaning::Done;
        rows.extend(line.containers.iter().map(|c| {
            let (meaning, state) = one(c, is_one_shot);
            let (paint, mark) = meaning.mark();
            let image = c.image_id.strip_prefix("sha256:").unwrap_or(&c.image_id);
            let addresses: Vec<_> = c.addresses.iter().map(ToString::to_string).collect();
            vec![
                Cell::painted(paint, mark),
                line.service.into(),
                c.name.as_str().into(),
                Cell::painted(paint, state),
                since(&[c]).into(),
                c.restart_count.to_string().into(),
                image.get(..12).unwrap_or(image).into(),
                addresses.join(", ").into(),
                c.ports.join(", ").into(),
            ]
        }));
    }
    listing::table(console, &columns, rows)
}

impl<'a> Line<'a> {
    pub(super) fn service(&self) -> &'a str {
        self.service
    }
}

impl Line<'_> {
    fn mark(&self) -> Cell {
        let (paint, mark) = self.meaning.mark();
        Cell::painted(paint, mark)
    }

    fn painted_state(&self) -> Cell {
        Cell::painted(self.meaning.mark().0, self.state.as_str())
    }

    fn row(&self, console: &Console) -> Vec<Cell> {
        let name = match self.containers.len() {
            0 | 1 => self.service.to_owned(),
            n => format!("{} {}{n}", self.service, console.marks("×")),
        };
        let restarts: i64 = self.containers.iter().map(|c| c.restart_count).sum();
        let restarts = match restarts {
            0 if self.containers.is_empty() || self.meaning == Meaning::Done => "".into(),
            0 => "0".into(),
            n => Cell::painted(Paint::Doubtful, n.to_string()),
        };
        let lag = match self.lag {
            None => "".into(),
            Some(None) => Cell::painted(Paint::Doubtful, "?"),
            Some(Some(0)) => "0".into(),
            Some(Some(lag)) => Cell::painted(Paint::Doubtful, lag.to_string()),
        };
        vec![
            self.mark(),
            name.into(),
            self.painted_state(),
            since(&self.containers).into(),
            restarts,
            lag,
            addresses(&self.containers).into(),
        ]
    }

    /// The next command, if something is wrong with this line.
    fn next(&self, invocation: &Invocation) -> Option<String> {
        if self.meaning > Meaning::Bad {
            return None;
        }
        let service = self.service;
        let paused = self.containers.iter().find(|c| c.state == State::Paused);
        let broken = |c: &&&Container| {
            matches!(c.state, State::Restarting | State::Running) || c.exit_code != Some(0)
        };
        let failed = self.containers.iter().find(broken);
        Some(match (paused, failed) {
            (Some(paused), _) => format!("docker unpause {}", paused.name),
            (None, Some(failed))
                if !matches!(failed.state, State::Created) && self.state.contains('(') =>
            {
                invocation.command(&format!("logs {service}"))
            }
            (None, _) if self.state == "unhealthy" => {
                invocation.command(&format!("logs {service}"))
            }
            (None, _) => invocation.command(&format!("up {service}")),
        })
    }

    /// For a machine.
    pub(super) fn entry(&self) -> Service<'_> {
        Service {
            name: self.service,
            status: match self.meaning {
                Meaning::Bad => Outcome::Fail,
                Meaning::Doubtful => Outcome::Warn,
                Meaning::Good | Meaning::Done => Outcome::Pass,
            },
            state: &self.state,
            containers: self.containers.len(),
            lag: self.lag.flatten(),
        }
    }
}

/// The number of services by what their state means.
pub(super) fn summary(lines: &[Line<'_>]) -> Summary {
    let count = |meaning| lines.iter().filter(|line| line.meaning == meaning).count();
    Summary {
        services: lines.len(),
        running: count(Meaning::Good),
        completed: count(Meaning::Done),
        doubtful: count(Meaning::Doubtful),
        wrong: count(Meaning::Bad),
    }
}

/// The command that helps; None: all is right. Without any container it is `up`; with several problems,
/// `verify` says which of them is the cause.
pub(super) fn next(invocation: &Invocation, lines: &[Line<'_>]) -> Option<String> {
    if lines.iter().all(|line| line.containers.is_empty()) {
        return Some(invocation.command("up"));
    }
    let mut wrong = lines.iter().filter_map(|line| line.next(invocation));
    match (wrong.next(), wrong.next()) {
        (None, _) => None,
        (Some(command), None) => Some(command),
        (Some(_), Some(_)) => Some(invocation.command("verify")),
    }
}

/// How long the youngest of the containers has been in its state, by this host's clock.
fn since(containers: &[&Container]) -> String {
    let times = containers.iter().filter_map(|container| {
        let ended = container.finished_at.filter(|_| !container.has_processes());
        ended.or(container.started_at)
    });
    let age = times.map(|at| (Utc::now() - at).to_std().unwrap_or_default());
    age.min()
        .map_or_else(String::new, |age: Duration| units::coarse(age))
}

/// Where the containers can be reached: `localhost:8080`.
fn addresses(containers: &[&Container]) -> String {
    let mut all: Vec<String> = Vec::new();
    for port in containers.iter().flat_map(|c| &c.ports) {
        let host = port.split("->").next().unwrap_or(port);
        let address = match host.strip_prefix("127.0.0.1:") {
            Some(port) => format!("localhost:{port}"),
            None => host.to_owned(),
        };
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::widths::expect_readable;
    use platform::{Health, testing::container};

    fn invocation() -> Invocation {
        Invocation::default()
    }

    fn with_health(service: &str, replica: u32, status: &str) -> Container {
        Container {
            health: Some(Health {
                status: status.to_owned(),
                failing_streak: 0,
                outputs: Vec::new(),
            }),
            ..container(service, replica)
        }
    }

    /// The shipped pipeline: all is deployed and healthy, its one-shots are done.
    fn deployed(pipeline: &Pipeline) -> Vec<Container> {
        let services = pipeline.services.iter();
        let mut containers: Vec<_> = services
            .map(|service| match service.is_one_shot(pipeline) {
                true => Container {
                    state: State::Exited,
                    exit_code: Some(0),
                    ..container(&service.name, 1)
                },
                false => with_health(&service.name, 1, "healthy"),
            })
            .collect();
        for replica in [2, 3] {
            containers.push(with_health("session-worker", replica, "healthy"));
        }
        for container in &mut containers {
            if container.service == "kafka" {
                container.ports = vec!["127.0.0.1:29092->29092/tcp".to_owned()];
            }
        }
        containers
    }

    fn lags(pipeline: &Pipeline, lag: Option<i64>) -> Lags {
        let services = pipeline.services.iter().filter(|s| s.group.is_some());
        services.map(|s| (s.name.clone(), lag)).collect()
    }

    fn shown(width: u16, containers: &[Container], lag: Option<i64>) -> String {
        let pipeline = declaration::testing::shipped();
        let lines = lines(&pipeline, containers, &lags(&pipeline, lag));
        let next = next(&invocation(), &lines).unwrap_or_default();
        format!(
            "{}\n\n{}\n\n{}\n\nNext: {next}",
            verdict(&pipeline, &lines),
            table(&Console::narrow(width), &lines),
            wide(&Console::narrow(width), &lines),
        )
    }

    #[test]
    fn services_read_well_at_every_width() {
        let pipeline = declaration::testing::shipped();
        let all = deployed(&pipeline);
        for containers in [&all[..], &all[..4], &[]] {
            let lines = lines(&pipeline, containers, &lags(&pipeline, Some(1_234)));
            expect_readable(|console| table(console, &lines));
            expect_readable(|console| wide(console, &lines));
        }
    }

    #[test]
    fn a_deployment_that_is_right() {
        let all = deployed(&declaration::testing::shipped());
        for width in [80, 120, 200] {
            let shown = shown(width, &all, Some(0));
            let longest = shown.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width.into()), "{shown}");
            insta::assert_snapshot!(format!("green-{width}"), shown);
        }
    }

    #[test]
    fn what_is_wrong_is_first() {
        let mut all = deployed(&declaration::testing::shipped());
        all.retain(|c| c.service != "allocation-worker");
        for container in &mut all {
            match (container.service.as_str(), container.replica) {
                ("redis", _) => container.state = State::Paused,
                ("postgres", _) => {
                    container.state = State::Exited;
                    container.exit_code = Some(137);
                }
                ("session-worker", 2) => *container = with_health("session-worker", 2, "unhealthy"),
                ("cache-worker", _) => *container = with_health("cache-worker", 1, "starting"),
                _ => {}
            }
        }
        all.push(container("old-worker", 1));
        for width in [80, 120, 200] {
            insta::assert_snapshot!(format!("red-{width}"), shown(width, &all, None));
        }
    }

    #[test]
    fn the_next_command_is_that_of_the_only_problem() {
        let pipeline = declaration::testing::shipped();
        let of = |change: &dyn Fn(&mut Vec<Container>)| {
            let mut all = deployed(&pipeline);
            change(&mut all);
            next(&invocation(), &lines(&pipeline, &all, &Lags::new()))
        };
        assert_eq!(of(&|_| {}), None);
        assert_eq!(of(&|all| all.clear()).as_deref(), Some("caravan up"));
        let gone = of(&|all| all.retain(|c| c.service != "cache-worker"));
        assert_eq!(gone.as_deref(), Some("caravan up cache-worker"));
        let paused = of(&|all| all[0].state = State::Paused);
        assert_eq!(
            paused,
            Some(format!("docker unpause {}", deployed(&pipeline)[0].name))
        );
        let failing = of(&|all| {
            all[0].state = State::Restarting;
            all[0].exit_code = Some(1);
        });
        let service = deployed(&pipeline)[0].service.clone();
        assert_eq!(failing, Some(format!("caravan logs {service}")));
        let several = of(&|all| all.truncate(3));
        assert_eq!(several.as_deref(), Some("caravan verify"));
    }
}
