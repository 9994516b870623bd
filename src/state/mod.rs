//! What Caravan remembers between runs, beside the Compose file or in the user's state directory:
//! `dotenv` (reading `.env`) and `file` (writing it), `secrets` (the generated ones), `ports` (the
//! chosen ones), `lock` (one `up` at a time).

pub(crate) mod dotenv;
mod file;
mod lock;
mod ports;
mod secrets;
#[cfg(test)]
mod tests;

pub(crate) use lock::lock;
pub(crate) use ports::{Chosen, Claims, Host, choose_ports};
pub(crate) use secrets::ensure_secrets;
