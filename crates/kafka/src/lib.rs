//! Kafka as an observer sees it: nothing here joins a group or commits an offset. Only [`send`]
//! and [`admin`] change anything, and only where a command is asked to.
//!
//! - [`Error`]: what failed, at which Kafka, and the cause;
//! - [`client`]: a librdkafka client that is silent, impatient and torn down in the background;
//! - [`topics`]: topics, partitions, retention;
//! - [`groups`]: consumer groups, their members and what those were assigned; [`departed`]: members
//!   that are gone for good;
//! - [`offsets`]: ends of partitions, committed offsets, lag;
//! - [`backlog`]: whether a lag is messages at all;
//! - [`partitioner`]: where Java's, librdkafka's and KafkaJS' producers put a key;
//! - [`tail`]: what is produced from now on;
//! - [`read`]: what stands in partitions at one moment; [`scan`]: where events are in it;
//! - [`admin`]: settings of topics; making one, cutting records off;
//! - [`send`]: records to partitions of the caller's choice.

use std::{sync::Arc, time::Duration};

pub mod admin;
mod backlog;
mod client;
pub mod departed;
mod error;
pub mod groups;
pub mod identity;
mod native;
pub mod offsets;
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
use tokio::net::TcpStream;

use diagnostics::instrument_call;

/// What one call may take, unless its caller says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// A topic's name and a partition's number.
pub type Partition = (String, i32);

/// One client for metadata, groups and offsets; clones share its connections.
#[derive(Clone)]
pub struct Kafka {
    client: Arc<Client>,
    bootstrap: String,
}

impl Kafka {
    /// A client of the Kafka that `bootstrap` (`host:port`, several with commas) leads to; it
    /// connects with the first question.
    ///
    /// # Errors
    /// librdkafka could not be set up.
    pub fn new(bootstrap: &str) -> Result<Self> {
        let client = Client::new(bootstrap).map_err(|e| e.at(bootstrap))?;
        Ok(Self {
            client: Arc::new(client),
            bootstrap: bootstrap.to_owned(),
        })
    }

    /// As [`Self::new`], but first sees whether anything listens: then a Kafka that is down is
    /// known at once.
    ///
    /// # Errors
    /// Nothing listens there.
    pub async fn connect(bootstrap: &str) -> Result<Self> {
        listening(bootstrap, TIMEOUT).await?;
        Self::new(bootstrap)
    }

    /// As [`Self::connect`], and it has told of its brokers.
    ///
    /// # Errors
    /// Why it does not (yet).
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

    /// Runs a question, which blocks, off the runtime.
    async fn ask<T: Send + 'static>(
        &self,
        what: &str,
        question: impl FnOnce(&Client) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let client = Arc::clone(&self.client);
        ask(&self.bootstrap, what, move || question(&client)).await
    }
}

/// Asks for the brokers once.
///
/// # Errors
/// Why there is no answer (yet).
pub async fn ready(bootstrap: &str, timeout: Duration) -> Result<()> {
    Kafka::answering(bootstrap, timeout).await.map(drop)
}

/// Runs a question, which blocks, off the runtime; errors say which Kafka.
async fn ask<T: Send + 'static>(
    bootstrap: &str,
    what: &str,
    question: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let answer = instrument_call("kafka", what, wait_for(bootstrap, question)).await;
    answer.map_err(|e| e.of_call(what))
}

/// As [`ask`], for what is no question: it waits for what may never come.
async fn wait_for<T: Send + 'static>(
    bootstrap: &str,
    question: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(question)
        .await
        .unwrap_or_else(|e| Err(e.into()))
        .map_err(|e| e.at(bootstrap))
}

/// librdkafka tries a refused connection again till its time is up; this answers at once.
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
