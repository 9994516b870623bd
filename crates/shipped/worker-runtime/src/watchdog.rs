//! Checks that the process makes progress while it has work, and ends it if it does not: a restart
//! may cure a stall, and Docker restarts only processes that have exited.
//!
//! It is a thread, not a task, so that it also detects a blocked runtime. It counts its own ticks
//! instead of wall-clock time: the time in which the process is stopped (SIGSTOP, a suspended
//! machine) does not count as a stall.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{Health, RunError, telemetry};

/// The exit code of a stalled process: EX_TEMPFAIL, since a restart may cure it.
pub const STALLED_EXIT_CODE: i32 = 75;

/// Ends the process; the argument is the reason.
pub type Exit = Box<dyn FnOnce(&str) + Send>;

/// The watchdog's time limits.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time between two checks.
    pub tick: Duration,
    /// Time from the first failed check to the end of the process, so that `/live` shows the stall.
    pub grace: Duration,
    /// Maximum time without progress while there is work, for the runtime and threads, which beat
    /// many times a second.
    pub patience: Duration,
    /// The same for parts that wait for other services with timeouts: a partition, a relay. Longer
    /// than the longest single attempt, and than the longest delay between two (30 s).
    pub patience_with_others: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            grace: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            patience_with_others: Duration::from_secs(180),
        }
    }
}

/// The heartbeat of one part of the process. Dropping it ends the watch.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// Reports progress, or that none is possible for a reason that `/ready` shows.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether there is anything to do. Called by the watchdog's thread; must not block.
type HasWork = Box<dyn Fn() -> bool + Send>;

struct Watched {
    name: String,
    pulse: Weak<Pulse>,
    has_work: HasWork,
    patience: Duration,
    /// The number of beats at the last check.
    beats: u64,
    /// Checks in a row without a beat while there was work.
    silent: u32,
}

/// Watches the parts of a process. Cheap to clone; all clones share their state.
#[derive(Clone)]
pub struct Watchdog {
    limits: Limits,
    watched: Arc<Mutex<Vec<Watched>>>,
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.lock().iter().map(|w| w.name.clone()).collect();
        f.debug_struct("Watchdog").field("watched", &names).finish()
    }
}

impl Watchdog {
    /// Starts the thread. It reports stalls to `health`, and calls `exit` once, when a stall has
    /// lasted for `limits.grace`.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(limits: Limits, health: Health, exit: Exit) -> Result<Self, RunError> {
        let watchdog = Self::new(limits);
        let mut rounds = Rounds {
            watchdog: watchdog.clone(),
            health,
            exit: Some(exit),
            red: 0,
        };
        thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || {
                loop {
                    thread::sleep(limits.tick);
                    rounds.look();
                }
            })
            .map_err(|e| RunError::Start(format!("cannot start a thread: {e}")))?;
        Ok(watchdog)
    }

    fn new(limits: Limits) -> Self {
        Self {
            limits,
            watched: Arc::default(),
        }
    }

    /// Watches a part that always has work and waits for no other service.
    #[must_use]
    pub fn watch(&self, name: &str) -> Arc<Pulse> {
        self.add(name, Box::new(|| true), self.limits.patience)
    }

    /// Watches a part that waits for other services with timeouts, while `has_work` returns true.
    #[must_use]
    pub fn watch_with_others(
        &self,
        name: &str,
        has_work: impl Fn() -> bool + Send + 'static,
    ) -> Arc<Pulse> {
        let patience = self.limits.patience_with_others;
        self.add(name, Box::new(has_work), patience)
    }

    /// Watches the Tokio runtime that this is called in.
    pub fn watch_runtime(&self) {
        let pulse = self.watch("runtime");
        let every = self.limits.tick;
        tokio::spawn(async move {
            loop {
                pulse.beat();
                tokio::time::sleep(every).await;
            }
        });
    }

    fn add(&self, name: &str, has_work: HasWork, patience: Duration) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::default());
        self.lock().push(Watched {
            name: name.to_owned(),
            pulse: Arc::downgrade(&pulse),
            has_work,
            patience,
            beats: 0,
            silent: 0,
        });
        pulse
    }

    /// Checks all parts. Returns the stalled ones, and since when they are stalled.
    fn stalls(&self) -> Vec<String> {
        let mut watched = self.lock();
        watched.retain_mut(|part| match part.pulse.upgrade() {
            Some(pulse) => {
                part.look(pulse.beats());
                true
            }
            None => false,
        });
        watched
            .iter()
            .filter(|part| self.limits.tick * part.silent >= part.patience)
            .map(|part| {
                let silent = self.limits.tick * part.silent;
                format!("{}: no progress for {silent:?}", part.name)
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn look(&mut self, beats: u64) {
        if beats != self.beats || !(self.has_work)() {
            self.beats = beats;
            self.silent = 0;
        } else {
            self.silent = self.silent.saturating_add(1);
        }
    }
}

/// The thread's own state.
struct Rounds {
    watchdog: Watchdog,
    health: Health,
    /// None after the call.
    exit: Option<Exit>,
    /// Checks in a row that found a stall.
    red: u32,
}

impl Rounds {
    fn look(&mut self) {
        let stalls = self.watchdog.stalls();
        let Limits { tick, grace, .. } = self.watchdog.limits;
        if stalls.is_empty() {
            if std::mem::take(&mut self.red) > 0 {
                self.health.moving();
                tracing::info!("the stall is over");
            }
            return;
        }
        let why = stalls.join("; ");
        self.health.stalled(&why);
        if self.red == 0 {
            tracing::error!(
                why,
                "stalled; the process ends in {grace:?} unless this passes"
            );
        }
        let ending = tick * self.red >= grace;
        self.red = self.red.saturating_add(1);
        if ending && let Some(exit) = self.exit.take() {
            tracing::error!(
                why,
                "stalled; ending the process, so that it is started again"
            );
            exit(&why);
        }
    }
}

/// Ends the process at once: stuck work cannot be finished, and uncommitted messages are delivered
/// again.
#[expect(clippy::exit, reason = "a stalled process can only be ended")]
#[must_use]
pub fn end_process() -> Exit {
    Box::new(|_| {
        telemetry::flush();
        std::process::exit(STALLED_EXIT_CODE);
    })
}

#[cfg(test)]
mod tests;
