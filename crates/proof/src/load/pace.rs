//! The schedule of payments. It does not depend on the pipeline's answers (an open loop): a payment
//! that is sent late is counted, and later ones are not delayed.

use std::{
    thread,
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

/// Delays up to this are attributed to the timer of a busy machine.
const TOLERANCE: Duration = Duration::from_millis(10);

/// Capacity of the channel: payments that may be due without blocking the clock thread.
const DUE: usize = 1_024;

/// A stream of due times, each yielded when it is due. Without a rate it yields None at once.
///
/// A dedicated thread keeps the time, because the runtime's timer has a resolution of 1 ms, which
/// is as long as a hop takes.
pub(super) fn schedule(count: usize, rate: Option<f64>) -> impl Stream<Item = Option<Instant>> {
    let Some(rate) = rate else {
        return stream::repeat(None).take(count).left_stream();
    };
    let (sender, due_times) = mpsc::channel(DUE);
    let start = Instant::now();
    thread::spawn(move || {
        for number in 0..count {
            // Exact up to 2^53 payments.
            let due = start + Duration::from_secs_f64(number as f64 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.blocking_send(due).is_err() {
                return;
            }
        }
    });
    let next = async |mut due_times: mpsc::Receiver<Instant>| {
        let due = due_times.recv().await?;
        Some((Some(due), due_times))
    };
    stream::unfold(due_times, next).right_stream()
}

/// How well a schedule was kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lateness {
    /// Payments that were sent more than 10 ms after they were due.
    pub late: usize,
    /// The largest delay.
    pub worst: Duration,
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
        let before = Instant::now();
        let mut schedule = std::pin::pin!(schedule(9, Some(100.0)));
        let first = schedule.next().await.flatten().expect("a time");
        assert!(first >= before);
        tokio::time::sleep(Duration::from_millis(60)).await;
        for number in 1..9 {
            let due = schedule.next().await.flatten().expect("a time");
            assert_eq!(due - first, Duration::from_millis(10 * number));
            assert!(due <= Instant::now(), "told before it is due");
        }
        assert_eq!(schedule.next().await, None);
    }

    #[tokio::test]
    async fn without_a_rate_every_payment_is_due_at_once() {
        let schedule: Vec<_> = schedule(3, None).collect().await;
        assert_eq!(schedule, [None, None, None]);
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
