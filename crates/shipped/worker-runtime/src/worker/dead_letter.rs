//! Builds the dead letter of a message that cannot be processed.

use caravan_events::names::{DEAD_LETTER_TOPIC, TRACEPARENT_HEADER, dlq};
use chrono::{DateTime, SecondsFormat, Utc};
use rdkafka::message::{Header, Headers, OwnedHeaders};

use super::Message;
use crate::{
    Reason,
    kafka::{self, Record},
};

/// Error texts are cut at this many bytes: one may quote the message, and the headers of a dead
/// letter must stay below 64 KiB.
const MAX_ERROR_BYTES: usize = 2_048;
/// Prefix of the headers that a worker adds to a dead letter.
const PREFIX: &str = "dlq-";

/// The message's dead letter: its key and value byte for byte, its headers, and the `dlq-` headers.
/// `dlq-` headers of an earlier dead letter are replaced; a trace continues under a new span id.
pub(crate) fn record(
    message: &Message,
    group: &str,
    reason: &Reason,
    attempts: u32,
    failed_at: DateTime<Utc>,
) -> Record {
    let mut headers = OwnedHeaders::new();
    let trace = kafka::trace(message.headers.as_ref()).map(|trace| trace.child().header());
    if let Some(own) = &message.headers {
        for header in own.iter().filter(|header| !header.key.starts_with(PREFIX)) {
            headers = match &trace {
                Some(trace) if header.key == TRACEPARENT_HEADER => headers.insert(Header {
                    key: TRACEPARENT_HEADER,
                    value: Some(trace),
                }),
                _ => headers.insert(header),
            };
        }
    }
    let ours = [
        (dlq::TOPIC, message.topic.to_owned()),
        (dlq::PARTITION, message.partition.to_string()),
        (dlq::OFFSET, message.offset.to_string()),
        (dlq::GROUP, group.to_owned()),
        (dlq::ERROR_KIND, reason.kind.clone().into_owned()),
        (dlq::ERROR, truncated(&reason.text).to_owned()),
        (dlq::ATTEMPTS, attempts.to_string()),
        (
            dlq::FAILED_AT,
            failed_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        ),
    ];
    for (key, value) in ours {
        headers = headers.insert(Header {
            key,
            value: Some(value.as_bytes()),
        });
    }
    Record {
        topic: DEAD_LETTER_TOPIC.to_owned(),
        key: message.key.clone(),
        value: message.value.clone(),
        headers,
    }
}

fn truncated(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ERROR_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poison(headers: Option<OwnedHeaders>) -> Message {
        Message {
            topic: "purchase-confirmed",
            partition: 2,
            offset: 17,
            key: Some(vec![0xff, 0x00]),
            value: Some(b"{\xfe".to_vec()),
            headers,
        }
    }

    fn listed(record: &Record) -> Vec<(String, String)> {
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or(b"")).into();
        record
            .headers
            .iter()
            .map(|header| (header.key.to_owned(), text(header.value)))
            .collect()
    }

    #[test]
    fn key_value_and_headers_are_kept_and_the_reason_is_added() {
        let own = OwnedHeaders::new()
            .insert(Header {
                key: "trace",
                value: Some("t1"),
            })
            .insert(Header {
                key: dlq::OFFSET,
                value: Some("3"),
            });
        let message = poison(Some(own));
        let reason = Reason::new("not-json", "not a JSON object");
        let failed_at = DateTime::UNIX_EPOCH;
        let record = record(&message, "purchase-worker", &reason, 1, failed_at);
        assert_eq!(record.topic, DEAD_LETTER_TOPIC);
        assert_eq!((&record.key, &record.value), (&message.key, &message.value));
        let expected = [
            ("trace", "t1"),
            ("dlq-topic", "purchase-confirmed"),
            ("dlq-partition", "2"),
            ("dlq-offset", "17"),
            ("dlq-group", "purchase-worker"),
            ("dlq-error-kind", "not-json"),
            ("dlq-error", "not a JSON object"),
            ("dlq-attempts", "1"),
            ("dlq-failed-at", "1970-01-01T00:00:00.000Z"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(listed(&record), expected);
    }

    #[test]
    fn a_trace_continues_and_an_invalid_traceparent_is_kept_unchanged() {
        let traced = |value: &str| {
            let header = Header {
                key: TRACEPARENT_HEADER,
                value: Some(value),
            };
            let message = poison(Some(OwnedHeaders::new().insert(header)));
            let reason = Reason::new("not-json", "not a JSON object");
            let dead_letter = record(&message, "g", &reason, 1, DateTime::UNIX_EPOCH);
            let (key, value) = listed(&dead_letter).swap_remove(0);
            assert_eq!(key, TRACEPARENT_HEADER);
            value
        };
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let sent = traced(good);
        assert_eq!(sent[..36], good[..36]);
        assert_ne!(sent, good);
        assert_eq!(traced("evidence"), "evidence");
    }

    #[test]
    fn absent_stays_absent_and_long_errors_are_cut() {
        let mut message = poison(None);
        message.key = None;
        message.value = None;
        let reason = Reason::new("empty", "é".repeat(MAX_ERROR_BYTES));
        let record = record(&message, "g", &reason, 1, DateTime::UNIX_EPOCH);
        assert_eq!((record.key.as_ref(), record.value.as_ref()), (None, None));
        assert!(
            listed(&record)
                .iter()
                .all(|(_, value)| value.len() <= 2_048)
        );
    }
}
