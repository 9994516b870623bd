//! Reads, once the payments are through, when each of their events was written.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers, Timestamp},
};

use super::ledger::{Ledger, Track};
use crate::{
    clients::kafka::{Kafka, offsets::Offsets, read::Span},
    pipeline::correlation::{Correlation, Event},
};

/// Within which one topic has to be read.
const PATIENCE: Duration = Duration::from_secs(120);

/// Takes the events between the two ends into the ledger, copies counted.
///
/// # Errors
/// Kafka's own; the ledger has lost its tracks then.
pub(super) async fn read(
    (kafka, correlation): (&Kafka, &Correlation),
    ledger: &mut Ledger,
    from: &Offsets,
    to: &Offsets,
) -> Result<(), String> {
    let topics: Vec<(usize, String)> = ledger
        .topics()
        .map(|(step, topic)| (step, topic.to_owned()))
        .collect();
    for (step, topic) in topics {
        let of_topic = |offsets: &Offsets| {
            let of_topic = offsets.iter().filter(|((name, _), _)| *name == topic);
            of_topic.map(|(p, at)| (p.clone(), *at)).collect()
        };
        let span = Span {
            from: of_topic(from),
            to: of_topic(to),
        };
        let payments = Arc::clone(&ledger.payments);
        let track = std::mem::take(&mut ledger.tracks[step]);
        let correlation = correlation.clone();
        let see = move |track: &mut Track, message: &BorrowedMessage<'_>| {
            let known = |id: &str| Ledger::find(&payments, id);
            let event = Event {
                key: message.key(),
                value: message.payload(),
                header: &|name| header(message, name),
            };
            if let Some(payment) = correlation.find(&event, known) {
                track.saw(payment, written_at(message).saturating_mul(1000));
            }
            ControlFlow::Continue(())
        };
        let (track, whole) = kafka
            .read(span, Instant::now() + PATIENCE, track, see)
            .await?;
        ledger.tracks[step] = track;
        if !whole {
            return Err(format!("{topic} could not be read within {PATIENCE:?}"));
        }
    }
    Ok(())
}

/// Milliseconds since the epoch, of the producer or the broker.
fn written_at(message: &BorrowedMessage<'_>) -> i64 {
    match message.timestamp() {
        Timestamp::CreateTime(at) | Timestamp::LogAppendTime(at) => at,
        Timestamp::NotAvailable => 0,
    }
}

/// The last value of a header.
fn header<'m>(message: &'m BorrowedMessage<'_>, name: &str) -> Option<&'m [u8]> {
    let headers = message.headers()?;
    let named = headers.iter().filter(|header| header.key == name);
    named.last()?.value
}
