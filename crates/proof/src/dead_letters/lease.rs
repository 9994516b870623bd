//! The lease: only one run at a time changes anything, on any host.
//!
//! Claims, renewals and releases are records of the journal. The journal has one partition, so all
//! runs read them in the same order and agree on the holder. The records have the broker's
//! timestamps, so clocks of different hosts are not compared. A holder that could not renew in time
//! stops, by its own clock, before another run can take over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Mutex, task::JoinHandle};
use uuid::Uuid;

use super::{
    Progress, ReportProgress,
    holder::{EXPIRY, Holder},
    journal::{Claim, History, Journal, Key, json},
};
use diagnostics::{Error, Kind, Result};
use kafka::send::{DELIVERY, Producer};

/// Interval of renewals.
const RENEWED: Duration = Duration::from_secs(3);
/// A holder that could not renew for this long stops sending. Records sent before that are
/// delivered or fail within [`DELIVERY`], so before [`EXPIRY`] is over.
const STOPS: Duration = Duration::from_secs(10);
const _: () = assert!(STOPS.as_secs() + DELIVERY.as_secs() < EXPIRY.as_secs());
/// Pause between two attempts to take the lease.
const PAUSE: Duration = Duration::from_secs(1);

/// A held lease; it is renewed in the background until it is dropped or released.
pub(super) struct Lease {
    run: Uuid,
    journal: Journal,
    sender: Arc<Producer>,
    lost: Arc<AtomicBool>,
    renewed: Arc<Mutex<Instant>>,
    renewing: JoinHandle<()>,
}

impl Lease {
    /// Takes the lease and reads the journal. If the holder died, this waits until the lease
    /// expires after [`EXPIRY`]. If the holder renews it, this fails.
    ///
    /// # Errors
    /// Another run renews the lease, or Kafka does not answer.
    pub(super) async fn take(
        journal: Journal,
        sender: Arc<Producer>,
        mut history: History,
        report: &ReportProgress,
    ) -> Result<(Self, History)> {
        let run = Uuid::new_v4();
        let mut other: Option<Holder> = None;
        loop {
            let requested_at = Instant::now();
            journal.write(&sender, [claim(&journal, run)]).await?;
            history = journal.catch_up(history).await?;
            match history.leases.holder() {
                Some(held) if held.run == run => {
                    return Ok((Self::held(run, journal, sender, requested_at), history));
                }
                Some(held)
                    if other
                        .as_ref()
                        .is_some_and(|before| before.renewed < held.renewed) =>
                {
                    journal.write(&sender, [(Key::Run(run), None)]).await?;
                    return Err(refused(&held.by));
                }
                held => {
                    if let (None, Some(held)) = (&other, held) {
                        let by = held.by.clone();
                        report(Progress::AwaitingLease { by });
                    }
                    other = held.cloned();
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn held(run: Uuid, journal: Journal, sender: Arc<Producer>, requested_at: Instant) -> Self {
        let lost = Arc::new(AtomicBool::new(false));
        let renewed = Arc::new(Mutex::new(requested_at));
        let renewing = {
            let (journal, sender) = (journal.clone(), Arc::clone(&sender));
            let (lost, renewed) = (Arc::clone(&lost), Arc::clone(&renewed));
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(RENEWED).await;
                    let requested_at = Instant::now();
                    let late = requested_at - *renewed.lock().await >= STOPS;
                    if late || lost.load(Ordering::Relaxed) {
                        lost.store(true, Ordering::Relaxed);
                        return;
                    }
                    if journal.write(&sender, [claim(&journal, run)]).await.is_ok() {
                        *renewed.lock().await = requested_at;
                    }
                }
            })
        };
        Self {
            run,
            journal,
            sender,
            lost,
            renewed,
            renewing,
        }
    }

    /// Fails if the lease may be lost. Call this directly before sending.
    ///
    /// # Errors
    /// The lease was not renewed in time, for instance because the process was stopped. Another run
    /// may hold it.
    pub(super) async fn check(&self) -> Result<()> {
        if self.renewed.lock().await.elapsed() >= STOPS {
            self.lost.store(true, Ordering::Relaxed);
        }
        if self.lost.load(Ordering::Relaxed) {
            let what = "stopped: this run could not renew its lease in time";
            return Err(Error::new(Kind::Unreachable, what)
                .because("another run may have taken over; what was sent is recorded"));
        }
        Ok(())
    }

    /// Releases the lease. Errors are ignored, because the lease expires anyway.
    pub(super) async fn release(self) {
        self.renewing.abort();
        let record = [(Key::Run(self.run), None)];
        drop(self.journal.write(&self.sender, record).await);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Name of this process, shown to other runs as the lease holder.
pub fn this_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.as_deref().map_or("an unknown host", str::trim);
    format!("process {} on {host}", std::process::id())
}

fn claim(journal: &Journal, run: Uuid) -> (Key, Option<String>) {
    let by = journal.who().to_owned();
    (Key::Run(run), Some(json(&Claim { by })))
}

fn refused(by: &str) -> Error {
    let what = "another `caravan dlq` is changing these dead letters";
    Error::new(Kind::Unreachable, what)
        .because(format!("{by} renews its lease"))
        .hint("wait for it to end")
}
