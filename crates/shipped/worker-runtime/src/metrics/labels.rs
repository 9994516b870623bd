//! The labels of metrics. Their values are bounded: by an enum, by what is deployed (topics,
//! partitions, routes), or by [`Kinds`].

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// An enum whose variants are label values.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$what])* $variant,)+
        }

        impl $name {
            pub(super) const ALL: &[Self] = &[$(Self::$variant),+];
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
                let word = match self {
                    $(Self::$variant => $word,)+
                };
                word.encode(encoder)
            }
        }
    };
}

words! {
    /// The outcome of an event.
    EventOutcome {
        /// Its effects were applied.
        Processed = "processed",
        /// Its effects were already applied earlier.
        Duplicate = "duplicate",
        /// It became a dead letter.
        DeadLettered = "dead_lettered",
    }
}

words! {
    /// Why an attempt is repeated.
    RetryKind {
        /// A database, a broker or a service is unavailable; the events are not at fault.
        Infrastructure = "infrastructure",
        /// The event may succeed later; a bounded number of retries.
        Transient = "transient",
        /// The event's effect is not visible yet; retried forever.
        Unconfirmed = "unconfirmed",
    }
}

words! {
    /// Why nothing is read from a partition.
    PauseReason {
        /// Its queue stayed full: the task is busy.
        Full = "full",
        /// Its task waits for a database, a broker or a service.
        Infrastructure = "infrastructure",
        /// The number or size of events that wait for a retry has reached its limit.
        WaitingEvents = "waiting_events",
    }
}

words! {
    /// The stages of processing a batch.
    Stage {
        /// Calls to other services.
        Prepare = "prepare",
        /// The transaction: inbox, effects, commit.
        Transaction = "transaction",
        /// Reading the rows from which the outputs are built.
        ReadOutputs = "read_outputs",
        /// Sending the outputs and awaiting every acknowledgement.
        Produce = "produce",
        /// The whole batch, including waits for infrastructure.
        Batch = "batch",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Event {
    pub(super) topic: &'static str,
    pub(super) outcome: EventOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Topic {
    pub(super) topic: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Partition {
    pub(super) topic: &'static str,
    pub(super) partition: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfStage {
    pub(super) stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Retry {
    pub(super) kind: RetryKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Paused {
    pub(super) reason: PauseReason,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DeadLetter {
    pub(super) kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Connections {
    pub(super) state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) route: String,
    pub(super) status: u16,
}

/// Label values that are not an enum, such as the kinds of dead letters. A limited number of
/// distinct words is shown; further ones are shown as `other`.
#[derive(Debug, Default)]
pub(super) struct Kinds(Mutex<BTreeSet<String>>);

impl Kinds {
    pub(super) const MAX: usize = 50;

    /// The word, or `other`.
    pub(super) fn bounded<'k>(&self, kind: &'k str) -> &'k str {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(kind) || (known.len() < Self::MAX && known.insert(kind.to_owned())) {
            kind
        } else {
            "other"
        }
    }
}
