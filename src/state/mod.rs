//! What Caravan remembers between runs, beside the Compose file or in the user's state directory:
//! `dotenv` (reading `.env`), `secrets` (the generated ones), `lock` (one `up` at a time).

pub(crate) mod dotenv;
mod lock;
mod secrets;
#[cfg(test)]
mod tests;

pub(crate) use lock::{lock, lock_holder};
pub(crate) use secrets::{ensure_secrets, secrets_to_draw};
