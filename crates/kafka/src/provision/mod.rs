//! Topics made as declared: [`Step`] says what a topic needs, [`Broker`] carries it out.

mod broker;
mod plan;

pub use broker::{Broker, Refusal};
pub use plan::{Existing, Step, Wanted};
