//! Errors of services that did not become ready: the container's state, its last log lines and the next
//! command.

use crate::{
    apply::Apply,
    connect::Engine,
    exit_code,
    ports::{self, other_port},
    refusal::{Refusal, is_disk_full, is_foreign_format},
    wait::NotReady,
};
use declaration::{Mount, MountSource, Origin, Service, Volume};
use diagnostics::{Error, Kind};
use platform::{Container, Health};

/// How many of its last lines are shown.
const LAST_LINES: usize = 10;
/// How many of its last probes are shown, and how many lines of each.
const LAST_PROBES: usize = 3;
const PROBE_LINES: usize = 3;

impl Apply<'_> {
    /// The error of a service that will not become ready. `fresh`: this command started it.
    pub(super) async fn explain(&self, service: &Service, why: NotReady, fresh: bool) -> Error {
        let name = &service.name;
        // A container that ran before may only need a restart; for one that was just started, show the log.
        let next = match &why {
            NotReady::Unhealthy(_) if !fresh => format!("restart {name}"),
            NotReady::Ended(_) if !fresh => format!("up {name}"),
            _ => format!("logs {name}"),
        };
        let next = self.invocation.command(&next);
        let (what, container) = match why {
            NotReady::Docker(e) => return e,
            NotReady::Gone => {
                let what = format!("{name}: someone removed its container");
                let up = self.invocation.command(&format!("up {name}"));
                return Error::new(Kind::NotRight, what).hint(up);
            }
            NotReady::Refused(container, why) => {
                return self.password_refused(service, &container, why);
            }
            NotReady::DiskFull(c) => (format!("{name} has no room for its data"), c),
            NotReady::Looping(c) => (format!("{name} restarts repeatedly"), c),
            NotReady::Unhealthy(c) => (format!("{name} is unhealthy"), c),
            NotReady::Ended(c) => (format!("{name} {}", ended(&c)), c),
        };
        let mut error = Error::new(Kind::NotRight, what);
        if container.exit_code == Some(0) && !service.is_one_shot(self.pipeline) {
            error = error.because(
                "it should keep running: only a service with an `effect`, or one awaited with \
                 `service_completed_successfully`, may end",
            );
        }
        let error = self.engine.evidence(error, &container).await;
        let says = |is: fn(&str) -> bool| error.evidence.iter().any(|line| is(line));
        if says(is_disk_full) {
            return match self.bounded_volume(service) {
                Some((volume, size)) => {
                    let volume = &volume.name;
                    error
                        .because(format!(
                            "the volume {volume} was created with {size}; a new size needs a \
                             new volume, without the old data"
                        ))
                        .hint(self.correct(service, "raise that volume's size"))
                }
                None => self.disk_full(error).await,
            };
        }
        if says(is_foreign_format) {
            let error = error.because(FOREIGN_FORMAT);
            return error.hint(self.correct(service, "correct its `command` or `image`"));
        }
        if container.oom_killed && container.memory_limit.is_some() {
            return error.hint(self.correct(service, "raise its `mem_limit`"));
        }
        error.hint(next)
    }

    /// The error for a rejected password: a data volume keeps the password that it was created with.
    fn password_refused(&self, service: &Service, container: &Container, why: String) -> Error {
        let name = &service.name;
        let what = format!("{name} refuses the password that is declared for it");
        let mut error = Error::new(Kind::NotRight, what)
            .because(format!("{}: {}", container.name, container.state.name()))
            .because(why);
        let volumes = self.pipeline.volumes_of(service);
        if !volumes.is_empty() {
            error = error.because(format!(
                "the data in {} keeps the password with which it was created",
                volumes.join(", ")
            ));
        }
        let up = self.invocation.command(&format!("up {name}"));
        let env = self.pipeline.state.env_path();
        error.hint(format!(
            "set that password in {} again, then: {up}",
            env.display()
        ))
    }

    /// Explains why Docker refused to create or start what a service needs.
    pub(super) async fn explain_refusal(&self, service: &Service, error: Error) -> Error {
        if error.kind == Kind::Unreachable || error.hint.is_some() {
            return error;
        }
        let reason = format!("{}: {}", error.what, error.evidence.join(": "));
        if ports::is_occupied(&reason) {
            return self.occupied(service, error, &reason).await;
        }
        let Some(refusal) = Refusal::of(&reason) else {
            return error.hint(self.invocation.command(&format!("up {}", service.name)));
        };
        let (why, change) = match refusal {
            Refusal::DiskFull => return self.disk_full(error).await,
            Refusal::NameTaken(id) => return self.name_taken(service, error, &id).await,
            Refusal::NoAddresses => {
                let why = "every network uses one of the engine's address pools: remove an \
                           unused network, or extend `default-address-pools` in Docker's \
                           daemon.json";
                return error
                    .because(why)
                    .hint(self.invocation.docker("network ls"));
            }
            Refusal::NoSuchCommand => (
                "the image has no such executable".to_owned(),
                "correct its `command`",
            ),
            Refusal::NotExecutable => (
                "its command is not an executable".to_owned(),
                "correct its `command`",
            ),
            Refusal::ForeignFormat => (
                FOREIGN_FORMAT.to_owned(),
                "correct its `command` or `image`",
            ),
            Refusal::NoSuchUser => (
                "the image does not have its user".to_owned(),
                "correct its `user`",
            ),
            Refusal::MountMismatch => (
                "a directory is mounted over a file, or a file over a directory; Docker creates \
                 a directory for a missing source"
                    .to_owned(),
                "correct its `volumes`",
            ),
            Refusal::NoDriver(driver) => {
                let error = error.because(format!("this engine has no driver {driver}"));
                return error.hint(self.correct_driver(service, &driver));
            }
        };
        error.because(why).hint(self.correct(service, change))
    }

    async fn occupied(&self, service: &Service, error: Error, reason: &str) -> Error {
        let name = &service.name;
        let Some(holder) = self.engine.port_holder(service, reason).await else {
            return error;
        };
        let what = format!("{name} cannot use port {}: it is in use", holder.port);
        let change = other_port(self.pipeline, name, holder.port);
        Error::new(Kind::NotRight, what)
            .because(format!("{} holds it", holder.who))
            .because(reason)
            .hint(holder.advice(&change))
    }

    async fn name_taken(&self, service: &Service, error: Error, id: &str) -> Error {
        let Ok(Some(holder)) = self.engine.inspect(id).await else {
            return error.hint(self.invocation.command(&format!("up {}", service.name)));
        };
        let of = match crate::labels::project(|name| holder.labels.get(name)) {
            Some(project) => format!("of the project {project}"),
            None => "created by hand".to_owned(),
        };
        let taken = &holder.name;
        let what = format!("{} cannot use the name {taken}: it is in use", service.name);
        let change = match service.container_name {
            Some(_) => self.correct(service, "declare another `container_name`"),
            None => "choose another project name: -p NAME".to_owned(),
        };
        Error::new(Kind::NotRight, what)
            .because(format!(
                "the container {:.12} has it: {}, {of}",
                holder.id,
                holder.state.name()
            ))
            .hint(format!(
                "{change}; or rename {taken} yourself, if nothing needs it by that name"
            ))
    }

    /// The service's volume with a declared size, and that size.
    fn bounded_volume(&self, service: &Service) -> Option<(&Volume, &str)> {
        let mounted = |volume: &&Volume| {
            let is = |m: &Mount| m.source == MountSource::Volume(volume.key.clone());
            service.mounts.iter().any(is)
        };
        let mut volumes = self.pipeline.volumes.iter().filter(mounted);
        volumes.find_map(|volume| {
            let options = volume.driver_opts.get("o")?.split(',');
            let size = options.map(str::trim).find(|o| o.starts_with("size="))?;
            Some((volume, size))
        })
    }

    /// The hint that says where the declaration has a driver, and the next command.
    fn correct_driver(&self, service: &Service, driver: &str) -> String {
        let at = self.pipeline.drivers.get(driver);
        let (Some(at), Origin::Files(files)) = (at, &self.pipeline.origin) else {
            return self.correct(service, "correct the `driver`");
        };
        let file = files.get(at.file).map(|f| f.display().to_string());
        let up = self.invocation.command(&format!("up {}", service.name));
        format!(
            "correct the `driver` at {}:{}:{}, then: {up}",
            file.unwrap_or_default(),
            at.line,
            at.column
        )
    }

    async fn disk_full(&self, error: Error) -> Error {
        let disk = self.engine.data_root().await;
        let disk = disk.map(|path| format!("; Docker's own data are in {path}"));
        let disk = disk.unwrap_or_default();
        error
            .because(format!("the disk that was written to is full{disk}"))
            .hint(self.invocation.docker("system df"))
    }

    /// The hint that says what to change in the declaration, and the next command.
    fn correct(&self, service: &Service, change: &str) -> String {
        let up = self.invocation.command(&format!("up {}", service.name));
        match &self.pipeline.origin {
            Origin::Files(files) => {
                let files: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
                format!("{change} in {}, then: {up}", files.join(" or "))
            }
            Origin::Embedded => up,
        }
    }
}

