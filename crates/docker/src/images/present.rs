//! Local images: nothing here pulls or builds. If a data volume or an existing container was created with a local
//! image, that image is kept.

use bollard::models::ImageInspect;

use super::{
    Image,
    pack::packed_reference,
    pull::split_tag,
    resolve::{Images, stand_in},
    template::{Template, template},
};
use crate::{Engine, connect::status, labels};
use declaration::{ImageFrom, MountSource, Service};
use diagnostics::Result;
use platform::Container;

impl Images<'_> {
    /// The image that a service runs from; None: it is not local.
    pub(crate) async fn present(&self, service: &Service) -> Result<Option<Image>> {
        if let Some(build) = &service.build {
            return self.present_declared(service, build).await;
        }
        match service.image_from {
            ImageFrom::Caravan => {
                let (repository, _) = split_tag(&service.image);
                self.local(&packed_reference(repository).await?).await
            }
            ImageFrom::Registry => self.local(&service.image).await,
            ImageFrom::Template(name) => {
                let template = template(name)?;
                match &template.upstream {
                    Some(upstream) => self.present_thin(service, template, upstream.image).await,
                    None => self.present_official_or_stand_in(service, template).await,
                }
            }
        }
    }

    async fn present_thin(
        &self,
        service: &Service,
        template: &Template,
        upstream: &str,
    ) -> Result<Option<Image>> {
        let reference = stand_in(&service.image);
        let (_, tag) = split_tag(&reference);
        let on_upstream = template.render(tag, Some(&format!("{upstream}:{tag}")));
        let on_packages = template.render(tag, None);
        let built = self.engine.built(&reference).await?;
        let is_current =
            |content: &String| [&on_upstream.content, &on_packages.content].contains(&content);
        Ok(built
            .filter(|(_, content)| is_current(content))
            .map(|(image, _)| image))
    }

    async fn present_official_or_stand_in(
        &self,
        service: &Service,
        template: &Template,
    ) -> Result<Option<Image>> {
        let stand_in = stand_in(&service.image);
        let (_, tag) = split_tag(&stand_in);
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
        if !prefers_stand_in {
            return Ok(local_official);
        }
        let current = template.render(tag, None).content;
        Ok(local_stand_in
            .filter(|(_, content)| *content == current)
            .map(|(image, _)| image))
    }

    /// Whether the service's container or one of its data volumes was created with this image.
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

    pub(super) async fn local(&self, reference: &str) -> Result<Option<Image>> {
        self.engine.local_image(reference).await
    }
}

impl Engine {
    /// A local image; None: there is none.
    pub async fn local_image(&self, reference: &str) -> Result<Option<Image>> {
        let found = self.image(reference).await?;
        Ok(found.and_then(|found| Image::new(reference, found)))
    }

    /// A local image that was built from a template, with its content label.
    pub(super) async fn built(&self, reference: &str) -> Result<Option<(Image, String)>> {
        let Some(found) = self.image(reference).await? else {
            return Ok(None);
        };
        let labels = found.config.as_ref().and_then(|c| c.labels.as_ref());
        let content = labels.and_then(|labels| labels.get(labels::CONTENT));
        let content = content.cloned().unwrap_or_default();
        Ok(Image::new(reference, found).map(|image| (image, content)))
    }

    /// Docker's inspection of a local image by reference or id; None: there is none.
    ///
    /// # Errors
    /// Docker does not respond.
    pub async fn image(&self, reference: &str) -> Result<Option<ImageInspect>> {
        let inspect = async {
            match self.docker.inspect_image(reference).await {
                Err(e) if status(&e) == Some(404) => Ok(None),
                answer => answer.map(Some),
            }
        };
        self.call(&format!("inspect image {reference}"), inspect)
            .await
    }
}
