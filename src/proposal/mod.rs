//! What `caravan init` proposes: an `x-caravan` for a Compose file that has none.
//!
//! In the order in which data passes: `stack` recognises the parts of a Compose file; `look` asks
//! what runs of it, if anything does, and makes [`Seen`] of that, a plain value; `infra` and
//! `service` turn both into the parts of an overlay, `overlay` into its text. What cannot be known
//! is proposed as a comment.

mod infra;
mod look;
mod overlay;
mod seen;
mod service;
mod stack;
mod startup;
#[cfg(test)]
mod tests;
mod yaml;

pub(crate) use look::look;
pub(crate) use overlay::text;
pub(crate) use seen::Seen;
pub(crate) use stack::Stack;
