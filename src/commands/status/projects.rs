//! `status --all`: every Compose project of the engine, by the labels of its containers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    commands::Verdict,
    context::Context,
    flags::Format,
    output::listing::{self, Column},
};
use diagnostics::Result;
use platform::{Container, State};

/// Summary of the containers of one project.
#[derive(Debug, PartialEq, Eq)]
struct Project {
    name: String,
    /// The Compose files, or the name of the shipped pipeline.
    from: String,
    /// Whether `caravan up` created any of the containers.
    caravan: bool,
    services: usize,
    /// Services whose containers all run, and none is unhealthy.
    running: usize,
    /// Services whose containers all exited with 0.
    completed: usize,
    /// The worst health of the running containers that have a health check.
    health: Option<String>,
    /// Published host ports, in Docker's notation.
    ports: Vec<String>,
}

pub(super) async fn run(context: &Context, format: Format) -> Result<Verdict> {
    let projects = context.platform().await?.projects().await?;
    let projects: Vec<Project> = projects.into_iter().map(Project::of).collect();
    match format {
        Format::Table => {
            let columns = [
                Column::name("PROJECT"),
                Column::name("SERVICES"),
                Column::name("HEALTH"),
                Column::name("BY").optional(1),
                Column::names("PORTS").optional(2),
                Column::names("FROM"),
            ];
            let rows: Vec<_> = projects.iter().map(row).collect();
            let table = listing::table(&context.console, &columns, rows);
            context.console.composed(&table);
        }
        Format::Json => {
            let projects: Vec<_> = projects.iter().map(value).collect();
            let document = json!({ "projects": projects });
            context.console.document(&document);
        }
    }
    Ok(Verdict::Right)
}

impl Project {
    fn of((name, containers): (String, Vec<Container>)) -> Self {
        let mut by_service: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
        for container in &containers {
            by_service
                .entry(&container.service)
                .or_default()
                .push(container);
        }
        let all = |is: &dyn Fn(&Container) -> bool| {
            let services = by_service.values();
            services.filter(|own| own.iter().all(|c| is(c))).count()
        };
        let mut files = containers.iter().filter_map(|c| c.declared_in.clone());
        let ports: BTreeSet<&String> = containers.iter().flat_map(|c| &c.ports).collect();
        Self {
            from: files.next().unwrap_or_default(),
            caravan: containers.iter().any(|c| c.by_caravan),
            services: by_service.len(),
            running: all(&|c| c.state == State::Running && !is_unhealthy(c)),
            completed: all(&|c| c.state == State::Exited && c.exit_code == Some(0)),
            health: worst(&containers),
            ports: ports.into_iter().cloned().collect(),
            name,
        }
    }
}

fn is_unhealthy(container: &Container) -> bool {
    let health = container.health.as_ref();
    health.is_some_and(|health| health.status == "unhealthy")
}

fn worst(containers: &[Container]) -> Option<String> {
    let running = containers.iter().filter(|c| c.state == State::Running);
    let states = running.filter_map(|c| Some(c.health.as_ref()?.status.as_str()));
    let weight = |status: &&str| match *status {
        "healthy" => 0,
        "starting" => 1,
        _ => 2,
    };
    states.max_by_key(weight).map(str::to_owned)
}

fn row(project: &Project) -> Vec<String> {
    // As `status` counts them: a one-shot that is done is no service that should run.
    let servers = project.services - project.completed;
    let mut services = format!("{} of {servers} running", project.running);
    if project.completed > 0 {
        let jobs = listing::count(project.completed, "job");
        services.push_str(&format!(", {jobs} done"));
    }
    vec![
        project.name.clone(),
        services,
        project.health.clone().unwrap_or_default(),
        by(project).to_owned(),
        project.ports.join(", "),
        project.from.clone(),
    ]
}

fn by(project: &Project) -> &'static str {
    match project.caravan {
        true => "caravan",
        false => "compose",
    }
}

fn value(project: &Project) -> Value {
    json!({
        "project": project.name,
        "from": project.from,
        "by": by(project),
        "services": project.services,
        "running": project.running,
        "completed": project.completed,
        "health": project.health,
        "ports": project.ports,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::{Health, testing::container};

    #[test]
    fn a_projects_containers_are_summed_up() {
        let health = |status: &str| {
            Some(Health {
                status: status.to_owned(),
                failing_streak: 0,
                outputs: Vec::new(),
            })
        };
        let mut db = container("db", 1);
        db.health = health("healthy");
        db.ports = vec!["127.0.0.1:15432->5432/tcp".to_owned()];
        db.by_caravan = true;
        db.declared_in = Some("/srv/compose.yaml".to_owned());
        let (one, mut other) = (container("web", 1), container("web", 2));
        other.state = State::Restarting;
        other.health = health("unhealthy");
        let mut migrate = container("migrate", 1);
        migrate.state = State::Exited;
        migrate.exit_code = Some(0);
        let containers = vec![db, migrate, one, other];
        let project = Project::of(("shop".to_owned(), containers));
        let expected = [
            "shop",
            "1 of 2 running, 1 job done",
            "healthy",
            "caravan",
            "127.0.0.1:15432->5432/tcp",
            "/srv/compose.yaml",
        ];
        assert_eq!(row(&project), expected);
    }

    #[test]
    fn what_compose_started_says_so() {
        let project = Project::of(("shop".to_owned(), vec![container("db", 1)]));
        assert!(!project.caravan && project.health.is_none());
    }
}
