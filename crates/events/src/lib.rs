//! The wire format that every service of the pipeline shares, whatever its language.
//!
//! An event is a JSON object (`schemas/` holds a JSON Schema for each type) in a Kafka message
//! whose key is the correlation id:
//!
//! - [`envelope`]: the object's common fields, encoding, and decoding with a reason for a person;
//! - [`payloads`]: what each event type carries;
//! - [`ids`]: the ids that follow from natural keys, so that doing a thing twice yields one id;
//! - [`names`]: topics' and headers' names.

pub mod envelope;
pub mod ids;
pub mod names;
pub mod payloads;

pub use envelope::{DecodeError, Event, decode};
pub use payloads::{Payload, PurchaseConfirmed, PurchaseCreated, TrainerAllocated};