const FOREIGN_FORMAT: &str =
    "its command is for another architecture, or a script that does not begin with #!";

/// How a container ended, for the first line of the error.
fn ended(container: &Container) -> String {
    match container.exit_code {
        Some(_) if container.oom_killed => "ran out of memory".to_owned(),
        Some(code) => format!("ended with exit code {code}"),
        None => "ended".to_owned(),
    }
}

impl Engine {
    /// Adds a container's state and its last log lines.
    pub(super) async fn evidence(&self, error: Error, container: &Container) -> Error {
        let error = state_lines(container)
            .into_iter()
            .fold(error, Error::because);
        let lines = self.last_lines(container, LAST_LINES).await;
        if lines.is_empty() {
            return error.because("it wrote no log lines");
        }
        let lines = lines.into_iter().map(|line| format!("| {line}"));
        lines.fold(error.because("its last lines:"), Error::because)
    }

    /// Where the engine keeps images, containers and volumes.
    async fn data_root(&self) -> Option<String> {
        let info = self
            .call("report its system information", self.docker.info())
            .await;
        info.ok()?.docker_root_dir
    }
}

/// State, exit code, memory, restarts, Docker's own error, the last health probes.
fn state_lines(container: &Container) -> Vec<String> {
    let mut state = format!("{}: {}", container.name, container.state.name());
    if let Some(code) = container.exit_code {
        state.push_str(&format!(", exit code {code}"));
        if let Some(meaning) = exit_code::meaning(code) {
            state.push_str(&format!(" ({meaning})"));
        }
    }
    state.push_str(&memory(container));
    match container.restart_count {
        0 => {}
        1 => state.push_str(", restarted once"),
        n => state.push_str(&format!(", restarted {n} times")),
    }
    let mut lines = vec![state];
    lines.extend(container.error.clone());
    lines.extend(container.health.as_ref().map(probes).into_iter().flatten());
    lines
}

