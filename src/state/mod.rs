//! What Caravan remembers between runs, beside the Compose file or in the user's state directory:
//! `file` (writing `.env`), `secrets` (the generated ones), `ports` (the
//! chosen ones), `files` (secrets and configs that containers are given), `results` (what `verify` found of
//! the rules over the database), `lock` (one `up` at a time).

mod file;
mod files;
mod lock;
mod ports;
mod results;
mod secrets;
#[cfg(test)]
mod tests;

pub(crate) use files::{remove as remove_files, write as write_files};
pub(crate) use lock::{lock, lock_holder};
pub(crate) use ports::{
    Chosen, Claims, Foreseen, Host, choose_ports, examine_ports, foresee_ports,
};
pub(crate) use results::{read_results, store_results};
pub(crate) use secrets::{ensure_secrets, secrets_to_draw};
