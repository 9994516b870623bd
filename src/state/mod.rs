//! State that Caravan keeps between runs, beside the Compose file or in the user's state directory.
//!
//! `secrets`: generated secrets; `ports`: chosen host ports; `files`: secrets and configs that are
//! mounted into containers; `results`: what `verify` found of the rules over the database; `lock`: the
//! project's lock; `file`: how all of these are written.

mod file;
mod files;
mod lock;
mod ports;
mod results;
mod secrets;
#[cfg(test)]
mod tests;

pub(crate) use file::replace as replace_file;
pub(crate) use files::{remove as remove_files, write as write_files};
pub(crate) use lock::{lock, lock_holder};
pub(crate) use ports::{Chosen, Claims, PortPlan, choose_ports, plan_ports, preview_ports};
pub(crate) use results::{read_results, store_results};
pub(crate) use secrets::{ensure_secrets, secrets_to_generate};
