//! What `up` needs to know from a service itself. It connects from the host, or from a temporary
//! container on the pipeline's network (docs/decisions/0028).

use std::{net::IpAddr, time::Duration};

use declaration::{Effect, Group, Pipeline, Ready};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// A request to a service of the pipeline. It may contain a password, so the temporary container gets it
/// on stdin and never as an argument.
#[derive(Serialize, Deserialize)]
pub enum Question {
    /// Does the service answer its protocol? Waits until it does. The answer is its error message if it
    /// refuses the declared address for a reason that waiting does not change.
    Ready {
        /// The protocol.
        kind: Ready,
        /// As in `declaration::Endpoint::address`.
        address: String,
    },
    /// What is missing of the effect of a one-shot service?
    Effect {
        /// The declaration, with the addresses of its services.
        pipeline: Box<Pipeline>,
        /// The effect to check.
        effect: Effect,
    },
    /// Is the consumer group stable without the removed replicas? Waits until it is. The answer names
    /// the members that are still listed after `timeout`.
    Rebalanced {
        /// Kafka's `host:port` list.
        address: String,
        /// The removed replicas.
        departed: Departed,
        /// Maximum waiting time.
        timeout: Duration,
    },
}

/// Replicas that were removed from a consumer group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Departed {
    /// The consumer group.
    pub group: Group,
    /// Addresses of their containers.
    pub hosts: Vec<IpAddr>,
    /// Their names as static members (`group.instance.id`). A static member is matched by this name,
    /// whichever host it joined from.
    pub instances: Vec<String>,
}

/// `Ok(None)`: the condition holds. `Err(text)`: it could not be determined.
pub type Answer = Result<Option<Unmet>, String>;

/// A condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// The reason, in one line.
    pub why: String,
    /// For [`Question::Ready`]: what the service refuses.
    pub refused: Option<Refused>,
}

impl Unmet {
    /// For questions other than [`Question::Ready`].
    pub fn because(why: String) -> Self {
        Self { why, refused: None }
    }
}

/// What a service refuses of the address that is declared for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refused {
    /// The user or the password.
    Credentials,
    /// There is no such database, or the user may not use it.
    Database,
    /// The protocol: one side uses TLS, or the address is invalid.
    Protocol,
}

/// Answers questions from the network of this process.
pub trait Answers: std::fmt::Debug + Send + Sync {
    /// Connects to the service and answers `question`.
    fn answer<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Answer>;
}

/// What a container observes of the engine's host; None: unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Addresses of the host name that was resolved, or the resolver's error.
    pub resolved: Result<Vec<IpAddr>, String>,
    /// Free bytes of the file system that the engine stores containers on.
    pub disk_free: Option<u64>,
    /// Total memory of the host in bytes.
    pub memory_total: Option<u64>,
    /// Memory in bytes that is available without swapping (`MemAvailable`).
    pub memory_available: Option<u64>,
}
