//! Brings one service up: its image, its containers, its dependencies, its start, its readiness.

use std::{collections::BTreeMap, time::Instant};

use futures_util::future::try_join_all;
use tokio::sync::{Mutex, OnceCell};

use crate::{
    board::{Board, FailedDependency, Run, Stage},
    connect::Engine,
    images::{Image, Images},
    plan::{self, Step, Wanted},
    spec::{self, Spec},
    wait::{NotReady, Waiting},
};
use declaration::{Pipeline, Service};
use diagnostics::{Error, Invocation, Result};
use platform::{self, Action, Container, Event, Events, Goal, Outcome, ServiceReport};

/// The state of one running `up` (or `restart`).
pub(super) struct Apply<'a> {
    pub(super) engine: &'a Engine,
    pub(super) pipeline: &'a Pipeline,
    pub(super) invocation: &'a Invocation,
    pub(super) events: &'a Events,
    /// The project's containers before this command.
    pub(super) observed: &'a [Container],
    pub(super) services: Vec<&'a Service>,
    pub(super) board: Board<'a>,
    pub(super) images: Images<'a>,
    pub(super) networks: OnceCell<Result<()>>,
    /// Replicas per service, if neither the declaration nor the existing containers determine them.
    pub(super) scale: BTreeMap<String, u32>,
    /// Services whose containers are recreated even if nothing changed.
    pub(super) recreated: Vec<String>,
    /// Held while a container is replaced, so that services are replaced one after the other. Holds the name
    /// of the first that failed: then no other is replaced, so a bad change breaks one service only.
    replacing: Mutex<Option<String>>,
}

/// Why a service did not become ready.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The service itself failed.
    Failed(Error),
    /// A service that it depends on failed.
    Blocked { by: String },
}

impl From<Error> for Trouble {
    fn from(e: Error) -> Self {
        Self::Failed(e)
    }
}

impl Trouble {
    /// The reason, in one line.
    fn why(&self) -> String {
        match self {
            Self::Failed(e) => e.what.clone(),
            Self::Blocked { by } => format!("needs {by}"),
        }
    }
}

/// A replica that is being brought up.
pub(super) struct Replica {
    pub(super) step: Step,
    spec: Spec,
    /// Created ahead, before its dependencies were ready.
    created: Option<String>,
}

impl<'a> Apply<'a> {
    /// `observed` are the project's containers, `services` those to bring up.
    pub(super) fn new(
        engine: &'a Engine,
        pipeline: &'a Pipeline,
        invocation: &'a Invocation,
        events: &'a Events,
        observed: &'a [Container],
        services: Vec<&'a Service>,
    ) -> Self {
        Self {
            engine,
            pipeline,
            invocation,
            events,
            observed,
            board: Board::new(&services),
            images: Images::new(engine, pipeline, observed, events),
            networks: OnceCell::new(),
            scale: BTreeMap::new(),
            recreated: Vec::new(),
            replacing: Mutex::default(),
            services,
        }
    }
}

