//! What `up` has to know of a service from the service itself: asked from the host, or from inside
//! the pipeline's network by a short-lived container (docs/decisions/0028).

use std::{net::IpAddr, time::Duration};

use declaration::{Effect, Group, Pipeline, Ready};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// It may hold a password: it is handed over on stdin, never as an argument.
#[derive(Serialize, Deserialize)]
pub enum Question {
    /// Answered once the service answers its protocol; by its refusal, where it refuses the password.
    Ready { kind: Ready, address: String },
    /// Answered by what is missing of what a one-shot leaves behind.
    Effect {
        pipeline: Box<Pipeline>,
        effect: Effect,
    },
    /// Answered once the group at `address` rests on the members that are left; by who is still listed,
    /// where that takes longer than `patience`.
    TakenOver {
        address: String,
        departed: Departed,
        patience: Duration,
    },
}

/// Replicas that were removed from a consumer group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Departed {
    pub group: Group,
    /// Where they ran.
    pub hosts: Vec<IpAddr>,
    /// Their names as static members; such a one may have joined from somewhere else.
    pub instances: Vec<String>,
}

/// In words; why it could not be found out, else.
pub type Answer = Result<Option<String>, String>;

/// Answers questions from where this process runs.
pub trait Answers: std::fmt::Debug + Send + Sync {
    fn answer<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Answer>;
}

/// What a container of the engine's machine sees; None where it cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// The addresses of the name that was looked up, else why there are none.
    pub resolved: Result<Vec<IpAddr>, String>,
    /// Bytes free for containers: their root lies where the engine keeps its data.
    pub disk_free: Option<u64>,
    /// Bytes of the machine.
    pub memory_total: Option<u64>,
    /// Bytes that a new process could have without anything else being pushed out.
    pub memory_available: Option<u64>,
}
