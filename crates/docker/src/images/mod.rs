//! The images that services run from: local, pulled or built.
//!
//! `present` finds local images; `resolve` decides where each service's image comes from; `pull` pulls it, with
//! short timeouts; `pack` packs the running executable into Caravan's own image. `template` has the build
//! contexts of infrastructure images, `build` builds them (`buildkit`, if the engine has it; `progress` is
//! what both report) on the Debian image of `base`, with the host's `certificates`. `context` is the context of a declared build, without the files
//! that `ignore` excludes. `needed` lists and makes the images of a whole pipeline; `transfer` saves images to a
//! file (`unfinished` until it is complete) and loads them, for hosts without a network.

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
mod progress;
mod pull;
mod resolve;
mod template;
mod transfer;
mod unfinished;

pub use needed::{Needed, Present, Provenance};
pub use pack::architecture;
pub(super) use pack::packed_reference;
pub use pull::PullError;
pub(super) use resolve::Images;
pub use unfinished::Unfinished;

/// Prefix of the images that Caravan builds; no official image has it.
const LOCAL: &str = "caravan.local/";

/// The repository of Caravan's own image: as a service declares it, else the default name.
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
    /// Name and tag that a container is created from.
    pub reference: String,
    /// `sha256:…`
    pub id: String,
    /// The container's defaults: command, environment, user and so on.
    pub config: Arc<ImageConfig>,
}

impl Image {
    /// Converts the engine's inspection; None if it has no id.
    fn new(reference: &str, found: ImageInspect) -> Option<Self> {
        Some(Self {
            reference: reference.to_owned(),
            id: found.id?,
            config: Arc::new(found.config.unwrap_or_default()),
        })
    }
}
