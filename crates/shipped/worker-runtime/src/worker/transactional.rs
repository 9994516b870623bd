//! Effects once: inbox rows and effects in one transaction, then outputs built from the rows.
//!
//! The order of the steps (docs/architecture.md, "Effects once"):
//! 1. external calls;
//! 2. one transaction that inserts inbox rows and effects, and its commit;
//! 3. a separate statement that reads the rows back, also for duplicates, to build the outputs;
//! 4. sending the outputs and awaiting every acknowledgement;
//! 5. only then may the consumer commit the offsets.
//!
//! A crash between two steps ends in redelivery. The inbox recognises the events, and the outputs
//! are emitted again with the same ids.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use caravan_events::{Event, Payload};
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use super::{
    Outcome, Processor, Received,
    bisection::Bisection,
    stages::{self, EmittedRef},
};
use crate::{
    Failure, InfrastructureError, ProduceError, Trace, database,
    kafka::{self, Producer, Record},
    kill::{self, Point},
    metrics::{Stage, WorkerMetrics},
};

/// Timeout of one transaction and of reading its rows. The server has its own timeouts; this one is
/// for a server that is frozen.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(30);

/// The domain logic of a worker that writes to the database, without Kafka, retries or the inbox.
/// One value serves all partitions concurrently.
pub trait Handler: Send + Sync + 'static {
    /// The payload of the events that it handles.
    type Input: Payload;

    /// Calls other services for every event, before the transaction. Returns one result per event, in
    /// order. It must be idempotent: a redelivered event is prepared again.
    fn prepare(
        &self,
        events: &[&Received<Self::Input>],
    ) -> impl Future<Output = Vec<Result<(), Failure>>> + Send {
        std::future::ready(events.iter().map(|_| Ok(())).collect())
    }

    /// Returns the indices of the events whose effect, written by another service, is in the
    /// database. The other events get no inbox row and are retried. By default, all indices.
    fn confirm(
        &self,
        _db: &mut PgConnection,
        events: &[&Received<Self::Input>],
    ) -> impl Future<Output = Result<HashSet<usize>, sqlx::Error>> + Send {
        std::future::ready(Ok((0..events.len()).collect()))
    }

    /// Writes the effects of events that are new to the inbox, in the transaction that inserts their
    /// inbox rows. The events are ordered by their natural key.
    fn apply(
        &self,
        db: &mut PgConnection,
        events: &[&Received<Self::Input>],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Builds the events to emit from the committed rows, also for duplicates. Returns one per event,
    /// in order; None if there is nothing to emit.
    fn outputs(
        &self,
        _db: &mut PgConnection,
        events: &[&Received<Self::Input>],
    ) -> impl Future<Output = Result<Vec<Option<Emitted>>, sqlx::Error>> + Send {
        std::future::ready(Ok(vec![None; events.len()]))
    }
}

/// An event to be emitted, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    emitted_ref: EmittedRef,
    correlation_id: Uuid,
    value: String,
}

impl<P: Payload> From<Event<P>> for Emitted {
    fn from(event: Event<P>) -> Self {
        Self {
            emitted_ref: EmittedRef {
                topic: P::TOPIC,
                event_type: P::EVENT_TYPE,
                event_id: event.event_id,
            },
            correlation_id: event.correlation_id,
            value: event.encode(),
        }
    }
}

/// A [`Processor`] that runs a [`Handler`] with an inbox and a producer.
pub struct Transactional<H> {
    consumer: &'static str,
    handler: H,
    db: PgPool,
    producer: Producer,
    metrics: WorkerMetrics,
}

/// An event of a committed transaction.
struct Committed {
    index: usize,
    duplicate: bool,
    output: Option<Emitted>,
}

impl<H: Handler> Transactional<H> {
    /// `consumer` is the consumer group, and the value of the inbox column `consumer`.
    pub fn new(
        consumer: &'static str,
        handler: H,
        db: PgPool,
        producer: Producer,
        metrics: WorkerMetrics,
    ) -> Self {
        Self {
            consumer,
            handler,
            db,
            producer,
            metrics,
        }
    }

