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
    journal::{Claim, History, Journal, Key, json},
};
use diagnostics::{Error, Kind, Result};
use kafka::send::{DELIVERY, Producer};

/// The lease expires this long after its last renewal, by the broker's clock.
const HELD: Duration = Duration::from_secs(20);
/// Interval of renewals.
const RENEWED: Duration = Duration::from_secs(3);
/// A holder that could not renew for this long stops sending. Records sent before that are
/// delivered or fail within [`DELIVERY`], so before [`HELD`] is over.
const STOPS: Duration = Duration::from_secs(10);
const _: () = assert!(STOPS.as_secs() + DELIVERY.as_secs() < HELD.as_secs());
/// Pause between two attempts to take the lease.
const PAUSE: Duration = Duration::from_secs(1);

/// The current holder, according to the records read so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Leases(Option<Held>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    run: Uuid,
    by: String,
    /// Last renewal: the broker's timestamp in milliseconds since the epoch.
    renewed: i64,
}

impl Leases {
    pub(super) fn claim(&mut self, run: Uuid, by: &str, at: i64) {
        let free = match &self.0 {
            None => true,
            Some(held) => held.run == run || at - held.renewed >= HELD.as_millis() as i64,
        };
        if free {
            let by = by.to_owned();
            self.0 = Some(Held {
                run,
                by,
                renewed: at,
            });
        }
    }

    pub(super) fn release(&mut self, run: Uuid) {
        self.0.take_if(|held| held.run == run);
    }
}

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
    /// expires after [`HELD`]. If the holder renews it, this fails.
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
        let mut other: Option<Held> = None;
        loop {
            let requested_at = Instant::now();
            journal.write(&sender, [claim(&journal, run)]).await?;
            history = journal.catch_up(history).await?;
            match &history.leases.0 {
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
                    other.clone_from(held);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(leases: &Leases) -> Option<Uuid> {
        leases.0.as_ref().map(|held| held.run)
    }

    #[test]
    fn the_first_claim_holds_until_it_expires() {
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let held = HELD.as_millis() as i64;
        let mut leases = Leases::default();
        leases.claim(first, "a", 0);
        leases.claim(second, "b", 1);
        assert_eq!(holder(&leases), Some(first));
        leases.claim(first, "a", 5_000);
        leases.claim(second, "b", held + 1);
        assert_eq!(holder(&leases), Some(first), "it was renewed");
        leases.claim(second, "b", held + 5_000);
        assert_eq!(holder(&leases), Some(second));
        // A zombie wakes up: its renewal is no claim.
        leases.claim(first, "a", held + 5_001);
        assert_eq!(holder(&leases), Some(second));
    }

    #[test]
    fn only_the_holder_releases_the_lease() {
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut leases = Leases::default();
        leases.claim(first, "a", 0);
        leases.release(second);
        assert_eq!(holder(&leases), Some(first));
        leases.release(first);
        assert_eq!(holder(&leases), None);
        leases.claim(second, "b", 1);
        assert_eq!(holder(&leases), Some(second));
    }
}
