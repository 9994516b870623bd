//! Errors and diagnostics of the CLI's crates: [`Error`] says what failed, why, and what to do next;
//! [`Invocation`] makes command lines for hints, [`commands`] finds them in one; [`instrument_call`] emits
//! an event for each remote call, [`instrument_blocking`] for each file that is read, for `-v`; [`Cause`] is the
//! cause of a failed one.

mod cause;
mod error;
mod instrument;
mod invocation;

pub use cause::Cause;
pub use error::{Error, Kind, Result};
pub use instrument::{CALLS, instrument_blocking, instrument_call};
pub use invocation::{Invocation, commands, quote};
