//! Sees that the process makes progress while there is work, and ends it where it does not: a
//! restart cures a stall, and Docker restarts only what has ended.
//!
//! A thread and not a task, so that a runtime that is stuck is seen as well. It counts its own
//! ticks and not the time of day: a process that was stopped for an hour (SIGSTOP, a sleeping
//! machine) finds itself where it was and is not blamed for that hour.

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

/// What a process exits with because of a stall: EX_TEMPFAIL, "a restart may cure it".
pub const STALLED_EXIT_CODE: i32 = 75;

/// Ends the process; told why.
pub type Exit = Box<dyn FnOnce(&str) + Send>;

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Between two looks.
    pub tick: Duration,
    /// From red to the end of the process: time for Docker and people to see it.
    pub grace: Duration,
    /// Without progress while there is work, for what names no patience of its own: the runtime
    /// and threads, which beat many times a second.
    pub patience: Duration,
    /// The same for what waits for others with timeouts: a partition, a relay. Longer than the
    /// longest single try, and than the longest pause between two (30 s).
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

/// The sign of life of one part of the process. Gone when it is dropped.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// Progress was made; or none can be made for a reason that is known and shown in `/ready`.
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
    /// At the last look.
    beats: u64,
    /// Looks in a row without a beat while there was work.
    silent: u32,
}

/// Watches the parts of a process. Cheap to clone; all clones are one.
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
    /// Starts the thread. What it sees is in `health`; `exit` is called once, `limits.grace`
    /// after the first stall that has not passed by then.
    ///
    /// # Errors
    /// There is no thread to be had.
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

    /// Watches what always has something to do, on its own.
    #[must_use]
    pub fn watch(&self, name: &str) -> Arc<Pulse> {
        self.add(name, Box::new(|| true), self.limits.patience)
    }

    /// Watches what waits for others, each time with a timeout, while `has_work` says so.
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

    /// One look at everything: who is stalled, and since when.
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
    /// None once it was called.
    exit: Option<Exit>,
    /// Looks in a row that saw a stall.
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

/// Ends the process at once: what is stuck cannot be finished, and what is not committed will be
/// delivered again.
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
