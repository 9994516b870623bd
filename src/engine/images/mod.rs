//! The images that services run from: found here, pulled, or made here.
//!
//! `resolve` decides where each service's image comes from; `pull` asks a registry, briefly;
//! `pack` makes Caravan's own out of the running executable; `template` holds what the others are
//! built from, `build` builds it, on what `base` makes out of Debian's packages.

mod base;
mod build;
mod elf;
mod pack;
mod present;
mod pull;
mod resolve;
mod template;

use std::sync::Arc;

use bollard::models::{ImageConfig, ImageInspect};

pub(super) use resolve::Images;
pub(crate) use template::TEMPLATES;

/// Names of what is made here; never an official one.
const LOCAL: &str = "caravan.local/";

/// An image that the engine has.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// What a container is created from.
    pub(crate) reference: String,
    /// `sha256:…`
    pub(crate) id: String,
    /// What a container gets from it where it is told nothing else.
    pub(crate) config: Arc<ImageConfig>,
}

impl Image {
    /// As the engine tells of it; None where that has no id.
    fn new(reference: &str, found: ImageInspect) -> Option<Self> {
        Some(Self {
            reference: reference.to_owned(),
            id: found.id?,
            config: Arc::new(found.config.unwrap_or_default()),
        })
    }
}