/// The memory limit, if the container was killed at it: Docker sometimes does not report an OOM kill.
fn memory(container: &Container) -> String {
    let limit = container.memory_limit.map(mebibytes);
    match (container.oom_killed, container.exit_code, limit) {
        (true, _, Some(limit)) => format!(", out of memory at its limit of {limit}"),
        (true, _, None) => ", out of memory: the machine had no more".to_owned(),
        (false, Some(137), Some(limit)) => format!(", perhaps at its memory limit of {limit}"),
        (false, _, _) => String::new(),
    }
}

/// The health status, then the output of its last probes, without repetitions.
fn probes(health: &Health) -> Vec<String> {
    let mut lines = vec![match health.failing_streak {
        0 => format!("health: {}", health.status),
        1 => format!("health: {}, the last probe failed", health.status),
        n => format!("health: {}, the last {n} probes failed", health.status),
    }];
    let mut outputs: Vec<_> = health.outputs.iter().collect();
    outputs.dedup();
    for output in &outputs[outputs.len().saturating_sub(LAST_PROBES)..] {
        let said: Vec<_> = output.lines().collect();
        let last = &said[said.len().saturating_sub(PROBE_LINES)..];
        lines.extend(last.iter().map(|line| format!("| {line}")));
    }
    lines
}

fn mebibytes(bytes: i64) -> String {
    match bytes >> 20 {
        0 => format!("{bytes} bytes"),
        n => format!("{n} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::{State, testing::container};

    #[test]
    fn the_state_lines_say_how_a_container_ended() {
        let mut container = container("db", 1);
        container.state = State::Exited;
        container.exit_code = Some(137);
        container.oom_killed = true;
        container.memory_limit = Some(16 << 20);
        container.restart_count = 2;
        container.health = Some(Health {
            status: "unhealthy".to_owned(),
            failing_streak: 3,
            outputs: ["first", "refused", "refused"].map(str::to_owned).to_vec(),
        });
        assert_eq!(
            state_lines(&container),
            [
                "shop-db: exited, exit code 137 (SIGKILL: it was killed), out of memory at its \
                 limit of 16 MiB, restarted 2 times",
                "health: unhealthy, the last 3 probes failed",
                "| first",
                "| refused",
            ]
        );
        assert_eq!(ended(&container), "ran out of memory");
    }

    #[test]
    fn a_long_probe_shows_its_end() {
        let health = Health {
            status: "starting".to_owned(),
            failing_streak: 1,
            outputs: vec!["1\n2\n3\n4".to_owned()],
        };
        assert_eq!(
            probes(&health),
            [
                "health: starting, the last probe failed",
                "| 2",
                "| 3",
                "| 4"
            ]
        );
    }
}
