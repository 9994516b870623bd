//! Images that the declaration itself says how to build: built once for each content.

use std::{collections::HashMap, time::Instant};

use bollard::query_parameters::BuildImageOptionsBuilder;

use super::{
    super::{
        buildkit::{Session, syntax},
        context::Context,
    },
    Images,
};
use crate::{images::Image, refusal::is_disk_full};
use declaration::{Build, Dockerfile, Service};
use diagnostics::{Error, Kind, Result, quote};
use platform::{Event, Outcome, labels};

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
        let mut context = self.context(service, build).await?;
        if let Some(image) = self.built_from(reference, &context).await? {
            return Ok(image);
        }
        let session = self.session(service, build, &context).await?;
        let missing = match &session {
            Some(_) => self.frontend(reference, &mut context).await?,
            None => None,
        };
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
        let by_hand = by_hand(build, session.is_some());
        let (options, stream) = (options.build(), context.stream());
        let built = self
            .engine
            .run_build(reference, options, stream, session, self.events);
        built
            .await
            .map_err(|error| explain(error, missing, by_hand))?;
        self.done(reference, Outcome::Built, began);
        let image = self.local(reference).await?;
        image.ok_or_else(|| {
            let what = format!("Docker built {reference}, but does not have it");
            Error::new(Kind::NotRight, what)
        })
    }

    /// A session with BuildKit, for what it can do; None: the classic builder has to do.
    async fn session(
        &self,
        service: &Service,
        build: &Build,
        context: &Context,
    ) -> Result<Option<Session>> {
        // Of what BuildKit is sent, `COPY` sees everything; the classic builder takes such a
        // Dockerfile out of it.
        if context.hides_dockerfile && build.secrets.is_empty() {
            let text = context.dockerfile_text().unwrap_or_default();
            if !syntax::may_need_buildkit(&text) {
                return Ok(None);
            }
        }
        let network = build.network.as_deref();
        // BuildKit runs nothing in a network of the engine's.
        let foreign = network.filter(|network| !["default", "host", "none"].contains(network));
        let session = match foreign {
            None => self.engine.session(build.secrets.clone()).await?,
            Some(_) => None,
        };
        if session.is_some() || build.secrets.is_empty() {
            return Ok(session);
        }
        let name = &service.name;
        let what = format!("the build of {name} cannot be given its secrets");
        let error = Error::new(Kind::NotRight, what);
        Err(match foreign {
            Some(network) => error
                .because(format!(
                    "only BuildKit has secrets, and it knows no network {network}"
                ))
                .hint(format!(
                    "take out `network` or `secrets` of services.{name}.build"
                )),
            None => error
                .because("that needs BuildKit, which this engine does not have")
                .hint(format!(
                    "take out services.{name}.build.secrets, or install Docker 20.10 or newer"
                )),
        })
    }

    /// Sees to the image by which the Dockerfile asks to be read: it is here, or pulled, or done
    /// without: then it is returned.
    ///
    /// # Errors
    /// It is nowhere to be had, and nothing else can read such a file.
    async fn frontend(&self, reference: &str, context: &mut Context) -> Result<Option<String>> {
        // What cannot be read is for the build to say.
        let text = context.dockerfile_text().unwrap_or_default();
        let Some(frontend) = syntax::frontend(&text) else {
            return Ok(None);
        };
        if self.local(frontend).await?.is_some() {
            return Ok(None);
        }
        let Err(why) = self.pull(frontend, reference, None).await? else {
            return Ok(None);
        };
        if !syntax::is_dockers(frontend) {
            let what = format!("{frontend}, which the Dockerfile's `# syntax=` names, is not here");
            return Err(Error::new(Kind::NotRight, what)
                .because(format!("it cannot be pulled: {why}"))
                .hint(format!("docker pull {frontend}, or docker load -i FILE")));
        }
        self.note(format!(
            "{frontend} cannot be pulled ({why}): the engine's own reader of Dockerfiles does"
        ));
        context.replace_dockerfile(syntax::without_frontend(&text));
        Ok(Some(frontend.to_owned()))
    }

    /// That image, if it is there and was made of the very same content.
    ///
    /// # Errors
    /// The context cannot be read.
    pub(crate) async fn present_declared(
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

/// The declared ones, those by which the image is found again, and the digest.
fn labels(
    project: &str,
    service: &Service,
    build: &Build,
    digest: &str,
) -> HashMap<String, String> {
    let mut labels: HashMap<_, _> = build.labels.clone().into_iter().collect();
    let ours = [
        (labels::BUILT_PROJECT, project),
        (labels::BUILT_SERVICE, &service.name),
        (labels::BUILT_VERSION, labels::THIS_VERSION),
        (labels::CONTENT, digest),
    ];
    labels.extend(ours.map(|(name, value)| (name.to_owned(), value.to_owned())));
    labels
}

/// What may have failed because the engine's own reader of Dockerfiles is an older one, or had to do
/// for the image `missing`.
fn explain(error: Error, missing: Option<String>, by_hand: String) -> Error {
    const UNREADABLE: [&str; 3] = [
        "unknown instruction",
        "unknown flag",
        "dockerfile parse error",
    ];
    let unreadable = error.evidence.iter().any(|line| {
        let line = line.to_ascii_lowercase();
        UNREADABLE.iter().any(|words| line.contains(words))
    });
    let full = error.evidence.iter().any(|line| is_disk_full(line));
    match (unreadable, missing) {
        // What to do is not about the Dockerfile.
        _ if error.kind == Kind::Unreachable || full => error,
        (false, _) => error.hint(by_hand),
        (true, Some(missing)) => error
            .because(format!(
                "it asks to be read by {missing}, which is not here: the engine's own reader may be \
                 too old for it"
            ))
            .hint(format!("docker pull {missing}, or docker load -i FILE")),
        (true, None) => error
            .because(
                "if nothing is mistyped, this engine's reader is too old for it: \
                 `# syntax=docker/dockerfile:1` as the first line has a newer one read it",
            )
            .hint(by_hand),
    }
}

/// The command that shows all of a build's output.
fn by_hand(build: &Build, buildkit: bool) -> String {
    // Docker 20.10 uses it when told to.
    let buildkit = if buildkit { "DOCKER_BUILDKIT=1 " } else { "" };
    let mut command = format!("{buildkit}docker build");
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
    for id in build.secrets.keys() {
        command.push_str(&format!(
            " --secret {}",
            quote(&format!("id={id},src=FILE"))
        ));
    }
    for name in build.args.keys() {
        command.push_str(&format!(" --build-arg {}", quote(name)));
    }
    format!("{command} {}", quote(&build.context.to_string_lossy()))
}
