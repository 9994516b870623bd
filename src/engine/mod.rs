//! Docker: what is there, what is to be done, doing it, waiting for it, taking it down.

pub(crate) mod event;
pub(crate) mod observed;