impl Apply<'_> {
    /// Takes over what the goal says beside its services.
    pub(super) fn aim_at(&mut self, goal: &Goal<'_>) {
        self.scale.clone_from(&goal.scale);
        let services = self.services.iter().map(|service| &service.name);
        let recreated = services.filter(|name| goal.recreates(name));
        self.recreated = recreated.cloned().collect();
    }

    /// Brings a service up as declared.
    ///
    /// # Errors
    /// See [`Trouble`]; the board has the service's stage then.
    pub(super) async fn service(&self, service: &Service) -> Result<ServiceReport, Trouble> {
        let brought = Box::pin(self.bring_up(service)).await;
        self.conclude(service, brought).await
    }

    /// Explains a failure, sets the service's stage on the board and sends its event.
    pub(super) async fn conclude(
        &self,
        service: &Service,
        brought: Result<ServiceReport, Trouble>,
    ) -> Result<ServiceReport, Trouble> {
        let brought = match brought {
            Err(Trouble::Failed(e)) => Err(self.explain_refusal(service, e).await.into()),
            brought => brought,
        };
        let part = service.name.clone();
        let (stage, event) = match &brought {
            Ok(report) => {
                let (outcome, took) = (report.outcome, report.took);
                (
                    Stage::Ready,
                    Event::Done {
                        part,
                        outcome,
                        took,
                    },
                )
            }
            Err(trouble) => {
                let why = trouble.why();
                let why = why.strip_prefix(&format!("{part} ")).unwrap_or(&why);
                let why = why.to_owned();
                self.board.note(&part, &why);
                (Stage::Failed, Event::Failed { part, why })
            }
        };
        self.board.set(&service.name, stage);
        self.send(event);
        brought
    }

    async fn bring_up(&self, service: &Service) -> Result<ServiceReport, Trouble> {
        self.report(service, "looking for its image");
        let image = self.images.of(service).await?;
        let (replicas, surplus) = self.plan(service, &image);
        let replicas = self.create_ahead(service, &image, replicas).await?;
        self.report(service, &waiting_for(service));
        let ready = self.board.dependencies(service).await;
        ready.map_err(|FailedDependency(by)| Trouble::Blocked { by })?;
        let began = Instant::now();
        let replicas = self.restart_with_dependencies(service, replicas);
        for step in &surplus {
            self.remove_surplus(service, step).await?;
        }
        let brought = replicas.into_iter().map(|r| self.replica(service, r));
        let outcomes = try_join_all(brought).await?;
        self.await_rebalance(service, &surplus).await;
        Ok(ServiceReport {
            name: service.name.clone(),
            outcome: outcomes
                .into_iter()
                .max_by_key(weight)
                .unwrap_or(Outcome::Kept),
            took: began.elapsed(),
            addresses: addresses(service),
        })
    }

    /// How many replicas the service should have.
    pub(super) fn replicas(&self, service: &Service) -> u32 {
        let scaled = self.scale.get(&service.name).copied();
        scaled.unwrap_or_else(|| platform::replicas(service, self.observed))
    }

    /// The step for each replica, and the steps that remove surplus replicas.
    pub(super) fn plan(&self, service: &Service, image: &Image) -> (Vec<Replica>, Vec<Step>) {
        let specs: Vec<Spec> = (1..=self.replicas(service))
            .map(|replica| Spec::new(self.pipeline, service, replica, image))
            .collect();
        let wanted: Vec<_> = specs.iter().map(|spec| Wanted::of(spec, image)).collect();
        let mut steps = plan::steps(self.pipeline, service, &wanted, self.observed);
        let surplus = steps.split_off(specs.len());
        if self.recreated.contains(&service.name) {
            steps.iter_mut().for_each(Step::force_recreate);
        }
        let replicas = steps.into_iter().zip(specs);
        let replicas = replicas.map(|(step, spec)| Replica {
            step,
            spec,
            created: None,
        });
        (replicas.collect(), surplus)
    }

    /// Creates missing containers while their dependencies still start. Existing containers are replaced
    /// only once the dependencies are ready: if these fail, the old containers keep running.
    async fn create_ahead(
        &self,
        service: &Service,
        image: &Image,
        replicas: Vec<Replica>,
    ) -> Result<Vec<Replica>> {
        self.report(service, "looking for its networks and volumes");
        let networks = self.networks.get_or_init(|| async {
            let notes = self
                .engine
                .ensure_networks(self.pipeline, &self.services, self.invocation)
                .await?;
            let notes = notes.into_iter();
            notes.for_each(|note| self.send(Event::Note(note)));
            Ok(())
        });
        networks.await.clone()?;
        let engine = self.engine;
        engine.ensure_volumes(self.pipeline, service, image).await?;
        let create = replicas.into_iter().map(|mut replica| async move {
            // Docker reads the mounts of another container when it creates one.
            let is_possible = service.volumes_from.is_empty();
            if replica.step.action == Action::Create && is_possible {
                self.report(service, "creating");
                replica.created = Some(engine.create(&replica.spec).await?);
            }
            Ok(replica)
        });
        try_join_all(create).await
    }

    /// Restarts unchanged replicas if a dependency with `restart: true` was recreated or restarted.
    fn restart_with_dependencies(
        &self,
        service: &Service,
        mut replicas: Vec<Replica>,
    ) -> Vec<Replica> {
        if let Some(cause) = plan::dependency_restart(service, |on| self.board.is_renewed(on)) {
            for replica in &mut replicas {
                if replica.step.action == Action::Keep {
                    let cause = cause.clone();
                    replica.step.action = Action::Restart { cause };
                }
            }
        }
        replicas
    }

    async fn remove_surplus(&self, service: &Service, step: &Step) -> Result<()> {
        let Some(id) = &step.container else {
            return Ok(());
        };
        let name = spec::container_name(self.pipeline, service, step.replica);
        self.report(service, &format!("removing {name}, a surplus replica"));
        self.engine.stop(id, &name).await?;
        self.engine.remove(id, &name, false).await?;
        self.send(Event::Note(format!("removed {name}, a surplus replica")));
        Ok(())
    }

    async fn replica(&self, service: &Service, replica: Replica) -> Result<Outcome, Trouble> {
        let Replica {
            step,
            spec,
            created,
        } = replica;
        let name = spec.name.clone();
        let existing = step.container.unwrap_or_default();
        let (id, outcome) = match step.action {
            Action::Keep | Action::Remove => (existing, Outcome::Kept),
            Action::Create => {
                let id = match created {
                    Some(id) => id,
                    None => self.engine.create(&spec).await?,
                };
                self.start(service, &id, &name).await?;
                (id, Outcome::Created)
            }
            Action::Recreate { causes } => {
                return Box::pin(self.recreate(service, &existing, spec, &causes)).await;
            }
            Action::Start { cause } => {
                self.report(service, &format!("starting: {cause}"));
                self.start(service, &existing, &name).await?;
                (existing, Outcome::Started)
            }
            Action::Restart { cause } => {
                self.report(service, &format!("stopping: {cause}"));
                self.engine.stop(&existing, &name).await?;
                self.report(service, &format!("starting: {cause}"));
                self.start(service, &existing, &name).await?;
                (existing, Outcome::Started)
            }
            Action::Unpause => {
                self.report(service, "unpausing");
                self.engine.unpause(&existing, &name).await?;
                (existing, Outcome::Started)
            }
        };
        Ok(self.see_through(service, &id, &name, outcome).await?)
    }

    /// Replaces a container; waits until no other container is being replaced.
    async fn recreate(
        &self,
        service: &Service,
        existing: &str,
        spec: Spec,
        causes: &[String],
    ) -> Result<Outcome, Trouble> {
        self.report(service, "waiting until others are recreated");
        let mut failed = self.replacing.lock().await;
        if let Some(by) = failed.clone() {
            return Err(Trouble::Blocked { by });
        }
        self.report(service, &format!("recreating: {}", in_short(causes)));
        let name = spec.name.clone();
        let recreated = async {
            let id = self.engine.replace(existing, spec).await?;
            self.start(service, &id, &name).await?;
            self.see_through(service, &id, &name, Outcome::Recreated)
                .await
        };
        let recreated = Box::pin(recreated).await;
        if recreated.is_err() {
            *failed = Some(service.name.clone());
        }
        Ok(recreated?)
    }

    /// Waits until a running service is ready, or a one-shot has completed.
    async fn see_through(
        &self,
        service: &Service,
        id: &str,
        name: &str,
        outcome: Outcome,
    ) -> Result<Outcome> {
        if outcome != Outcome::Kept {
            self.board.set_renewed(&service.name);
        }
        self.board.set(&service.name, Stage::Started);
        if service.is_one_shot(self.pipeline) {
            return self.complete(service, id, name, outcome).await;
        }
        Box::pin(self.ready(service, id, outcome != Outcome::Kept)).await?;
        Ok(outcome)
    }

    /// Starts a container.
    pub(super) async fn start(&self, service: &Service, id: &str, name: &str) -> Result<()> {
        self.report(service, "starting");
        self.engine.start(id, name).await
    }

    /// Waits until a started container is ready; `fresh`: this command started it.
    pub(super) async fn ready(&self, service: &Service, id: &str, fresh: bool) -> Result<()> {
        let waited = async {
            let container = self.engine.inspect(id).await?.ok_or(NotReady::Gone)?;
            let waiting = Waiting {
                pipeline: self.pipeline,
                service,
                container: &container,
                fresh,
                report: &|what| self.report(service, what),
            };
            Box::pin(self.engine.until_ready(&waiting)).await
        };
        match waited.await {
            Ok(run) => {
                self.board.set_run(Run::ready(&run, fresh));
                Ok(())
            }
            Err(why) => Err(self.explain(service, why, fresh).await),
        }
    }

    pub(super) fn report(&self, service: &Service, what: &str) {
        self.board.note(&service.name, what);
        let (part, what) = (service.name.clone(), what.to_owned());
        self.send(Event::Doing { part, what });
    }

    pub(super) fn send(&self, event: Event) {
        // A closed event channel does not stop the work.
        drop(self.events.send(event));
    }
}

