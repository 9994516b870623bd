//! The labels of metrics. Their values are bounded: by an enum, by what is deployed (topics,
//! partitions, routes), or by [`Kinds`].

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// An enum whose variants are shown as these words.
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
    /// What became of an event.
    EventOutcome {
        /// Its effects are taken.
        Processed = "processed",
        /// Its effects were taken before.
        Duplicate = "duplicate",
        /// It can never be processed.
        DeadLettered = "dead_lettered",
    }
}

words! {
    /// Why something is tried again.
    RetryKind {
        /// Nothing is wrong with the events: a database, a broker, a service is away.
        Infrastructure = "infrastructure",
        /// The event may do better later; a few tries.
        Transient = "transient",
        /// The event's effect cannot be seen yet; for ever.
        Unconfirmed = "unconfirmed",
    }
}

words! {
    /// Why nothing is read from a partition.
    PauseReason {
        /// Enough has lain before its task for a while: it is busy.
        Full = "full",
        /// Its task waits for a database, a broker or a service.
        Infrastructure = "infrastructure",
        /// As many events wait to be tried again as are held in memory.
        WaitingEvents = "waiting_events",
    }
}

words! {
    /// Where a batch's time goes.
    Stage {
        /// Calls to other services.
        Prepare = "prepare",
        /// The transaction: inbox, effects, commit.
        Transaction = "transaction",
        /// Reading what is to be told from the rows.
        ReadOutputs = "read_outputs",
        /// Sending, every acknowledgement awaited.
        Produce = "produce",
        /// All of them, waiting for infrastructure included.
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

/// Words that come from elsewhere, as the kinds of dead letters do: the first so many are shown,
/// the rest as `other`.
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
