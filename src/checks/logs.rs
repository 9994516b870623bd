//! Logs: each replica printed its startup line since this start, and nothing forbidden.

use std::{ops::ControlFlow, time::Instant};

use futures_util::{TryStreamExt, future::join_all};

use super::{
    Containers, Scene,
    finding::{Check, Finding},
};
use crate::{
    clients::{TIMEOUT, http},
    engine::{
        LogOptions,
        observed::{Container, LogLine, State},
    },
    error::Result,
    pipeline::{Pattern, Service},
};

/// Of a longer log, so many lines at its beginning and at its end are read.
const LINES: usize = 5_000;

/// How many forbidden lines are shown, and how much of each.
const SHOWN: usize = 10;
const WIDTH: usize = 300;

/// What the log of one container's current run (or last one) told.
#[derive(Debug, Default)]
struct Read {
    container: String,
    started: bool,
    forbidden: Vec<String>,
    lines: usize,
    /// Lines between the first and the last ones were not read.
    partial: bool,
    /// Rotation has eaten the beginning.
    start_lost: bool,
}

pub(super) async fn check(scene: Scene<'_>, containers: impl Containers) -> Result<()> {
    let containers = containers.await?;
    let services = scene.pipeline.services.iter();
    join_all(services.map(|service| check_service(scene, service, &containers))).await;
    Ok(())
}

async fn check_service(scene: Scene<'_>, service: &Service, containers: &[Container]) {
    let wants_clean = wants_clean(scene, service);
    if service.startup.is_none() && !wants_clean {
        return;
    }
    let began = Instant::now();
    let own = containers.iter().filter(|c| c.service == service.name);
    let (up, down): (Vec<_>, Vec<_>) =
        own.partition(|c| matches!(c.state, State::Running | State::Paused));
    let up = join_all(up.into_iter().map(|c| read(scene, service, c))).await;
    if let Some(line) = &service.startup {
        let id = format!("logs.{}.started", service.name);
        let check = Check::new(began, id, format!("{line} since this start"));
        let hint = scene.remedy(containers, &service.name);
        let finding = started(service, check, &up, &hint).await;
        scene.report.send(finding);
    }
    if wants_clean {
        let down = join_all(down.into_iter().map(|c| read(scene, service, c))).await;
        let id = format!("logs.{}.clean", service.name);
        let check = Check::new(began, id, "no forbidden line since this start");
        scene.report.send(clean(
            scene,
            service,
            check,
            up.into_iter().chain(down).collect(),
        ));
    }
}

/// Infrastructure logs in its own way; what works on payments must not panic.
fn wants_clean(scene: Scene<'_>, service: &Service) -> bool {
    let works = service.startup.is_some()
        || service.group.is_some()
        || service.http.is_some()
        || service.is_one_shot(scene.pipeline);
    works && service.ready.is_none() && !scene.pipeline.forbidden_logs.is_empty()
}

/// One pass over the beginning of the log and, if it is long, another over its end.
async fn read(scene: Scene<'_>, service: &Service, container: &Container) -> Result<Read> {
    let mut read = Read {
        container: container.name.clone(),
        ..Read::default()
    };
    let pipeline = scene.pipeline;
    let (forbidden, allowed) = (&pipeline.forbidden_logs, &pipeline.allowed_logs);
    let forbidden = |line: &str| {
        let has = |patterns: &[Pattern]| patterns.iter().any(|p| p.matches(line));
        has(forbidden) && !has(allowed)
    };
    let startup = service.startup.as_ref();
    let scanned = scene.engine.scan_since_start(container, |line| {
        read.look(&line, startup, &forbidden);
        if read.lines < LINES {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    let scanned = scanned.await?;
    read.start_lost = scanned.start_lost;
    if read.lines < LINES {
        return Ok(read);
    }
    read.partial = true;
    let options = LogOptions {
        tail: Some(LINES),
        since: container.run_began(),
        ..LogOptions::default()
    };
    let containers = std::slice::from_ref(container);
    let mut last = scene.engine.logs(containers, &options);
    while let Some(line) = last.try_next().await? {
        read.look(&line, startup, &forbidden);
    }
    Ok(read)
}

impl Read {
    fn look(
        &mut self,
        line: &LogLine,
        startup: Option<&Pattern>,
        forbidden: &impl Fn(&str) -> bool,
    ) {
        self.lines += 1;
        self.started |= startup.is_some_and(|startup| startup.matches(&line.text));
        if self.forbidden.len() < SHOWN && forbidden(&line.text) {
            let text: String = line.text.chars().take(WIDTH).collect();
            let text = format!("{}: {text}", self.container);
            // The end of a log may be its beginning as well.
            if !self.forbidden.contains(&text) {
                self.forbidden.push(text);
            }
        }
    }
}

async fn started(service: &Service, check: Check, up: &[Result<Read>], hint: &str) -> Finding {
    if up.is_empty() {
        return check.skip(
            "not running",
            &format!("containers.{}.running", service.name),
        );
    }
    let mut lost = false;
    for read in up {
        match read {
            Err(e) => return check.fail(format!("cannot be told: {e}")).hint(hint),
            Ok(read) if read.started => {}
            Ok(read) if read.start_lost => lost = true,
            Ok(read) => {
                let seen = format!("{}: not among its {} lines", read.container, read.lines);
                return check.fail(seen).hint(hint);
            }
        }
    }
    if lost {
        return rotated(service, check, hint).await;
    }
    check.pass("printed")
}

/// The line may have been there: then the service's own word is the evidence, where there is one.
async fn rotated(service: &Service, check: Check, hint: &str) -> Finding {
    const SEEN: &str = "the log of this start was rotated away";
    let Some(declared) = &service.http else {
        return check.warn(SEEN);
    };
    let path = &declared.ready;
    match http::get(&declared.ready_url(), TIMEOUT).await {
        Ok(answer) if answer.status == declared.status => {
            check.warn(format!("{SEEN}; it says it is ready"))
        }
        Ok(answer) => check
            .fail(format!("{SEEN}; {path} answers {}", answer.status))
            .hint(hint),
        Err(why) => check.fail(format!("{SEEN}; {path}: {why}")).hint(hint),
    }
}

fn clean(scene: Scene<'_>, service: &Service, check: Check, logs: Vec<Result<Read>>) -> Finding {
    let restart = scene
        .invocation
        .command(&format!("restart {}", service.name));
    if logs.is_empty() {
        let aspect = if service.is_one_shot(scene.pipeline) {
            "completed"
        } else {
            "running"
        };
        return check.skip(
            "not deployed",
            &format!("containers.{}.{aspect}", service.name),
        );
    }
    let mut forbidden = Vec::new();
    let (mut lines, mut partial) = (0, false);
    for read in logs {
        match read {
            Err(e) => return check.fail(format!("cannot be told: {e}")).hint(restart),
            Ok(read) => {
                forbidden.extend(read.forbidden);
                lines += read.lines;
                partial |= read.partial;
            }
        }
    }
    if !forbidden.is_empty() {
        let logs = scene.invocation.command(&format!("logs {}", service.name));
        return check
            .fail(format!("{} forbidden", forbidden.len()))
            .evidence(forbidden)
            .evidence([format!("around them: {logs}")])
            .hint(restart);
    }
    check.pass(match partial {
        false => format!("{lines} lines"),
        true => format!("the first and last {LINES} lines"),
    })
}
