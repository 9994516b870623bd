//! Where each service's image comes from: local, else pulled, else made here. What a data volume
//! or a running container was made with is kept to, as long as it is there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use bollard::models::ImageInspect;
use tokio::sync::OnceCell;

use super::{
    Image, LOCAL,
    pull::{OutOfReach, split_tag},
    template::{Rendered, Template, template},
};
use crate::{
    engine::{
        Engine,
        connect::status,
        event::{Event, Events, Outcome},
        labels,
        observed::Container,
    },
    error::{Error, Kind, Result},
    pipeline::{ImageFrom, MountSource, Pipeline, Service},
};

type Shared<T> = Arc<OnceCell<Result<T>>>;

/// The images of one `up`: each is looked for once, however many services run from it.
pub(in crate::engine) struct Images<'a> {
    engine: &'a Engine,
    pipeline: &'a Pipeline,
    observed: &'a [Container],
    events: &'a Events,
    out_of_reach: OutOfReach,
    debian: OnceCell<Result<()>>,
    found: Mutex<HashMap<String, Shared<Image>>>,
}

impl<'a> Images<'a> {
    pub(in crate::engine) fn new(
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

    /// The image of a service, brought here if it must be.
    ///
    /// # Errors
    /// It can be had nowhere.
    pub(in crate::engine) async fn of(&self, service: &Service) -> Result<Image> {
        // What a service is bound to by its volumes is its own affair; all else is shared.
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
        match service.image_from {
            ImageFrom::Caravan => self.packed(service).await,
            ImageFrom::Registry => self.local_or_pulled(&service.image).await,
            ImageFrom::Template(name) => {
                let template = template(name)?;
                match &template.upstream {
                    Some(upstream) => self.thin(service, template, upstream.image).await,
                    None => self.official_or_stand_in(service, template).await,
                }
            }
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

    async fn local_or_pulled(&self, reference: &str) -> Result<Image> {
        if let Some(image) = self.local(reference).await? {
            return Ok(image);
        }
        match self.pull(reference).await? {
            Ok(image) => Ok(image),
            Err(why) => Err(Error::new(
                Kind::NotRight,
                format!("the image {reference} is not here and cannot be pulled"),
            )
            .because(why)
            .hint(format!("docker pull {reference}, or docker load -i FILE"))),
        }
    }

    /// An image of Caravan's own on top of the official one, else on packages.
    async fn thin(&self, service: &Service, template: &Template, upstream: &str) -> Result<Image> {
        let reference = stand_in(&service.image);
        let (_, tag) = split_tag(&reference);
        let upstream = format!("{upstream}:{tag}");
        let on_upstream = template.render(tag, Some(&upstream));
        let on_packages = template.render(tag, None);
        if let Some((image, content)) = self.engine.built(&reference).await?
            && [&on_upstream.content, &on_packages.content].contains(&&content)
        {
            return Ok(image);
        }
        let have_upstream = self.local(&upstream).await?.is_some();
        let have_upstream = have_upstream
            || match self.pull(&upstream).await? {
                Ok(_) => true,
                Err(why) => {
                    self.note(format!(
                        "{upstream} cannot be pulled ({why}): built from packages"
                    ));
                    false
                }
            };
        let rendered = if have_upstream {
            on_upstream
        } else {
            on_packages
        };
        self.build(&reference, &rendered).await
    }

    async fn official_or_stand_in(&self, service: &Service, template: &Template) -> Result<Image> {
        let stand_in = stand_in(&service.image);
        let (_, tag) = split_tag(&stand_in);
        let rendered = template.render(tag, None);
        let official = (stand_in != service.image).then_some(service.image.as_str());
        let local_official = match official {
            Some(official) => self.local(official).await?,
            None => None,
        };
        let local_stand_in = self.engine.built(&stand_in).await?;
        let prefers_stand_in = match (&local_official, &local_stand_in) {
            (Some(_), Some((image, _))) => self.is_bound_to(service, image).await?,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        match (local_official, local_stand_in) {
            (Some(image), _) if !prefers_stand_in => return Ok(image),
            (_, Some((image, content))) if content == rendered.content => return Ok(image),
            (_, Some(_)) => return self.build(&stand_in, &rendered).await,
            (_, None) => {}
        }
        if let Some(official) = official {
            match self.pull(official).await? {
                Ok(image) => return Ok(image),
                Err(why) => {
                    template
                        .can_provide(official, tag)
                        .map_err(|e| e.because(why.clone()))?;
                    let note = format!("{official} cannot be pulled ({why}): {stand_in} stands in");
                    self.note(note);
                }
            }
        }
        template.can_provide(&service.image, tag)?;
        self.build(&stand_in, &rendered).await
    }

    /// Whether the service's container or one of its data volumes was made with this image.
    async fn is_bound_to(&self, service: &Service, image: &Image) -> Result<bool> {
        let runs = |c: &Container| c.service == service.name && c.image_id == image.id;
        if self.observed.iter().any(runs) {
            return Ok(true);
        }
        for mount in &service.mounts {
            let MountSource::Volume(key) = &mount.source else {
                continue;
            };
            let volume = self.pipeline.volumes.iter().find(|v| v.key == *key);
            if let Some(volume) = volume
                && self.engine.volume_image(&volume.name).await?.as_ref() == Some(&image.reference)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn local(&self, reference: &str) -> Result<Option<Image>> {
        let id = self.engine.image_id(reference).await?;
        let reference = reference.to_owned();
        Ok(id.map(|id| Image { reference, id }))
    }

    /// The outer error is Docker's, the inner one says why there is no such image to be had.
    async fn pull(&self, reference: &str) -> Result<Result<Image, String>> {
        let began = Instant::now();
        if let Err(why) = self
            .engine
            .pull(reference, &self.out_of_reach, self.events)
            .await
        {
            // It may be Docker itself that does not answer any more.
            self.local(reference).await?;
            return Ok(Err(why));
        }
        self.done(reference, Outcome::Pulled, began);
        let pulled = self.local(reference).await?;
        Ok(pulled.ok_or_else(|| "Docker pulled it, but does not have it".to_owned()))
    }

    async fn build(&self, reference: &str, rendered: &Rendered) -> Result<Image> {
        let began = Instant::now();
        if rendered.from_packages {
            self.debian
                .get_or_init(|| self.make_debian())
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

    async fn make_debian(&self) -> Result<()> {
        let began = Instant::now();
        let part = super::base::DEBIAN.to_owned();
        let what = "making the base from Debian's packages".to_owned();
        drop(self.events.send(Event::Doing { part, what }));
        self.engine.ensure_debian().await?;
        self.done(super::base::DEBIAN, Outcome::Built, began);
        Ok(())
    }

    // Nobody listening to events is no reason to stop.
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

impl Engine {
    /// The id of a local image; None when there is none.
    pub(in crate::engine) async fn image_id(&self, reference: &str) -> Result<Option<String>> {
        Ok(self.image(reference).await?.and_then(|image| image.id))
    }

    /// A local image that was built from a template, with its content label.
    async fn built(&self, reference: &str) -> Result<Option<(Image, String)>> {
        let Some(found) = self.image(reference).await? else {
            return Ok(None);
        };
        let labels = found.config.and_then(|c| c.labels).unwrap_or_default();
        let content = labels.get(labels::CONTENT).cloned().unwrap_or_default();
        let reference = reference.to_owned();
        Ok(found.id.map(|id| (Image { reference, id }, content)))
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageInspect>> {
        let inspect = async {
            match self.docker.inspect_image(reference).await {
                Err(e) if status(&e) == Some(404) => Ok(None),
                answer => answer.map(Some),
            }
        };
        self.call("inspect an image", inspect).await
    }
}

/// `postgres:15` -> `caravan.local/postgres:15`; what is Caravan's own already stays.
fn stand_in(image: &str) -> String {
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
