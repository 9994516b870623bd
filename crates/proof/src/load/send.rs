//! Sends payments on schedule: each a request to the entry service, or its first event.

use std::{
    pin::pin,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use reqwest::Client;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{
    Options, Progress,
    ledger::Payment,
    pace::{self, Lateness},
};
use crate::{
    probe::{
        beginning,
        entry::{Request, TIMEOUT},
        template::Values,
    },
    stores::http,
};
use declaration::{FirstEvent, Flow, Pipeline};
use diagnostics::{Error, Kind, Result};
use kafka::send::Producer;

/// Maximum number of unanswered requests. Without a rate, enough to keep the entry service busy;
/// with a rate, the backlog that is possible before payments are sent late.
const REQUESTS: usize = 32;
const REQUESTS_AT_A_RATE: usize = 512;
/// Maximum number of unacknowledged events.
const EVENTS: usize = 5_000;

/// Sending ends after this many failures, because the pipeline does not accept payments.
const FAILURES: usize = 100;
/// Maximum number of different reasons.
const REASONS: usize = 5;

/// Between two reports of progress, in payments.
const STEP: usize = 250;

/// How payments enter the pipeline.
pub(super) enum Sender<'a> {
    Api {
        pipeline: &'a Pipeline,
        flow: &'a Flow,
        client: Client,
    },
    Direct {
        flow: &'a Flow,
        event: &'a FirstEvent,
        producer: Producer,
    },
}

/// Result of sending.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Payments that the entry service accepted, or whose event Kafka acknowledged.
    pub accepted: usize,
    /// Payments that were refused or not answered.
    pub failed: usize,
    /// Why payments failed, and how many for that reason.
    pub reasons: Vec<(String, usize)>,
    /// None without a rate.
    pub lateness: Option<Lateness>,
    /// From the first one's due time to the last one's answer.
    pub took: Duration,
}

impl<'a> Sender<'a> {
    /// # Errors
    /// `Usage`: the declaration does not say where to send to.
    pub(super) fn open(pipeline: &'a Pipeline, flow: &'a Flow, direct: bool) -> Result<Self> {
        let Some(event) = flow.event.as_ref().filter(|_| direct) else {
            // Errors of the request are found before the first payment is due.
            Request::new(pipeline, flow, &Values::draw(&flow.values))?;
            let client = http::client(TIMEOUT).map_err(|why| Error::new(Kind::Defect, why))?;
            return Ok(Self::Api {
                pipeline,
                flow,
                client,
            });
        };
        Ok(Self::Direct {
            flow,
            event,
            producer: beginning::open(pipeline)?,
        })
    }

    fn at_once(&self, options: Options) -> usize {
        options.concurrency.unwrap_or(match (self, options.rate) {
            (Self::Direct { .. }, _) => EVENTS,
            (Self::Api { .. }, Some(_)) => REQUESTS_AT_A_RATE,
            (Self::Api { .. }, None) => REQUESTS,
        })
    }

    /// Sends one payment; returns its correlation id once it was accepted.
    async fn send(&self) -> Result<String> {
        match self {
            Self::Api {
                pipeline,
                flow,
                client,
            } => {
                let request = Request::new(pipeline, flow, &Values::draw(&flow.values))?;
                Ok(request.send(client).await?.correlation_id)
            }
            Self::Direct {
                flow,
                event,
                producer,
            } => {
                let (id, record) = beginning::fill(event, &Values::draw(&flow.values))?;
                let sent = producer.send_one(&record).await;
                sent.map_err(|why| Error::new(Kind::Unreachable, why))?;
                Ok(id)
            }
        }
    }
}

/// Sends all payments until `cancel` or too many failures; returns the accepted ones.
pub(super) async fn all(
    sender: &Sender<'_>,
    options: Options,
    cancel: &CancellationToken,
    progress: &UnboundedSender<Progress>,
) -> (Vec<Payment>, Outcome) {
    let epoch = Epoch::now();
    let stop = cancel.child_token();
    let schedule = pace::schedule(options.count, options.rate);
    let schedule = pin!(schedule.take_until(stop.cancelled()));
    let mut answers = schedule
        .map(async |due| {
            let due = due.unwrap_or_else(Instant::now);
            let late = due.elapsed();
            let answer = sender.send().await;
            (due, late, answer)
        })
        .buffer_unordered(sender.at_once(options));
    let mut payments = Vec::with_capacity(options.count);
    let mut outcome = Outcome::default();
    let mut lateness = Lateness::default();
    while let Some((due, late, answer)) = answers.next().await {
        lateness.note(late);
        match answer {
            Ok(id) => payments.push(Payment {
                id: id.into_boxed_str(),
                due: epoch.micros(due),
                taken: epoch.micros(Instant::now()),
            }),
            Err(error) => {
                outcome.note(error.to_string());
                if outcome.failed >= FAILURES {
                    stop.cancel();
                }
            }
        }
        let (sent, of) = (payments.len(), options.count);
        if sent % STEP == 0 {
            let _unwatched = progress.send(Progress::Sending { sent, of });
        }
    }
    outcome.accepted = payments.len();
    outcome.lateness = options.rate.map(|_| lateness);
    outcome.took = epoch.instant.elapsed();
    let (sent, took) = (payments.len(), outcome.took);
    let _unwatched = progress.send(Progress::Sent { sent, took });
    (payments, outcome)
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
        let flow = pipeline.flow.as_ref().expect("a flow");
        let sender = Sender::open(&pipeline, flow, false).expect("it can be asked");
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
        let (progress, _unwatched) = tokio::sync::mpsc::unbounded_channel();
        let (payments, outcome) = all(&sender, options, &CancellationToken::new(), &progress).await;
        server.abort();
        assert_eq!(
            (payments.len(), outcome.failed),
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
}
