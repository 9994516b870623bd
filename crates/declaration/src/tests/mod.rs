//! Tests of whole declarations: the shipped one, a corpus of invalid ones, and their location. The crate
//! `docker` tests a corpus of published Compose files (`spec::corpus`).

mod address_scopes;
mod embedded;
mod examples;
mod files;
mod forms;
mod names;
mod origins;
mod profiles;
mod promises;
mod resolved;
mod wrong;
