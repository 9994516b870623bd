//! What `caravan init` proposes: an `x-caravan` for a Compose file that has none.
//!
//! `stack` recognises the services of a Compose file; `observe` queries the containers that run, if
//! any, and returns [`Observed`], a plain value; `infra` and `service` make the parts of the overlay from
//! both; `overlay` writes it. What is unknown becomes a comment to fill in.

mod infra;
mod observe;
mod observed;
mod overlay;
mod service;
mod stack;
mod startup;
#[cfg(test)]
mod tests;
mod yaml;

pub(crate) use observe::observe;
pub(crate) use observed::Observed;
pub(crate) use overlay::text;
pub(crate) use stack::Stack;
