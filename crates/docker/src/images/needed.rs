//! The images that a pipeline needs: lists them, and pulls or builds the missing ones.

use std::fs;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::{
    Image, Images,
    pack::{RUNNING, packed_reference},
    pull::split_tag,
    resolve::stand_in,
    template::template,
};
use crate::Engine;
use declaration::{ImageFrom, Pipeline, Service};
use diagnostics::Result;
use platform::{Event, Events};

/// Assumed size in bytes of an image whose size is unknown.
const FROM_REGISTRY: u64 = 500_000_000;

/// An image that services run from.
#[derive(Debug, Clone)]
pub struct Needed {
    /// Names of the services that run from it, in declared order.
    pub services: Vec<String>,
    /// The local image's reference, else the one that `up` tries first.
    pub reference: String,
    /// Where the image comes from.
    pub from: Provenance,
    /// The local image; None: it is missing.
    pub present: Option<Present>,
}

impl Needed {
    /// Whether the image is missing and has to be pulled or built from packages. A declared build may need
    /// the network too, which cannot be known before.
    pub fn needs_network(&self) -> bool {
        let made_here = matches!(self.from, Provenance::Caravan | Provenance::Declared);
        self.present.is_none() && !made_here
    }

    /// Approximately the bytes that it will take on disk; 0 if it is present.
    pub fn takes(&self) -> u64 {
        let of_template = |name| template(name).map_or(0, |template| template.takes);
        match (&self.present, self.from) {
            (Some(_), _) => 0,
            (None, Provenance::Caravan) => fs::metadata(RUNNING).map_or(0, |file| file.len()),
            (None, Provenance::Template(name) | Provenance::RegistryOrTemplate(name)) => {
                of_template(name)
            }
            (None, Provenance::Registry | Provenance::Local | Provenance::Declared) => {
                FROM_REGISTRY
            }
        }
    }

    /// The reference that `up` tries to pull before it builds anything; None: it pulls nothing.
    pub fn registry_reference(&self) -> Option<String> {
        match (&self.present, self.from) {
            (Some(_), _) | (None, Provenance::Caravan | Provenance::Declared) => None,
            (None, Provenance::Template(name)) => {
                let upstream = template(name).ok()?.upstream.as_ref()?;
                Some(format!(
                    "{}:{}",
                    upstream.image,
                    split_tag(&self.reference).1
                ))
            }
            (None, _) => Some(self.reference.clone()),
        }
    }
}

/// Where an image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// Packed from the running executable.
    Caravan,
    /// Built as declared by the service's `build`.
    Declared,
    /// Built from this template.
    Template(&'static str),
    /// Pulled from a registry; if none is reachable, built from this template.
    RegistryOrTemplate(&'static str),
    /// Pulled from a registry.
    Registry,
    /// Built or loaded on this host; it has no registry digest.
    Local,
}

/// An image as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// `sha256:…`
    pub id: String,
    /// Bytes, layers shared with others included.
    pub size: u64,
    /// When it was created; None: the image does not say.
    pub created: Option<DateTime<Utc>>,
}

impl Engine {
    /// The images that the services of a pipeline run from. Nothing is pulled or built.
    ///
    /// # Errors
    /// Docker does not answer.
    pub async fn needed_images(&self, pipeline: &Pipeline) -> Result<Vec<Needed>> {
        let observed = self.containers(&pipeline.project).await?;
        // Reading sends no events.
        let (events, _unheard) = mpsc::unbounded_channel();
        let images = Images::new(self, pipeline, &observed, &events);
        let mut needed: Vec<Needed> = Vec::new();
        for service in &pipeline.services {
            let one = images.needed(service).await?;
            match needed.iter_mut().find(|n| n.reference == one.reference) {
                Some(known) => known.services.extend(one.services),
                None => needed.push(one),
            }
        }
        Ok(needed)
    }

