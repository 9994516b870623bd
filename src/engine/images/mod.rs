//! The images that services run from: found here, pulled, or made here.
//!
//! `resolve` decides where each service's image comes from; `pull` asks a registry, briefly;
//! `pack` makes Caravan's own out of the running executable; `template` holds what the others are
//! built from, `build` builds it, on what `base` makes out of Debian's packages; `context` is what a
//! declared build is sent, `ignore` what of it is not.

mod base;
mod build;
mod context;
mod elf;
mod ignore;
mod pack;
mod pull;
mod resolve;
mod template;

pub(super) use resolve::Images;
pub(crate) use template::TEMPLATES;

/// Names of what is made here; never an official one.
const LOCAL: &str = "caravan.local/";

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// What a container is created from.
    pub(crate) reference: String,
    /// `sha256:…`
    pub(crate) id: String,
}
