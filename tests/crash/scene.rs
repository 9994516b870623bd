//! One pipeline: its infrastructure in containers, for all scenarios, and its parts as processes, for
//! one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    chance::{Chance, rounds},
    fleet::{ADMIN, Fleet, PAYMENT, Process, Trap, WORKERS, end_all},
    history::{Declared, History, Topics, disagreements, lags, wrong_rows_are_found},
    load::Load,
    support::{pipeline::Pipeline, shared::lease},
};

/// From the end of a load until all of it is done, redelivery and a session timeout included.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);
/// From a member's end, by its session timeout at the latest, until the group is at rest.
const REBALANCED_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// What scenarios share: the infrastructure, and all that was ever done to it. A scenario that fails
/// takes it along.
pub(crate) struct Site {
    pipeline: Pipeline,
    topics: Topics,
    /// Payments made so far, all scenarios.
    ever: usize,
    loads: usize,
}

impl Site {
    fn up(name: &str) -> Self {
        let pipeline = Pipeline::declared(name, &[]);
        let infrastructure = ["up", "kafka-init", "migrate", "redis"];
        pipeline.caravan(&infrastructure).expect(0);
        Self {
            topics: Topics::new(&pipeline),
            ever: 0,
            loads: 0,
            pipeline,
        }
    }
}

/// Runs a scenario, which says what it did and which payments were made meanwhile. One at a time:
/// each needs the machine.
pub(crate) fn scenario(
    test: &str,
    run: impl AsyncFn(&mut Site, Chance) -> (String, BTreeSet<Uuid>),
) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut site = lease("crash", Site::up);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for round in 0..rounds() {
        let chance = Chance::of(test).later(round);
        let _told = Told(chance.command());
        let began = Instant::now();
        let (what, payments) = runtime.block_on(run(&mut site, chance));
        let payments = payments.len();
        eprintln!(
            "{test}: {what}: {payments} payments, {:.1?}",
            began.elapsed()
        );
    }
    drop(site);
    drop(turn);
}

/// Says how to see a failure again.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see it again: {}", self.0);
        }
    }
}

/// What a scenario has: processes of its own, on a site.
pub(crate) struct Scene<'a> {
    pub(crate) chance: Chance,
    /// The first replica of each worker, running whenever no round is under way.
    pub(crate) workers: BTreeMap<&'static str, Process>,
    pub(crate) services: BTreeMap<&'static str, Process>,
    pub(crate) database: PgPool,
    declared: Declared,
    topics: &'a mut Topics,
    ever: &'a mut usize,
    loads: &'a mut usize,
    /// Last, so that its logs are there for the last words of the processes above.
    pub(crate) fleet: Fleet<'a>,
}

