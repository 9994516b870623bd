//! Creates and adjusts topics as declared: [`Step`] is what a topic needs, [`Broker`] applies it.

mod broker;
mod plan;

pub use broker::{Broker, Refusal};
pub use plan::{Existing, Step, Wanted};
