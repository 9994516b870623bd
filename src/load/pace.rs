//! When each payment is due. The schedule is kept whatever the pipeline does (an open loop): one
//! that is sent late is counted, and the next ones are not put off.

use std::time::Duration;

use tokio::time::Instant;

/// A timer's own inaccuracy is not lateness.
const TOLERANCE: Duration = Duration::from_millis(10);

/// A schedule from one moment on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    start: Instant,
    /// Payments per second; None: each is due when there is room for it.
    rate: Option<f64>,
}

impl Pace {
    pub(super) fn new(rate: Option<f64>) -> Self {
        Self {
            start: Instant::now(),
            rate,
        }
    }

    /// Waits until payment `number` (from 0) is due; the moment at which it was.
    pub(super) async fn due(self, number: usize) -> Instant {
        let Some(rate) = self.rate else {
            return Instant::now();
        };
        // Exact up to 2^53 payments.
        let due = self.start + Duration::from_secs_f64(number as f64 / rate);
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        due
    }

    /// Since the schedule began.
    pub(super) fn elapsed(self) -> Duration {
        self.start.elapsed()
    }
}

/// How well a schedule was kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lateness {
    /// Payments that were sent more than 10 ms after they were due.
    pub(crate) late: usize,
    /// The worst of all.
    pub(crate) worst: Duration,
}

impl Lateness {
    pub(super) fn note(&mut self, late: Duration) {
        if late > TOLERANCE {
            self.late += 1;
        }
        self.worst = self.worst.max(late);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_payment_that_is_overdue_does_not_put_off_the_next() {
        let pace = Pace::new(Some(100.0));
        tokio::time::sleep(Duration::from_millis(60)).await;
        for number in 0..5 {
            let due = pace.due(number).await;
            assert_eq!(due - pace.start, Duration::from_millis(10 * number as u64));
            assert!(due <= Instant::now());
        }
        let due = pace.due(8).await;
        assert_eq!(due - pace.start, Duration::from_millis(80));
        assert!(Instant::now() >= due);
    }

    #[tokio::test]
    async fn without_a_rate_each_is_due_at_once() {
        let pace = Pace::new(None);
        let due = pace.due(1_000_000).await;
        assert!(due - pace.start < Duration::from_secs(1));
    }

    #[test]
    fn lateness_leaves_the_timers_inaccuracy_out() {
        let mut lateness = Lateness::default();
        lateness.note(Duration::from_millis(3));
        lateness.note(Duration::from_millis(30));
        let worst = Duration::from_millis(30);
        assert_eq!(lateness, Lateness { late: 1, worst });
    }
}