/// The first cause, and the number of the others.
fn in_short(causes: &[String]) -> String {
    match causes {
        [] => String::new(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

fn waiting_for(service: &Service) -> String {
    let names: Vec<_> = service
        .depends_on
        .iter()
        .map(|d| d.service.as_str())
        .collect();
    match names.is_empty() {
        true => "ready to start".to_owned(),
        false => format!("waiting for {}", names.join(", ")),
    }
}

/// A service's outcome is the heaviest of its replicas' outcomes.
fn weight(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Kept => 0,
        Outcome::Started | Outcome::Restarted => 1,
        Outcome::Completed => 2,
        Outcome::Created => 3,
        Outcome::Recreated => 4,
        Outcome::Removed | Outcome::Pulled | Outcome::Built | Outcome::Saved | Outcome::Loaded => 0,
    }
}

/// Where the host reaches a service: its URL, else its published ports.
pub(super) fn addresses(service: &Service) -> Vec<String> {
    if let Some(http) = &service.http {
        return vec![http.url.clone()];
    }
    let published = service.ports.iter().filter_map(|p| Some((p, p.host_port?)));
    published
        .map(|(p, port)| match p.host_ip.as_str() {
            "" => format!("0.0.0.0:{port}"),
            ip => format!("{ip}:{port}"),
        })
        .collect()
}
