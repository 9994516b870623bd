//! Decides where each service's image comes from: built as declared (`declared`), local, else pulled, else
//! built from a template.

mod declared;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use tokio::sync::OnceCell;

use super::{
    Image, LOCAL,
    pull::{OutOfReach, PullError, split_tag},
    template::{Rendered, Template, template},
};
use crate::Engine;
use declaration::{ImageFrom, Pipeline, PullPolicy, Service};
use diagnostics::{Error, Kind, Result};
use platform::{Container, Event, Events, Outcome};

type Shared<T> = Arc<OnceCell<Result<T>>>;

/// The images of one `up`: each is resolved once, even if several services run from it.
pub(crate) struct Images<'a> {
    pub(super) engine: &'a Engine,
    pub(super) pipeline: &'a Pipeline,
    pub(super) observed: &'a [Container],
    events: &'a Events,
    out_of_reach: OutOfReach,
    debian: OnceCell<Result<()>>,
    found: Mutex<HashMap<String, Shared<Image>>>,
}

impl<'a> Images<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        pipeline: &'a Pipeline,
        observed: &'a [Container],
        events: &'a Events,
    ) -> Self {
        Self {
            engine,
            pipeline,
            observed,
            events,
            out_of_reach: OutOfReach::default(),
            debian: OnceCell::new(),
            found: Mutex::default(),
        }
    }

    /// The image of a service; pulled or built if it is not local.
    ///
    /// # Errors
    /// It can be neither pulled nor built.
    pub(crate) async fn of(&self, service: &Service) -> Result<Image> {
        // A template's image depends on the service's volumes, so it is resolved per service.
        let key = match service.image_from {
            ImageFrom::Caravan | ImageFrom::Registry => service.image.clone(),
            ImageFrom::Template(name) => format!("{name} {} {}", service.image, service.name),
        };
        let cell = match self.found.lock() {
            Ok(mut found) => Arc::clone(found.entry(key).or_default()),
            Err(_) => Shared::default(),
        };
        cell.get_or_init(|| self.find(service)).await.clone()
    }

    async fn find(&self, service: &Service) -> Result<Image> {
        if let Some(build) = &service.build {
            return self.declared(service, build).await;
        }
        match service.image_from {
            ImageFrom::Caravan => self.packed(service).await,
            ImageFrom::Registry => self.local_or_pulled(service).await,
            ImageFrom::Template(name) => match self.present(service).await? {
                Some(image) => Ok(image),
                None => self.made(service, template(name)?).await,
            },
        }
    }

    async fn made(&self, service: &Service, template: &Template) -> Result<Image> {
        match &template.upstream {
            Some(upstream) => self.thin(service, template, upstream.image).await,
            None => self.official_or_stand_in(service, template).await,
        }
    }

    async fn packed(&self, service: &Service) -> Result<Image> {
        let began = Instant::now();
        let (repository, _) = split_tag(&service.image);
        let (image, made) = self.engine.pack(repository).await?;
        if made {
            self.done(&image.reference, Outcome::Built, began);
        }
        Ok(image)
    }

    async fn local_or_pulled(&self, service: &Service) -> Result<Image> {
        let reference = &service.image;
        let policy = service.pull_policy;
        if policy != PullPolicy::Always
            && let Some(image) = self.local(reference).await?
        {
            return Ok(image);
        }
        let pulled = match policy {
            PullPolicy::Never => Err(PullError::Forbidden),
            PullPolicy::Always | PullPolicy::Missing => {
                let platform = service.runtime.platform.as_deref();
                self.pull(reference, reference, platform).await?
            }
        };
        pulled.map_err(|why| {
            let what = match policy {
                PullPolicy::Always => format!("the image {reference} cannot be pulled"),
                PullPolicy::Missing => {
                    format!("the image {reference} is missing and cannot be pulled")
                }
                PullPolicy::Never => {
                    format!("the image {reference} is missing and must not be pulled")
                }
            };
            Error::new(Kind::NotRight, what)
                .because(why.to_string())
                .hint(format!(
                    "docker pull {reference}, or caravan images load FILE"
                ))
        })
    }

    /// Builds an image on top of the official one, else on packages.
    async fn thin(&self, service: &Service, template: &Template, upstream: &str) -> Result<Image> {
        let reference = stand_in(&service.image);
        let (_, tag) = split_tag(&reference);
        let upstream = format!("{upstream}:{tag}");
        let have_upstream = self.local(&upstream).await?.is_some();
        let have_upstream = have_upstream
            || match self.pull(&upstream, &reference, None).await? {
                Ok(_) => true,
                Err(why) => {
                    self.note(format!(
                        "{upstream} cannot be pulled ({why}): built from packages"
                    ));
                    false
                }
            };
        let base = have_upstream.then_some(upstream.as_str());
        self.build(&reference, &template.render(tag, base)).await
    }

    /// Pulls the official image, else builds the stand-in. If an outdated stand-in is local, builds it again:
    /// the service keeps using it.
    async fn official_or_stand_in(&self, service: &Service, template: &Template) -> Result<Image> {
        let stand_in = stand_in(&service.image);
        let (_, tag) = split_tag(&stand_in);
        let official = (stand_in != service.image).then_some(service.image.as_str());
        if let Some(official) = official
            && self.local(&stand_in).await?.is_none()
        {
            match self.pull(official, &stand_in, None).await? {
                Ok(image) => return Ok(image),
                Err(why) => {
                    template
                        .can_provide(official, tag)
                        .map_err(|e| e.because(why.to_string()))?;
                    let note = format!(
                        "{official} cannot be pulled ({why}): using {stand_in} \
                                        instead"
                    );
                    self.note(note);
                }
            }
        }
        template.can_provide(&service.image, tag)?;
        self.build(&stand_in, &template.render(tag, None)).await
    }

    /// Pulls an image; events name `part`. The outer error is Docker's, the inner one is why the image could
    /// not be pulled.
    async fn pull(
        &self,
        reference: &str,
        part: &str,
        platform: Option<&str>,
    ) -> Result<Result<Image, PullError>> {
        let began = Instant::now();
        if let Err(why) = self
            .engine
            .pull(reference, part, platform, &self.out_of_reach, self.events)
            .await
        {
            // Fails if Docker itself does not respond any more.
            self.local(reference).await?;
            return Ok(Err(why));
        }
        self.done(part, Outcome::Pulled, began);
        let pulled = self.local(reference).await?;
        Ok(pulled.ok_or(PullError::NotThere))
    }

    async fn build(&self, reference: &str, rendered: &Rendered) -> Result<Image> {
        let began = Instant::now();
        if rendered.from_packages {
            self.debian
                .get_or_init(|| self.ensure_debian())
                .await
                .clone()?;
        }
        self.engine.build(reference, rendered, self.events).await?;
        self.done(reference, Outcome::Built, began);
        let built = self.local(reference).await?;
        built.ok_or_else(|| {
            let what = format!("Docker built {reference}, but does not have it");
            Error::new(Kind::NotRight, what)
        })
    }

    async fn ensure_debian(&self) -> Result<()> {
        if self.local(super::base::DEBIAN).await?.is_some() {
            return Ok(());
        }
        let began = Instant::now();
        let part = super::base::DEBIAN.to_owned();
        let what = "making the base from Debian's packages".to_owned();
        drop(self.events.send(Event::Doing { part, what }));
        self.engine.make_debian().await?;
        self.done(super::base::DEBIAN, Outcome::Built, began);
        Ok(())
    }

    // A closed event channel does not stop the work.
    fn done(&self, part: &str, outcome: Outcome, began: Instant) {
        let (part, took) = (part.to_owned(), began.elapsed());
        drop(self.events.send(Event::Done {
            part,
            outcome,
            took,
        }));
    }

    fn note(&self, text: String) {
        drop(self.events.send(Event::Note(text)));
    }
}

/// `postgres:15` -> `caravan.local/postgres:15`; a name of Caravan's own is not changed.
pub(super) fn stand_in(image: &str) -> String {
    if image.starts_with(LOCAL) {
        return image.to_owned();
    }
    let (path, tag) = split_tag(image);
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.split('@').next().unwrap_or(name);
    let tag = if tag.is_empty() { "latest" } else { tag };
    format!("{LOCAL}{name}:{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_never_has_an_official_name() {
        assert_eq!(stand_in("postgres:15"), "caravan.local/postgres:15");
        assert_eq!(
            stand_in("docker.io/library/redis:7"),
            "caravan.local/redis:7"
        );
        assert_eq!(
            stand_in("caravan.local/kafka:4.1.1"),
            "caravan.local/kafka:4.1.1"
        );
    }
}
