//! The wire format of all services of the pipeline, in any language.
//!
//! An event is a JSON object (`schemas/` holds a JSON Schema for each type) in a Kafka message
//! whose key is the correlation id:
//!
//! - [`envelope`]: the object's common fields, and encoding;
//! - [`mod@decode`]: decoding, with a reason for a person; `object` reads strictly, `text` quotes;
//! - [`payloads`]: what each event type carries;
//! - [`ids`]: the ids that are derived from natural keys, so that a repetition yields the same id;
//! - [`names`]: the names of topics and headers.

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
