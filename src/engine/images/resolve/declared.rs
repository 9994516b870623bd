//! Images that the declaration itself says how to build: built once for each content.

use std::{collections::HashMap, time::Instant};

use bollard::query_parameters::BuildImageOptionsBuilder;

use super::{super::context::Context, Images};
use crate::{
    engine::{
        event::{Event, Outcome},
        images::Image,
        labels,
    },
    error::{Error, Kind, Result},
    invocation::quote,
    pipeline::{Build, Dockerfile, Service},
};

/// Beside a Compose file it has the pipeline's secrets, which an image need not have.
const ENV: &str = ".env";

impl Images<'_> {
    /// The image that a service's `build` makes, built unless it was made of the very same content.
    ///
    /// # Errors
    /// The context cannot be read; a step fails: with the last lines of its output.
    pub(super) async fn declared(&self, service: &Service, build: &Build) -> Result<Image> {
        let began = Instant::now();
        let reference = &service.image;
        let context = self.context(service, build).await?;
        if let Some(image) = self.built_from(reference, &context).await? {
            return Ok(image);
        }
        if context.sends(ENV) {
            let name = &service.name;
            let note = format!("the build of {name} is sent {ENV}: name it in .dockerignore");
            self.note(note);
        }
        let labels = labels(&self.pipeline.project, service, build, &context.digest);
        let mut options = BuildImageOptionsBuilder::new()
            .t(reference)
            .dockerfile(&context.dockerfile)
            .buildargs(&build.args.clone().into_iter().collect())
            .labels(&labels)
            .cachefrom(&build.cache_from)
            .nocache(build.no_cache)
            .rm(true)
            .forcerm(true);
        if build.pull {
            options = options.pull("true");
        }
        if let Some(target) = &build.target {
            options = options.target(target);
        }
        if let Some(network) = &build.network {
            options = options.networkmode(network);
        }
        if let Some(platform) = &build.platform {
            options = options.platform(platform);
        }
        let (options, stream) = (options.build(), context.stream());
        let built = self
            .engine
            .run_build(reference, options, stream, self.events);
        built.await.map_err(|error| error.hint(by_hand(build)))?;
        self.done(reference, Outcome::Built, began);
        let image = self.local(reference).await?;
        image.ok_or_else(|| {
            let what = format!("Docker built {reference}, but does not have it");
            Error::new(Kind::NotRight, what)
        })
    }

    /// That image, if it is there and was made of the very same content.
    ///
    /// # Errors
    /// The context cannot be read.
    pub(in crate::engine::images) async fn present_declared(
        &self,
        service: &Service,
        build: &Build,
    ) -> Result<Option<Image>> {
        let context = self.context(service, build).await?;
        self.built_from(&service.image, &context).await
    }

    async fn built_from(&self, reference: &str, context: &Context) -> Result<Option<Image>> {
        let built = self.engine.built(reference).await?;
        let same = |(_, content): &(Image, String)| *content == context.digest;
        Ok(built.filter(same).map(|(image, _)| image))
    }

    async fn context(&self, service: &Service, build: &Build) -> Result<Context> {
        let (part, what) = (service.name.clone(), "reading its build context".to_owned());
        // Nobody listening is no reason to stop.
        drop(self.events.send(Event::Doing { part, what }));
        let owned = build.clone();
        let read = tokio::task::spawn_blocking(move || Context::read(&owned)).await;
        let read = read.map_err(|e| Error::new(Kind::Defect, e.to_string()))?;
        read.map_err(|error| {
            let what = format!("cannot read the build context {}", build.context.display());
            Error::new(Kind::NotRight, what).because(error.to_string())
        })
    }
}

/// The declared ones, those by which Compose knows its images, and the digest.
fn labels(
    project: &str,
    service: &Service,
    build: &Build,
    digest: &str,
) -> HashMap<String, String> {
    let mut labels: HashMap<_, _> = build.labels.clone().into_iter().collect();
    let ours = [
        (labels::PROJECT, project),
        (labels::SERVICE, &service.name),
        (labels::VERSION, labels::THIS_VERSION),
        (labels::CONTENT, digest),
    ];
    labels.extend(ours.map(|(name, value)| (name.to_owned(), value.to_owned())));
    labels
}

/// The command that shows all of a build's output.
fn by_hand(build: &Build) -> String {
    let mut command = "docker build".to_owned();
    match &build.dockerfile {
        Dockerfile::File(path) => {
            command.push_str(&format!(" -f {}", quote(&path.to_string_lossy())));
        }
        Dockerfile::Inline(_) => return "put right what `dockerfile_inline` says".to_owned(),
    }
    let options = [("--target", &build.target), ("--network", &build.network)];
    for (flag, value) in options {
        if let Some(value) = value {
            command.push_str(&format!(" {flag} {}", quote(value)));
        }
    }
    for name in build.args.keys() {
        command.push_str(&format!(" --build-arg {}", quote(name)));
    }
    format!("{command} {}", quote(&build.context.to_string_lossy()))
}
