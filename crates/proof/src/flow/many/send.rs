//! Sends messages on a schedule that does not depend on the pipeline's answers (an open loop): a message
//! that is sent late is counted, and later ones are not delayed.

use std::{
    pin::pin,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::{Options, Progress, Run, TestMessage};
use crate::flow::{entry::Sender, template::Values};

/// Maximum number of unanswered requests. Without a rate, enough to keep the entry service busy;
/// with a rate, the backlog that is possible before messages are sent late.
const REQUESTS: usize = 32;
const REQUESTS_AT_A_RATE: usize = 512;
/// Maximum number of unacknowledged events.
const EVENTS: usize = 5_000;

/// Sending ends after this many failures, because the pipeline does not accept messages.
const FAILURES: usize = 100;
/// Maximum number of different reasons.
const REASONS: usize = 5;

/// Between two reports of progress, in messages.
const STEP: usize = 250;

/// Delays up to this are attributed to the timer of a busy machine.
const TOLERANCE: Duration = Duration::from_millis(10);

/// Capacity of the channel: messages that may be due without blocking the clock thread.
const DUE: usize = 1_024;

/// Result of sending.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Messages that the entry service accepted, or whose event Kafka acknowledged.
    pub accepted: usize,
    /// Messages that were refused or not answered.
    pub failed: usize,
    /// Why messages failed, and how many for that reason.
    pub reasons: Vec<(String, usize)>,
    /// None without a rate.
    pub lateness: Option<Lateness>,
    /// From the first one's due time to the last one's answer.
    pub took: Duration,
}

/// Maximum number of messages that wait for their answer at one time.
fn at_once(sender: &Sender<'_>, options: Options) -> usize {
    options.concurrency.unwrap_or(match (sender, options.rate) {
        (Sender::Events { .. }, _) => EVENTS,
        (Sender::Requests { .. }, Some(_)) => REQUESTS_AT_A_RATE,
        (Sender::Requests { .. }, None) => REQUESTS,
    })
}

/// Sends all messages until the run is cancelled or too many fail; returns the accepted ones.
pub(super) async fn all(run: &Run<'_>) -> (Vec<TestMessage>, Outcome) {
    let epoch = Epoch::now();
    let options = run.options;
    let stop = run.cancel.child_token();
    let schedule = schedule(options.count, options.rate);
    let schedule = pin!(schedule.take_until(stop.cancelled()));
    let mut answers = schedule
        .map(async |due| {
            let due = due.unwrap_or_else(Instant::now);
            let late = due.elapsed();
            let answer = run.sender.send(&Values::draw(&run.flow.values)).await;
            (due, late, answer)
        })
        .buffer_unordered(at_once(&run.sender, options));
    let mut messages = Vec::with_capacity(options.count);
    let mut outcome = Outcome::default();
    let mut lateness = Lateness::default();
    while let Some((due, late, answer)) = answers.next().await {
        lateness.note(late);
        match answer {
            Ok(accepted) => messages.push(TestMessage {
                id: accepted.correlation_id.into_boxed_str(),
                due: epoch.micros(due),
                accepted: epoch.micros(Instant::now()),
            }),
            Err(error) => {
                outcome.note(error.to_string());
                if outcome.failed >= FAILURES {
                    stop.cancel();
                }
            }
        }
        let (sent, of) = (messages.len(), options.count);
        if sent % STEP == 0 {
            run.report(Progress::Sending { sent, of });
        }
    }
    outcome.accepted = messages.len();
    outcome.lateness = options.rate.map(|_| lateness);
    outcome.took = epoch.instant.elapsed();
    let (sent, took) = (messages.len(), outcome.took);
    run.report(Progress::Sent { sent, took });
    (messages, outcome)
}