    /// Pulls or builds all missing images concurrently. Returns all images, each once.
    ///
    /// # Errors
    /// An image can be neither pulled nor built. The others were completed.
    pub async fn make_images(&self, pipeline: &Pipeline, events: &Events) -> Result<Vec<Image>> {
        let observed = self.containers(&pipeline.project).await?;
        let images = Images::new(self, pipeline, &observed, events);
        let all = pipeline.services.iter().map(|service| images.of(service));
        let (mut made, mut failures) = (Vec::new(), Vec::new());
        for (service, outcome) in pipeline.services.iter().zip(join_all(all).await) {
            match outcome {
                Ok(image) if made.contains(&image) => {}
                Ok(image) => made.push(image),
                Err(e) => {
                    let (part, why) = (service.image.clone(), e.what.clone());
                    // A closed event channel does not stop the work.
                    drop(events.send(Event::Failed { part, why }));
                    failures.push(e);
                }
            }
        }
        match failures.into_iter().next() {
            Some(first) => Err(first),
            None => Ok(made),
        }
    }
}

impl Images<'_> {
    async fn needed(&self, service: &Service) -> Result<Needed> {
        let present = self.present(service).await?;
        let reference = match &present {
            Some(image) => image.reference.clone(),
            None => self.first_choice(service).await?,
        };
        let found = match &present {
            Some(image) => self.engine.image(&image.id).await?,
            None => None,
        };
        let pulled = found.as_ref().map(|image| {
            let digests = image.repo_digests.as_deref();
            digests.is_some_and(|digests| !digests.is_empty())
        });
        Ok(Needed {
            services: vec![service.name.clone()],
            from: from(service, &reference, pulled),
            reference,
            present: found.map(|image| Present {
                id: image.id.unwrap_or_default(),
                size: image.size.and_then(|s| s.try_into().ok()).unwrap_or(0),
                created: image.created.and_then(|at| at.parse().ok()),
            }),
        })
    }

    /// The reference that `up` would pull or build first.
    async fn first_choice(&self, service: &Service) -> Result<String> {
        match service.image_from {
            ImageFrom::Caravan => packed_reference(split_tag(&service.image).0).await,
            ImageFrom::Registry => Ok(service.image.clone()),
            ImageFrom::Template(name) => {
                let stand_in = stand_in(&service.image);
                let made_here = template(name)?.upstream.is_some();
                let outdated = self.local(&stand_in).await?.is_some();
                Ok(if made_here || outdated {
                    stand_in
                } else {
                    service.image.clone()
                })
            }
        }
    }
}

/// `pulled`: whether the local image has a registry digest; None: there is no local image.
fn from(service: &Service, reference: &str, pulled: Option<bool>) -> Provenance {
    if service.build.is_some() {
        return Provenance::Declared;
    }
    match (service.image_from, pulled) {
        (ImageFrom::Caravan, _) => Provenance::Caravan,
        (ImageFrom::Template(name), _) if reference == stand_in(&service.image) => {
            Provenance::Template(name)
        }
        (ImageFrom::Template(name), None) => Provenance::RegistryOrTemplate(name),
        (ImageFrom::Registry | ImageFrom::Template(_), Some(false)) => Provenance::Local,
        (ImageFrom::Registry, None) | (_, Some(true)) => Provenance::Registry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::testing::depending;

    #[test]
    fn where_an_image_comes_from_follows_what_is_there() {
        let of = |image_from, image: &str| Service {
            image_from,
            image: image.to_owned(),
            ..depending("db", &[])
        };
        let template = of(ImageFrom::Template("postgres"), "postgres:15");
        let stand_in = "caravan.local/postgres:15";
        assert_eq!(
            from(&template, stand_in, Some(false)),
            Provenance::Template("postgres")
        );
        assert_eq!(
            from(&template, "postgres:15", Some(true)),
            Provenance::Registry
        );
        assert_eq!(
            from(&template, "postgres:15", Some(false)),
            Provenance::Local
        );
        assert_eq!(
            from(&template, "postgres:15", None),
            Provenance::RegistryOrTemplate("postgres")
        );
        let registry = of(ImageFrom::Registry, "shop/worker:1");
        assert_eq!(from(&registry, "shop/worker:1", None), Provenance::Registry);
        assert_eq!(
            from(&registry, "shop/worker:1", Some(false)),
            Provenance::Local
        );
    }
}