impl<'a> Scene<'a> {
    /// Starts a process of each part, some with a trap.
    pub(crate) async fn open(
        site: &'a mut Site,
        chance: Chance,
        traps: &[(&'static str, Trap)],
    ) -> Self {
        let fleet = Fleet::new(&site.pipeline);
        let services = [ADMIN, PAYMENT].map(|role| (role, fleet.service(role)));
        let workers = WORKERS.map(|role| {
            let trap = traps.iter().find(|(of, _)| *of == role);
            (role, fleet.worker(role, trap.map(|(_, trap)| *trap)))
        });
        let mut scene = Self {
            chance,
            workers: workers.into(),
            services: services.into(),
            database: site.pipeline.database().await,
            declared: Declared::read(),
            topics: &mut site.topics,
            ever: &mut site.ever,
            loads: &mut site.loads,
            fleet,
        };
        let workers = scene.workers.values_mut();
        let without_trap = workers.filter(|worker| worker.trap.is_none());
        for process in scene.services.values_mut().chain(without_trap) {
            process.wait_until_started();
        }
        scene
    }

    /// Ends all processes.
    pub(crate) fn end(self) {
        end_all(self.workers.into_values().collect());
        end_all(self.services.into_values().collect());
    }

    pub(crate) fn load(&mut self) -> Load {
        *self.loads += 1;
        Load::start(self.fleet.pipeline, &format!("load-{}", self.loads))
    }

    /// Ends a load; its payments count from now on.
    pub(crate) async fn stop(&mut self, load: Load) -> BTreeSet<Uuid> {
        let payments = load.stop().await;
        assert!(
            !payments.is_empty(),
            "a round without a payment shows nothing"
        );
        *self.ever += payments.len();
        payments
    }

    /// Waits until nothing is under way, and everything is exactly as it was promised.
    pub(crate) async fn settle(&mut self, payments: &BTreeSet<Uuid>) {
        let began = Instant::now();
        loop {
            let is_late = began.elapsed() > SETTLES_WITHIN;
            let behind = lags(self.fleet.pipeline, &self.declared);
            // Looking at everything is only worth while when it can be right.
            if is_late || behind.values().all(|lag| *lag == 0) {
                let violations = self.history(payments).await.violations();
                if violations.is_empty() {
                    return;
                }
                assert!(
                    !is_late,
                    "after {SETTLES_WITHIN:?} the history of {} payments is not right:\n{}\n{}",
                    payments.len(),
                    violations.join("\n"),
                    self.fleet.pipeline.caravan(&["groups"]).stdout
                );
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn history(&mut self, payments: &BTreeSet<Uuid>) -> History {
        let mut database = self.database.acquire().await.unwrap();
        History::gather(
            self.fleet.pipeline,
            &self.declared,
            self.topics,
            &mut database,
            payments,
            *self.ever,
        )
        .await
    }

    /// Waits until each worker's group has this many members, and is at rest.
    pub(crate) fn wait_for_members(&self, roles: &[&str], members: usize) {
        let began = Instant::now();
        loop {
            let listed = self.fleet.pipeline.caravan(&["groups", "-o", "json"]);
            let listed = listed.expect(0).json();
            let groups = listed["groups"].as_array().unwrap();
            let is_as_waited_for = |role: &&&str| {
                let group = groups.iter().find(|g| g["name"] == **role);
                group.is_some_and(|g| {
                    g["state"] == "Stable" && g["members"].as_array().unwrap().len() == members
                })
            };
            let not_yet: Vec<_> = roles.iter().filter(|r| !is_as_waited_for(r)).collect();
            if not_yet.is_empty() {
                return;
            }
            assert!(
                began.elapsed() < REBALANCED_WITHIN,
                "no groups of {members} after {REBALANCED_WITHIN:?}: {not_yet:?} of {groups:#?}"
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// What a worker that was stopped has committed is what it has processed.
    pub(crate) async fn expect_committed(&mut self, group: &str) {
        let (_, topic) = self
            .declared
            .consumers()
            .find(|(g, _)| *g == group)
            .unwrap();
        let found = disagreements(
            self.fleet.pipeline,
            self.topics,
            &self.database,
            group,
            topic,
        )
        .await;
        assert_eq!(found, Vec::<String>::new(), "{group}");
    }

    /// Ends everything; then the checker proves itself on the real database, doctored, and
    /// `caravan verify` has to say of the data what it said.
    pub(crate) async fn close(mut self, payments: &BTreeSet<Uuid>) {
        self.settle(payments).await;
        let history = self.history(payments).await;
        end_all(std::mem::take(&mut self.workers).into_values().collect());
        end_all(std::mem::take(&mut self.services).into_values().collect());
        let mut database = self.database.acquire().await.unwrap();
        wrong_rows_are_found(&history, &self.declared, &mut database, *self.ever).await;

        // Its containers are not there; what it says of topics and tables is what counts.
        let verify = self
            .fleet
            .pipeline
            .caravan(&["verify", "-o", "json"])
            .expect(1);
        let document = verify.json();
        let findings = document["findings"].as_array().unwrap();
        for rule in self.declared.invariants.keys() {
            let id = format!("database.{rule}.holds");
            let finding = Pipeline::finding(&verify, &id);
            assert_eq!(finding["status"], "pass", "{finding}");
        }
        for layer in ["topics.", "dead-letters."] {
            let of_layer = findings
                .iter()
                .filter(|f| f["id"].as_str().unwrap().starts_with(layer));
            let of_layer: Vec<_> = of_layer.collect();
            assert!(!of_layer.is_empty(), "{layer}");
            for finding in of_layer {
                assert_eq!(finding["status"], "pass", "{finding}");
            }
        }
    }
}
