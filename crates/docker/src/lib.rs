//! Docker: what is there, what is to be done, doing it, waiting for it, taking it down.
//!
//! In the order in which data passes: `connect` finds the engine; `observe` says what it has; `deployment` where a project
//! is reached and where it was brought up from;
//! `images` brings what is to run; `spec` turns a service into what Docker is handed, `settings`
//! names what differs from what is there, and `plan` says what to do about it (`preview` shows it, `drift` what of it is not as declared);
//! `up` sets all services going, `apply` brings each one up as soon as its dependencies on the
//! `board` allow, `wait` tells when it is ready
//! (`asking` asks it), `standing` whether it stays so until the last one is, and `failure` why it is not, `outcome` makes one
//! answer of all; `restart` and `down` are the way back, in the order of `stopping`. `facts`,
//! `inside`, `vacancy` and `leftovers` are what `doctor` asks; `network_container` is where commands run that
//! the host could not. Nothing here prints: events go to a
//! channel.

mod connect;
mod deployment;
mod observe;

mod drift;
pub mod images;
mod plan;
pub mod settings;
mod spec;

mod apply;
mod asking;
mod board;
mod containers;
mod handover;
mod oneshot;
mod outcome;
mod resources;
mod standing;
mod up;
mod wait;

mod exit_code;
mod failure;
mod listening;
pub mod ports;
mod preview;
mod published;
mod refusal;

mod down;
mod restart;
mod stopping;

mod logs;
mod rotation;

pub mod facts;
mod inside;
pub mod leftovers;
mod network_container;
pub mod vacancy;

mod platform;

pub use connect::{Engine, OLDEST_API};
pub use deployment::Deployment;
pub use network_container::NetworkContainer;
