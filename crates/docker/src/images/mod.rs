//! The images that services run from: found here, pulled, or made here.
//!
//! `present` tells what is here; `resolve` decides where each service's image comes from; `pull`
//! asks a registry, briefly; `pack` makes Caravan's own out of the running executable; `template`
//! holds what the others are built from, `build` builds it (`buildkit`, where the engine has that), on
//! what `base` makes out of Debian's packages, with the host's `certificates`; `context` is what a declared build is sent, `ignore` what
//! of it is not. `needed` does
//! all that for a whole pipeline, and says what of it is here; `transfer` writes images into a file
//! (`unfinished` until it is all there) and reads them back, for hosts without a network.

use std::sync::Arc;

use bollard::models::{ImageConfig, ImageInspect};

use declaration::{ImageFrom, Pipeline, Service};

mod base;
mod build;
mod buildkit;
mod certificates;
mod context;
mod elf;
mod ignore;
mod needed;
mod pack;
mod present;
mod pull;
mod resolve;
mod template;
mod transfer;
mod unfinished;

pub use needed::{Needed, Present, Provenance};
pub use pack::architecture;
pub(super) use pack::packed_reference;
pub(super) use resolve::Images;
pub use unfinished::Unfinished;

/// Names of what is made here; never an official one.
const LOCAL: &str = "caravan.local/";

/// What Caravan's own image is called, without a tag: as a service has it, else its usual name.
pub(super) fn caravan_repository(pipeline: &Pipeline) -> String {
    let own = |s: &&Service| s.image_from == ImageFrom::Caravan;
    match pipeline.services.iter().find(own) {
        Some(service) => pull::split_tag(&service.image).0.to_owned(),
        None => format!("{LOCAL}caravan"),
    }
}

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// What a container is created from.
    pub reference: String,
    /// `sha256:…`
    pub id: String,
    /// What a container gets from it where it is told nothing else.
    pub config: Arc<ImageConfig>,
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
