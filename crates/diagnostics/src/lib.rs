//! How the crates of the CLI report: [`Error`] says what failed, why, and what to do next;
//! [`Invocation`] makes command lines for hints; [`instrument_call`] emits an event for each remote
//! call, for `-v`; [`Cause`] is what was at fault in one.

mod cause;
mod error;
mod instrument;
mod invocation;

pub use cause::Cause;
pub use error::{Error, Kind, Result};
pub use instrument::{CALLS, instrument_call};
pub use invocation::{Invocation, quote};
