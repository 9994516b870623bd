//! Kafka for an observer: nothing here joins a group or commits an offset. Only [`send`], [`admin`] and
//! [`provision`] change anything, for commands whose purpose is that change.
//!
//! - [`Error`]: which call failed, at which address, and the cause;
//! - `client`: a librdkafka client with short timeouts that is destroyed on a detached thread;
//! - [`topics`]: topics, partitions, retention;
//! - [`groups`]: consumer groups, their members and assigned partitions; [`departed`]: waiting for a
//!   group to drop removed members;
//! - [`offsets`]: ends of partitions, committed offsets, lag;
//! - [`backlog`]: whether a lag holds any messages, and how old the first one is;
//! - [`partitioner`]: the partition that Java's, librdkafka's and KafkaJS' producers choose for a key;
//! - [`tail`]: records produced from now on;
//! - [`read`]: the records of partitions at one moment; [`scan`]: events found by key;
//! - [`admin`]: topic settings, creating a topic, deleting records; [`provision`]: topics as declared;
//! - [`send`]: producing records to chosen partitions.

use std::{sync::Arc, time::Duration};

pub mod admin;
pub mod backlog;
mod client;
pub mod departed;
mod error;
pub mod groups;
pub mod identity;
mod native;
pub mod offsets;
mod partition;
pub mod partitioner;
pub mod provision;
pub mod read;
pub mod record;
pub mod scan;
pub mod send;
pub mod tail;
pub mod topics;

use client::Client;
pub use client::LIBRDKAFKA;
pub use error::Error;
use error::Result;
pub use native::{Protocol, State};
pub use partition::Partition;
use tokio::net::TcpStream;

use diagnostics::instrument_call;

/// The default timeout of one call.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// One client for metadata, groups and offsets; clones share its connections.
#[derive(Clone)]
pub struct Kafka {
    client: Arc<Client>,
    bootstrap: String,
}

impl Kafka {
    /// A client for `bootstrap.servers` (`host:port`, several separated by commas). It connects with the
    /// first request.
    ///
    /// # Errors
    /// librdkafka could not be configured.
    pub fn new(bootstrap: &str) -> Result<Self> {
        let client = Client::new(bootstrap).map_err(|e| e.at(bootstrap))?;
        Ok(Self {
            client: Arc::new(client),
            bootstrap: bootstrap.to_owned(),
        })
    }

    /// As [`Self::new`], but first opens a TCP connection: if Kafka is down, this fails at once instead of
    /// at the first request's timeout.
    ///
    /// # Errors
    /// No address accepts a connection.
    pub async fn connect(bootstrap: &str) -> Result<Self> {
        listening(bootstrap, TIMEOUT).await?;
        Self::new(bootstrap)
    }

    /// As [`Self::connect`], and its metadata lists at least one broker.
    ///
    /// # Errors
    /// Nothing listens, no response within `timeout`, or no broker is registered.
    pub async fn answering(bootstrap: &str, timeout: Duration) -> Result<Self> {
        listening(bootstrap, timeout).await?;
        let kafka = Self::new(bootstrap)?;
        let brokers = move |client: &Client| {
            let metadata = client.fetch_metadata(None, timeout)?;
            if metadata.brokers().is_empty() {
                return Err(Error::no_broker());
            }
            Ok(())
        };
        kafka.ask("brokers", brokers).await?;
        Ok(kafka)
    }

    /// Runs a blocking request on the runtime's thread pool for blocking calls.
    async fn ask<T: Send + 'static>(
        &self,
        what: &str,
        request: impl FnOnce(&Client) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let client = Arc::clone(&self.client);
        ask(&self.bootstrap, what, move || request(&client)).await
    }
}

/// Requests the list of brokers once.
///
/// # Errors
/// As [`Kafka::answering`].
pub async fn ready(bootstrap: &str, timeout: Duration) -> Result<()> {
    Kafka::answering(bootstrap, timeout).await.map(drop)
}

/// Runs a blocking request on a blocking thread; errors carry the address and the call.
async fn ask<T: Send + 'static>(
    bootstrap: &str,
    what: &str,
    request: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let answer = instrument_call("kafka", what, wait_for(bootstrap, request)).await;
    answer.map_err(|e| e.of_call(what))
}

/// As [`ask`], but not instrumented as a call: a poll may wait for records that never arrive.
async fn wait_for<T: Send + 'static>(
    bootstrap: &str,
    request: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(request)
        .await
        .unwrap_or_else(|e| Err(e.into()))
        .map_err(|e| e.at(bootstrap))
}

/// Fails at once if every address refuses: librdkafka retries a refused connection until its timeout.
async fn listening(bootstrap: &str, timeout: Duration) -> Result<()> {
    let mut last = Error::no_address();
    for server in bootstrap.split(',').map(str::trim) {
        match tokio::time::timeout(timeout, TcpStream::connect(server)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(e)) => last = e.into(),
            Err(_) => last = Error::no_answer(),
        }
    }
    Err(last.at(bootstrap).of_call("connect"))
}
