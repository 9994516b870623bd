//! Reads, once the payments are through, when each of their events was written.

use std::sync::Arc;

use serde::Deserialize;

use super::ledger::{Ledger, Payment, Track};
use crate::clients::kafka::{Kafka, between::Passing, offsets::Offsets};

/// What is read into.
struct Reading {
    payments: Arc<[Payment]>,
    /// Each topic with its step.
    topics: Vec<(String, usize)>,
    tracks: Vec<Track>,
}

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
    let reading = Reading {
        payments: Arc::clone(&ledger.payments),
        topics: ledger
            .topics()
            .map(|(step, topic)| (topic.to_owned(), step))
            .collect(),
        tracks: std::mem::take(&mut ledger.tracks),
    };
    let read = kafka
        .between(from.clone(), to.clone(), reading, see)
        .await?;
    ledger.tracks = read.tracks;
    Ok(())
}

fn see(reading: &mut Reading, message: &Passing<'_>) {
    let step = reading
        .topics
        .iter()
        .find(|(topic, _)| topic == message.topic());
    let payment = payment(&reading.payments, message.key(), message.value());
    if let (Some((_, step)), Some(payment)) = (step, payment) {
        let at = message.timestamp().unwrap_or(0).saturating_mul(1000);
        reading.tracks[*step].saw(payment, at);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    correlation_id: String,
}

/// By its key or, where another team keys its events otherwise, by its envelope.
fn payment(payments: &[Payment], key: Option<&[u8]>, value: Option<&[u8]>) -> Option<usize> {
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
