//! The wire format that every service of the pipeline shares, whatever its language.
//!
//! An event is a JSON object (`schemas/` holds a JSON Schema for each type) in a Kafka message
//! whose key is the correlation id:
//!
//! - [`envelope`]: the object's common fields, and encoding;
//! - [`mod@decode`]: decoding, with a reason for a person; `object` reads strictly, `text` quotes;
//! - [`payloads`]: what each event type carries;
//! - [`ids`]: the ids that follow from natural keys, so that doing a thing twice yields one id;
//! - [`names`]: topics' and headers' names.

pub mod decode;
pub mod envelope;
pub mod ids;
pub mod names;
mod object;
pub mod payloads;
mod text;

pub use decode::{DecodeError, decode};
pub use envelope::Event;
pub use payloads::{Payload, PurchaseConfirmed, PurchaseCreated, TrainerAllocated};
