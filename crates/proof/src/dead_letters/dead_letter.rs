//! A dead letter's headers.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kafka::record::{Headers, Message};

use super::RecordId;
use declaration::DeadLetterHeaders;

/// Maximum length in bytes of a reason, a group or a number of attempts. Another program may have
/// written anything into the headers.
const MAX_WORD: usize = 120;

/// A dead letter without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its record on the dead-letter topic.
    pub own: RecordId,
    /// The source record that could not be processed. None: the headers do not name it.
    pub source: Option<RecordId>,
    /// The consumer group that dead-lettered it.
    pub group: Option<String>,
    /// The kind of error, a short word.
    pub reason: Option<String>,
    /// The error message.
    pub error: Option<String>,
    /// How often the group tried, as the header says it; None: no such header.
    pub attempts: Option<String>,
    /// When the group dead-lettered it; without that header, the record's timestamp.
    pub at: Option<DateTime<Utc>>,
}

impl DeadLetter {
    /// Reads the headers of a record on the dead-letter topic.
    pub fn of(message: &impl Message, header_names: &DeadLetterHeaders) -> Self {
        let bytes = |name: &str| {
            let headers = message.headers()?;
            let header = headers.iter().filter(|h| h.key == name).last()?;
            header.value.map(<[u8]>::to_vec)
        };
        let text = |name: &str| {
            let bytes = bytes(name)?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let number = |name: &str| number(&bytes(name)?);
        let word = |name: &str| text(name).map(|text| truncate(&text, MAX_WORD).to_owned());
        let parts = || {
            Some(format!(
                "{}/{}/{}",
                text(&header_names.topic)?,
                number(&header_names.partition)?,
                number(&header_names.offset)?
            ))
        };
        let source = match &header_names.source {
            Some(name) => text(name),
            None => parts(),
        };
        let source = source.and_then(|place| place.parse().ok());
        let failed_at = text(&header_names.failed_at)
            .and_then(|at| DateTime::parse_from_rfc3339(&at).ok())
            .map(|at| at.to_utc());
        let written_at = || DateTime::from_timestamp_millis(message.timestamp().to_millis()?);
        Self {
            own: RecordId::new(message.topic(), message.partition(), message.offset()),
            source,
            group: word(&header_names.group),
            reason: word(&header_names.reason),
            error: text(&header_names.error),
            attempts: number(&header_names.attempts).map_or_else(
                || word(&header_names.attempts),
                |attempts| Some(attempts.to_string()),
            ),
            at: failed_at.or_else(written_at),
        }
    }

    /// The source record if it is known, else the record on the dead-letter topic.
    pub fn id(&self) -> &RecordId {
        self.source.as_ref().unwrap_or(&self.own)
    }

    /// Time since [`Self::at`]. None: no timestamp. Zero if the timestamp is in the future.
    pub fn age(&self, now: DateTime<Utc>) -> Option<Duration> {
        Some((now - self.at?).to_std().unwrap_or_default())
    }
}

/// A number, written as text or, as Spring does it, in 4 or 8 bytes, the most significant first.
fn number(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok();
    let text = text.filter(|text| !text.contains(char::is_control));
    if let Some(text) = text {
        return text.parse().ok();
    }
    let four = |bytes: &[u8]| bytes.try_into().ok().map(i32::from_be_bytes);
    let eight = |bytes: &[u8]| bytes.try_into().ok().map(i64::from_be_bytes);
    four(bytes).map(i64::from).or_else(|| eight(bytes))
}

/// At most `max` bytes of `text`.
pub(super) fn truncate(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
pub(super) mod tests {
    use kafka::record::{Header, OwnedHeaders, OwnedMessage, Timestamp};

    use super::*;

    /// A message on the dead-letter topic `dead`.
    pub(crate) fn message(
        (partition, offset): (i32, i64),
        headers: &[(&str, &str)],
    ) -> OwnedMessage {
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| {
                let value = Some(*value);
                all.insert(Header { key, value })
            });
        let (value, key) = (Some(b"v".to_vec()), Some(b"k".to_vec()));
        let written = Timestamp::CreateTime(1_000);
        OwnedMessage::new(
            value,
            key,
            "dead".to_owned(),
            written,
            partition,
            offset,
            Some(headers),
        )
    }

    fn of(message: &OwnedMessage) -> DeadLetter {
        DeadLetter::of(message, &DeadLetterHeaders::default())
    }

    #[test]
    fn headers_may_have_other_names() {
        let header_names = DeadLetterHeaders {
            source: Some("x-source".to_owned()),
            reason: "x-reason".to_owned(),
            ..DeadLetterHeaders::default()
        };
        let headers = [("x-source", "orders/2/17"), ("x-reason", "out of stock")];
        let dead_letter = DeadLetter::of(&message((1, 5), &headers), &header_names);
        assert_eq!(dead_letter.id(), &RecordId::new("orders", 2, 17));
        assert_eq!(dead_letter.reason.as_deref(), Some("out of stock"));
        assert_eq!(dead_letter.group, None);
        assert!(
            header_names.has("x-source")
                && header_names.has("dlq-replay-of")
                && !header_names.has("trace")
        );
    }

    #[test]
    fn a_dead_letter_is_identified_by_its_source_record() {
        let dead_letter = of(&message(
            (1, 5),
            &[
                ("dlq-topic", "orders"),
                ("dlq-partition", "2"),
                ("dlq-offset", "17"),
                ("dlq-group", "billing"),
                ("dlq-error-kind", "not-json"),
                ("dlq-failed-at", "1970-01-01T00:01:00Z"),
            ],
        ));
        assert_eq!(dead_letter.id(), &RecordId::new("orders", 2, 17));
        assert_eq!(dead_letter.own, RecordId::new("dead", 1, 5));
        assert_eq!(dead_letter.group.as_deref(), Some("billing"));
        assert_eq!(dead_letter.reason.as_deref(), Some("not-json"));
        let now = DateTime::from_timestamp(90, 0).expect("a time");
        assert_eq!(dead_letter.age(now), Some(Duration::from_secs(30)));
    }

    /// As Spring's `DeadLetterPublishingRecoverer` writes them.
    #[test]
    fn partition_and_offset_may_be_binary() {
        let header_names = DeadLetterHeaders {
            topic: "kafka_dlt-original-topic".to_owned(),
            partition: "kafka_dlt-original-partition".to_owned(),
            offset: "kafka_dlt-original-offset".to_owned(),
            attempts: "kafka_deliveryAttempt".to_owned(),
            ..DeadLetterHeaders::default()
        };
        let headers: [(&str, &[u8]); 4] = [
            ("kafka_dlt-original-topic", b"orders"),
            ("kafka_dlt-original-partition", &2_i32.to_be_bytes()),
            ("kafka_dlt-original-offset", &1_700_i64.to_be_bytes()),
            ("kafka_deliveryAttempt", &3_i32.to_be_bytes()),
        ];
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| {
                let value = Some(*value);
                all.insert(Header { key, value })
            });
        let written = Timestamp::CreateTime(1_000);
        let topic = "dead".to_owned();
        let message = OwnedMessage::new(None, None, topic, written, 1, 5, Some(headers));
        let dead_letter = DeadLetter::of(&message, &header_names);
        assert_eq!(dead_letter.id(), &RecordId::new("orders", 2, 1_700));
        assert_eq!(dead_letter.attempts.as_deref(), Some("3"));
        let of_four_bytes = [number(b"1234"), number(b"many")];
        assert_eq!(of_four_bytes, [Some(1_234), None], "text is text");
    }

    #[test]
    fn without_a_source_a_dead_letter_is_identified_by_its_own_record() {
        for headers in [
            vec![("x-death", "1")],
            vec![
                ("dlq-topic", "orders"),
                ("dlq-partition", "2"),
                ("dlq-offset", "many"),
            ],
        ] {
            let dead_letter = of(&message((1, 5), &headers));
            assert_eq!(dead_letter.source, None);
            assert_eq!(dead_letter.id(), &RecordId::new("dead", 1, 5));
            assert_eq!(dead_letter.at, DateTime::from_timestamp(1, 0));
        }
    }

    #[test]
    fn long_words_are_truncated_and_a_future_time_has_age_zero() {
        let long = "é".repeat(200);
        let dead_letter = of(&message(
            (0, 0),
            &[
                ("dlq-error-kind", &long),
                ("dlq-failed-at", "2999-01-01T00:00:00Z"),
            ],
        ));
        assert_eq!(dead_letter.reason.as_deref().map(str::len), Some(MAX_WORD));
        assert_eq!(dead_letter.age(DateTime::UNIX_EPOCH), Some(Duration::ZERO));
    }
}
