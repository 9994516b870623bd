//! The correlation id of a record.

use declaration::correlation::{Correlation, Event};
use rdkafka::{Message, message::Headers};

/// Finds the correlation id of a record, as [`Correlation::find`] does for an event.
pub fn find_correlation<T>(
    correlation: &Correlation,
    record: &impl Message,
    known: impl FnMut(&str) -> Option<T>,
) -> Option<T> {
    let event = Event {
        key: record.key(),
        value: record.payload(),
        header: &|name| header(record, name),
    };
    correlation.find(&event, known)
}

/// The last value of a header.
fn header<'m>(record: &'m impl Message, name: &str) -> Option<&'m [u8]> {
    let headers = record.headers()?;
    let named = headers.iter().filter(|header| header.key == name);
    named.last()?.value
}
