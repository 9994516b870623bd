//! Reads records that are produced from now on.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers, Timestamp},
};

use super::{
    Kafka, Partition, Result,
    client::{Client, PartitionEof},
    offsets::{End, ends},
};

/// A message, copied out of librdkafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset in that partition.
    pub offset: i64,
    /// Milliseconds since the epoch, of the producer or the broker.
    pub timestamp: Option<i64>,
    /// The key's bytes; None: no key.
    pub key: Option<Vec<u8>>,
    /// The value's bytes; None: a null value (tombstone).
    pub value: Option<Vec<u8>>,
    /// In their order; those without a value are left out.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// The last value of a header.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut headers = self.headers.iter().rev();
        let (_, value) = headers.find(|(key, _)| key == name)?;
        Some(value)
    }
}

/// Reads partitions outside any group, from the offsets at which they ended when it was created.
pub struct Tail {
    client: Arc<Client>,
    bootstrap: String,
}

impl Kafka {
    /// A tail of `partitions`: it reads every record that is produced after this returns.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn tail(&self, partitions: Vec<Partition>) -> Result<Tail> {
        let from = self
            .ask("ends of partitions", move |client| {
                ends(client, &partitions, End::Latest)
            })
            .await?;
        let bootstrap = self.bootstrap.clone();
        super::ask(&self.bootstrap, "a tail", move || {
            Ok(Tail {
                client: Arc::new(Client::assigned(&bootstrap, &from, PartitionEof::Ignored)?),
                bootstrap,
            })
        })
        .await
    }
}

impl Tail {
    /// The next message, after at most `timeout`; None: there was none.
    ///
    /// # Errors
    /// librdkafka's; the tail stays usable.
    pub async fn next(&self, timeout: Duration) -> Result<Option<Record>> {
        let client = Arc::clone(&self.client);
        super::wait_for(&self.bootstrap, move || next(&client, timeout)).await
    }
}

/// See [`Tail::next`].
pub(super) fn next(client: &Client, timeout: Duration) -> Result<Option<Record>> {
    match client.consumer().poll(timeout) {
        None => Ok(None),
        Some(Ok(message)) => Ok(Some(record(&message))),
        Some(Err(e)) => Err(e.into()),
    }
}

/// Copies a message out of librdkafka.
pub fn record(message: &BorrowedMessage<'_>) -> Record {
    Record {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: match message.timestamp() {
            Timestamp::CreateTime(at) | Timestamp::LogAppendTime(at) => Some(at),
            Timestamp::NotAvailable => None,
        },
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers(message),
    }
}

fn headers(message: &BorrowedMessage<'_>) -> Vec<(String, Vec<u8>)> {
    let headers = message.headers().into_iter().flat_map(|h| h.iter());
    headers
        .filter_map(|h| Some((h.key.to_owned(), h.value?.to_vec())))
        .collect()
}
