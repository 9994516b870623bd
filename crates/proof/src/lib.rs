//! Whether a pipeline works.
//!
//! `checks` holds what is there against what is declared; `probe` follows one synthetic message
//! through the flow, `load` many, `trace` one that was; `dead_letters` surveys, replays and purges
//! what was dead-lettered; `stores` is thin access to Postgres, Redis and HTTP for all of them. What
//! a pipeline runs on is a `platform::Platform`: nothing here knows which.

pub mod checks;
pub mod dead_letters;
pub mod load;
pub mod probe;
pub mod stores;
pub mod trace;