    /// Writes the events at `indices` of the batch in one transaction. If it fails because of an
    /// event, the batch is bisected, so that the other events are written in few transactions.
    async fn write(
        &self,
        batch: &[&Received<H::Input>],
        indices: &[usize],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<Vec<Committed>, InfrastructureError> {
        let mut committed = Vec::with_capacity(indices.len());
        let mut bisection = Bisection::of(indices.len());
        while let Some(part) = bisection.next() {
            match self.transaction(batch, &indices[part]).await {
                Ok(part) => {
                    committed.extend(part);
                    bisection.passed();
                }
                Err(failure) => {
                    let outcome = item_outcome(failure)?;
                    if let Some(at_fault) = bisection.failed() {
                        outcomes[indices[at_fault]] = Some(outcome);
                    }
                }
            }
        }
        Ok(committed)
    }

    async fn transaction(
        &self,
        batch: &[&Received<H::Input>],
        indices: &[usize],
    ) -> Result<Vec<Committed>, Failure> {
        database::within(DATABASE_TIMEOUT, self.try_transaction(batch, indices)).await
    }

    async fn try_transaction(
        &self,
        batch: &[&Received<H::Input>],
        indices: &[usize],
    ) -> Result<Vec<Committed>, Failure> {
        let events: Vec<_> = indices.iter().map(|index| batch[*index]).collect();
        let began = Instant::now();
        let mut connection = self.db.acquire().await?;
        let mut transaction = connection.begin().await?;
        kill::reached(Point::AfterBegin);
        let confirmed = self.handler.confirm(&mut transaction, &events).await?;
        let (indices, events): (Vec<usize>, Vec<_>) = indices
            .iter()
            .zip(events)
            .enumerate()
            .filter(|(position, _)| confirmed.contains(position))
            .map(|(_, (index, event))| (*index, event))
            .unzip();
        let unseen = self.insert_into_inbox(&mut transaction, &events).await?;
        kill::reached(Point::AfterInbox);
        let mut fresh: Vec<_> = unseen.iter().map(|position| events[*position]).collect();
        fresh.sort_by_key(|received| received.event.payload.natural_key());
        if !fresh.is_empty() {
            self.handler.apply(&mut transaction, &fresh).await?;
        }
        kill::reached(Point::AfterEffect);
        kill::reached(Point::BeforeCommit);
        transaction.commit().await?;
        kill::reached(Point::AfterCommit);
        let committed = Instant::now();
        self.metrics.stage(Stage::Transaction, committed - began);
        let outputs = self.handler.outputs(&mut connection, &events).await?;
        self.metrics.stage(Stage::ReadOutputs, committed.elapsed());
        let committed = indices.into_iter().zip(outputs).enumerate();
        Ok(committed
            .map(|(position, (index, output))| Committed {
                index,
                duplicate: !unseen.contains(&position),
                output,
            })
            .collect())
    }

    fn count_emitted(&self, topics: impl Iterator<Item = &'static str>) {
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        for topic in topics {
            *counts.entry(topic).or_default() += 1;
        }
        for (topic, events) in counts {
            self.metrics.emitted(topic, events);
        }
    }

    /// Inserts the inbox rows of the events. Returns the positions of the new events; of duplicates
    /// within the batch, that of the first.
    async fn insert_into_inbox(
        &self,
        db: &mut PgConnection,
        events: &[&Received<H::Input>],
    ) -> Result<HashSet<usize>, sqlx::Error> {
        let mut ids: Vec<Uuid> = events.iter().map(|r| r.event.event_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut unseen: HashSet<Uuid> = sqlx::query_scalar(
            "INSERT INTO processed_events (consumer, event_id)
             SELECT $1, * FROM unnest($2::uuid[])
             ON CONFLICT DO NOTHING RETURNING event_id",
        )
        .bind(self.consumer)
        .bind(&ids)
        .fetch_all(db)
        .await?
        .into_iter()
        .collect();
        Ok((0..events.len())
            .filter(|position| unseen.remove(&events[*position].event.event_id))
            .collect())
    }

    /// Sends the outputs, and returns once the brokers have acknowledged all of them.
    async fn emit(
        &self,
        batch: &[&Received<H::Input>],
        committed: &mut [Committed],
    ) -> Result<(), ProduceError> {
        let mut emitted = Vec::with_capacity(committed.len());
        let mut records: Vec<Record> = Vec::with_capacity(committed.len());
        for c in committed {
            if let Some(output) = c.output.take() {
                let cause = batch[c.index];
                emitted.push((cause, output.emitted_ref));
                records.push(output.into_record(cause));
            }
        }
        kill::reached(Point::BeforeProduce);
        if !records.is_empty() {
            let began = Instant::now();
            let sent = kafka::send_all(&self.producer, records).await;
            self.metrics.stage(Stage::Produce, began.elapsed());
            sent?;
        }
        kill::reached(Point::AfterProduce);
        self.count_emitted(emitted.iter().map(|(_, emitted_ref)| emitted_ref.topic));
        for (cause, emitted_ref) in emitted {
            stages::emitted(cause, emitted_ref);
        }
        Ok(())
    }
}

impl<H: Handler> Processor for Transactional<H> {
    type Input = H::Input;

    async fn process(
        &self,
        batch: &[&Received<Self::Input>],
    ) -> Result<Vec<Outcome>, InfrastructureError> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut prepared = Vec::with_capacity(batch.len());
        let began = Instant::now();
        let results = self.handler.prepare(batch).await;
        self.metrics.stage(Stage::Prepare, began.elapsed());
        for (index, result) in results.into_iter().enumerate() {
            match result {
                Ok(()) => prepared.push(index),
                Err(failure) => outcomes[index] = Some(item_outcome(failure)?),
            }
        }
        if !prepared.is_empty() {
            let mut committed = self.write(batch, &prepared, &mut outcomes).await?;
            for c in &committed {
                stages::written(batch[c.index], c.duplicate);
            }
            self.emit(batch, &mut committed).await?;
            for Committed {
                index, duplicate, ..
            } in committed
            {
                outcomes[index] = Some(Outcome::Processed { duplicate });
            }
        }
        let unconfirmed =
            || Outcome::Unconfirmed("its effect is not in the database yet".to_owned());
        Ok(outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(unconfirmed))
            .collect())
    }
}

impl Emitted {
    fn into_record<P>(self, cause: &Received<P>) -> Record {
        let key = self.correlation_id.to_string();
        let trace = cause.trace.map(Trace::child);
        let topic = self.emitted_ref.topic;
        Record::event(topic, &key, self.value, cause.synthetic, trace)
    }
}

/// The outcome of an event that failed. An infrastructure failure is an error of the whole batch.
fn item_outcome(failure: Failure) -> Result<Outcome, InfrastructureError> {
    match failure {
        Failure::Infrastructure(error) => Err(error),
        Failure::Transient(reason) => Ok(Outcome::Transient(reason)),
        Failure::Permanent(reason) => Ok(Outcome::Permanent(reason)),
    }
}
