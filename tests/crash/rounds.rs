//! What is done to the pipeline under load. Every round ends with a history that is right.

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    time::{Duration, Instant},
};

use uuid::Uuid;
use worker_runtime::kill::Point;

use crate::{
    fleet::{ADMIN, ALLOCATION, PAYMENT, PURCHASE, Process, SESSION, WORKERS, end_all},
    matrix::{Round, Wake},
    scene::Scene,
};

/// For every trap of a round to spring, also on a machine that is busy with other things.
const SPRINGS_WITHIN: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(10);
const SIGKILL: i32 = 9;

impl Scene<'_> {
    /// Workers die at their points, and are started again at once.
    pub(crate) async fn kill_round(&mut self, round: &Round) -> BTreeSet<Uuid> {
        let mut others = Vec::new();
        for (role, trap) in round {
            if trap.point == Point::OnRevoke {
                // Somebody who comes is given partitions that somebody has.
                self.workers.get_mut(role).unwrap().wait_until_started();
                others.push(self.fleet.another(role));
            }
        }
        let load = self.load();
        let began = Instant::now();
        let mut waiting: Vec<_> = round.iter().map(|(role, _)| *role).collect();
        while !waiting.is_empty() {
            waiting.retain(|role| {
                let process = self.workers.get_mut(role).unwrap();
                let is_dead = died_in_its_trap(process);
                if is_dead {
                    *process = self.fleet.worker(role, None);
                }
                !is_dead
            });
            expect_sprung(began, &waiting);
            tokio::time::sleep(PAUSE).await;
        }
        let payments = self.stop(load).await;
        for other in &mut others {
            other.wait_until_started();
        }
        end_all(others);
        self.settle(&payments).await;
        payments
    }

    /// Workers freeze at their points; others take over; then the frozen ones wake up, and go on
    /// where they were, with partitions that are no longer theirs.
    pub(crate) async fn zombie_round(&mut self, round: &Round, wake: Wake) -> BTreeSet<Uuid> {
        let roles: Vec<_> = round.iter().map(|(role, _)| *role).collect();
        let mut others = Vec::new();
        for role in &roles {
            self.workers.get_mut(role).unwrap().wait_until_started();
            others.push(self.fleet.another(role));
        }
        for other in &mut others {
            other.wait_until_started();
        }
        self.wait_for_members(&roles, 2);
        let load = self.load();
        let began = Instant::now();
        let mut waiting = roles.clone();
        while !waiting.is_empty() {
            waiting.retain(|role| !froze_in_its_trap(self.workers.get_mut(role).unwrap()));
            expect_sprung(began, &waiting);
            tokio::time::sleep(PAUSE).await;
        }
        let mut payments = self.stop(load).await;
        // The session timeout is over, the partitions are the others'.
        self.wait_for_members(&roles, 1);
        if wake == Wake::Late {
            self.settle(&payments).await;
        }
        for role in &roles {
            let process = &self.workers[role];
            assert!(process.is_frozen(), "{role} woke up by itself");
            process.signal("-CONT");
        }
        // They are members again: their work of before is done, or given up.
        self.wait_for_members(&roles, 2);
        let load = self.load();
        end_all(others);
        payments.extend(self.stop(load).await);
        self.settle(&payments).await;
        payments
    }

    /// Replicas come and go, by SIGTERM and by SIGKILL.
    pub(crate) async fn joins_and_leaves(&mut self, changes: usize) -> BTreeSet<Uuid> {
        let load = self.load();
        let mut others: Vec<Process> = Vec::new();
        for _ in 0..changes {
            let choice = self.chance.below(6);
            if others.is_empty() || choice < 3 && others.len() < 6 {
                let mut other = self.fleet.another(self.chance.one_of(&WORKERS));
                other.wait_until_started();
                others.push(other);
            } else {
                let other = others.swap_remove(self.chance.below(others.len()));
                if choice == 3 {
                    other.kill();
                } else {
                    other.end();
                }
            }
        }
        end_all(others);
        let payments = self.stop(load).await;
        self.settle(&payments).await;
        payments
    }

    /// The services die: the one that takes payments, and the one that allocates.
    pub(crate) async fn services_die(&mut self, times: usize) -> BTreeSet<Uuid> {
        let load = self.load();
        for _ in 0..times {
            let role = self.chance.one_of(&[ADMIN, PAYMENT]);
            self.services.remove(role).unwrap().kill();
            let mut again = self.fleet.service(role);
            again.wait_until_started();
            self.services.insert(role, again);
        }
        let payments = self.stop(load).await;
        self.settle(&payments).await;
        payments
    }

    /// SIGTERM to all workers and the admin-service at work: gone in time, nothing left
    /// uncommitted.
    pub(crate) async fn everything_is_stopped_gracefully(&mut self) -> BTreeSet<Uuid> {
        let before = self.sessions().await;
        let load = self.load();
        let began = Instant::now();
        while self.sessions().await == before {
            assert!(began.elapsed() < SPRINGS_WITHIN, "no session is written");
            tokio::time::sleep(PAUSE).await;
        }
        let mut ending: Vec<_> = std::mem::take(&mut self.workers).into_values().collect();
        ending.extend(self.services.remove(ADMIN));
        end_all(ending);
        let payments = self.stop(load).await;
        for group in [PURCHASE, ALLOCATION, SESSION] {
            self.expect_committed(group).await;
        }
        self.services.insert(ADMIN, self.fleet.service(ADMIN));
        for role in WORKERS {
            self.workers.insert(role, self.fleet.worker(role, None));
        }
        self.settle(&payments).await;
        payments
    }

    async fn sessions(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM tutoring_sessions")
            .fetch_one(&self.database)
            .await
            .unwrap()
    }
}

/// False while it runs. An end of any other kind fails the round.
fn died_in_its_trap(process: &mut Process) -> bool {
    let Some(status) = process.ended() else {
        return false;
    };
    let said = process.said();
    let expected = format!("reached {}: SIGKILL\n", process.trap.unwrap().point.name());
    assert!(
        status.signal() == Some(SIGKILL) && said.ends_with(&expected),
        "{} was to die {expected}, but: {status}\n{}",
        process.role,
        process.tail()
    );
    true
}

/// False while it runs. That it ends fails the round.
fn froze_in_its_trap(process: &mut Process) -> bool {
    let ended = process.ended();
    assert_eq!(ended, None, "{}", process.tail());
    let expected = format!("reached {}: SIGSTOP\n", process.trap.unwrap().point.name());
    process.said().ends_with(&expected) && process.is_frozen()
}

#[track_caller]
fn expect_sprung(began: Instant, waiting: &[&str]) {
    assert!(
        began.elapsed() < SPRINGS_WITHIN,
        "within {SPRINGS_WITHIN:?} these never came to their points: {waiting:?}"
    );
}
