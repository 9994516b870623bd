//! Which payment a message is of.

use rdkafka::{Message, message::Headers};

use crate::pipeline::correlation::{Correlation, Event};

impl Correlation {
    /// As [`Correlation::find`], of a message as it was read.
    pub(crate) fn find_in<T>(
        &self,
        message: &impl Message,
        known: impl FnMut(&str) -> Option<T>,
    ) -> Option<T> {
        let event = Event {
            key: message.key(),
            value: message.payload(),
            header: &|name| header(message, name),
        };
        self.find(&event, known)
    }
}

/// The last value of a header.
fn header<'m>(message: &'m impl Message, name: &str) -> Option<&'m [u8]> {
    let headers = message.headers()?;
    let named = headers.iter().filter(|header| header.key == name);
    named.last()?.value
}
