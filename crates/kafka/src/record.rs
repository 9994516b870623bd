//! A record as it is read: librdkafka's types, borrowed or owned, and the header that marks test traffic.

pub use rdkafka::{
    Message, Timestamp,
    message::{BorrowedMessage, Header, Headers, OwnedHeaders, OwnedMessage},
};

/// The header that marks test traffic, with the value `true`; both are compared without case.
pub const SYNTHETIC_HEADER: &str = "synthetic";

/// Whether the headers mark test traffic.
#[must_use]
pub fn is_synthetic(headers: Option<&impl Headers>) -> bool {
    headers.is_some_and(|headers| {
        headers.iter().any(|header| {
            let marked = |value: &[u8]| value.eq_ignore_ascii_case(b"true");
            header.key.eq_ignore_ascii_case(SYNTHETIC_HEADER) && header.value.is_some_and(marked)
        })
    })
}
