//! Whether a pipeline works.
//!
//! `checks` compares what exists with the declaration; `flow` follows messages through the pipeline: one
//! test message, many, or an earlier one; `dead_letters` lists, replays and deletes dead letters;
//! `stores` is thin access to Postgres, Redis and HTTP for all of them. The engine is a
//! `platform::Platform`: nothing here depends on a particular one.

pub mod checks;
pub mod dead_letters;
pub mod flow;
pub mod stores;
