//! Reads, once the payments are through, when each of their events was written.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message,
    message::{BorrowedMessage, Timestamp},
};
use serde::Deserialize;

use super::ledger::{Ledger, Payment, Track};
use crate::clients::kafka::{Kafka, offsets::Offsets, read::Span};

/// Within which one topic has to be read.
const PATIENCE: Duration = Duration::from_secs(120);

/// Takes the events between the two ends into the ledger, copies counted.
///
/// # Errors
/// Kafka's own; the ledger has lost its tracks then.
pub(super) async fn read(
    kafka: &Kafka,
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
        let see = move |track: &mut Track, message: &BorrowedMessage<'_>| {
            if let Some(payment) = payment(&payments, message.key(), message.payload()) {
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    correlation_id: String,
}

/// By its key or, where another team keys its events otherwise, by its envelope.
pub(super) fn payment(
    payments: &[Payment],
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Option<usize> {
    let by_key = key.and_then(|key| Ledger::find(payments, str::from_utf8(key).ok()?));
    by_key.or_else(|| {
        let envelope: Envelope = serde_json::from_slice(value?).ok()?;
        Ledger::find(payments, &envelope.correlation_id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_known_by_its_key_or_its_envelope() {
        let payments = ["p-1", "p-2"].map(|id| Payment {
            id: id.into(),
            due: 0,
            taken: 0,
        });
        let find = |key: Option<&str>, value: Option<&str>| {
            payment(&payments, key.map(str::as_bytes), value.map(str::as_bytes))
        };
        assert_eq!(find(Some("p-2"), None), Some(1));
        assert_eq!(
            find(Some("else"), Some(r#"{"correlationId":"p-1"}"#)),
            Some(0)
        );
        assert_eq!(find(None, Some(r#"{"correlationId":"p-3"}"#)), None);
        assert_eq!(find(Some("p-3"), Some("not json p-1")), None);
        assert_eq!(find(None, None), None);
    }
}