/// A stream of due times, each yielded when it is due. Without a rate it yields None at once.
///
/// A dedicated thread keeps the time, because the runtime's timer has a resolution of 1 ms, which
/// is as long as a hop takes.
fn schedule(count: usize, rate: Option<f64>) -> impl Stream<Item = Option<Instant>> {
    let Some(rate) = rate else {
        return stream::repeat(None).take(count).left_stream();
    };
    let (sender, due_times) = mpsc::channel(DUE);
    let start = Instant::now();
    thread::spawn(move || {
        for number in 0..count {
            // Exact up to 2^53 messages.
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
    /// Messages that were sent more than 10 ms after they were due.
    pub late: usize,
    /// The largest delay.
    pub worst: Duration,
}

impl Lateness {
    fn note(&mut self, late: Duration) {
        if late > TOLERANCE {
            self.late += 1;
        }
        self.worst = self.worst.max(late);
    }
}

impl Outcome {
    fn note(&mut self, why: String) {
        self.failed += 1;
        let known = self.reasons.iter().position(|(reason, _)| *reason == why);
        match known {
            Some(known) => self.reasons[known].1 += 1,
            None if self.reasons.len() < REASONS => self.reasons.push((why, 1)),
            None => {}
        }
    }
}

/// One moment by the monotonic and by the wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epoch {
    instant: Instant,
    micros: i64,
}

impl Epoch {
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since.unwrap_or_default().as_micros();
        Self {
            instant: Instant::now(),
            micros: i64::try_from(micros).unwrap_or(i64::MAX),
        }
    }

    /// `at`, no earlier than this moment, in microseconds since the epoch.
    pub(super) fn micros(self, at: Instant) -> i64 {
        let after = at.saturating_duration_since(self.instant).as_micros();
        self.micros
            .saturating_add(i64::try_from(after).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::IntoFuture,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use axum::{Json, Router, http::StatusCode, routing::post};
    use serde_json::json;
    use tokio::net::TcpListener;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use declaration::testing::shipped;

    /// An entry service that takes its time, and sees how many ask it at once.
    #[tokio::test]
    async fn concurrency_limits_unanswered_requests() {
        let seen = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let counting = Arc::clone(&seen);
        let answer = move || {
            let counting = Arc::clone(&counting);
            async move {
                let at_once = counting.0.fetch_add(1, Ordering::SeqCst) + 1;
                counting.1.fetch_max(at_once, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                counting.0.fetch_sub(1, Ordering::SeqCst);
                let id = uuid::Uuid::new_v4().to_string();
                (StatusCode::CREATED, Json(json!({ "paymentId": id })))
            }
        };
        let service = Router::new().route("/payments", post(answer));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(axum::serve(listener, service).into_future());
        let mut pipeline = shipped();
        let entry = pipeline
            .services
            .iter_mut()
            .find(|s| s.name == "payment-service");
        let http = entry.and_then(|s| s.http.as_mut());
        http.expect("declared").url = format!("http://{address}");
        let options = Options {
            count: 30,
            rate: None,
            concurrency: Some(3),
            direct: false,
            redeliver: false,
            poison: false,
            keep: false,
            timeout: Duration::from_secs(5),
        };
        // No topics and no tables: nothing but the entry service is connected to.
        pipeline.services.iter_mut().for_each(|s| s.emits.clear());
        pipeline.services.iter_mut().for_each(|s| s.writes.clear());
        pipeline.flow.as_mut().expect("a flow").event = None;
        let (progress, _unwatched) = mpsc::unbounded_channel();
        let run = Run::open(&pipeline, options, CancellationToken::new(), progress);
        let run = run.await.expect("nothing is connected to");
        let (messages, outcome) = all(&run).await;
        server.abort();
        assert_eq!(
            (messages.len(), outcome.failed),
            (30, 0),
            "{:?}",
            outcome.reasons
        );
        assert_eq!(seen.1.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn reasons_are_counted_and_bounded() {
        let mut outcome = Outcome::default();
        for n in 0..20 {
            outcome.note(format!("reason {}", n % 10));
        }
        assert_eq!(outcome.failed, 20);
        assert_eq!(outcome.reasons.len(), REASONS);
        assert_eq!(outcome.reasons[0], ("reason 0".to_owned(), 2));
    }

    #[tokio::test]
    async fn an_overdue_message_does_not_delay_the_next() {
        let before = Instant::now();
        let mut schedule = std::pin::pin!(schedule(9, Some(100.0)));
        let first = schedule.next().await.flatten().expect("a time");
        assert!(first >= before);
        tokio::time::sleep(Duration::from_millis(60)).await;
        for number in 1..9 {
            let due = schedule.next().await.flatten().expect("a time");
            assert_eq!(due - first, Duration::from_millis(10 * number));
            assert!(due <= Instant::now(), "yielded before it is due");
        }
        assert_eq!(schedule.next().await, None);
    }

    #[tokio::test]
    async fn without_a_rate_every_message_is_due_at_once() {
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
