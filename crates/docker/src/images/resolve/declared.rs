//! Images with a declared `build`: built once for each content.

use std::{collections::HashMap, time::Instant};

use bollard::query_parameters::BuildImageOptionsBuilder;

use super::{
    super::{
        buildkit::{Session, syntax},
        context::Context,
    },
    Images,
};
use crate::{images::Image, labels, refusal::is_disk_full};
use declaration::{Build, Dockerfile, Service};
use diagnostics::{Error, Kind, Result, quote};
use platform::{Event, Outcome};

/// Contains the pipeline's secrets; an image should not contain it.
const ENV: &str = ".env";

impl Images<'_> {
    /// The image of a service's `build`. Builds it unless a local one has the same content.
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
            let note = format!(
                "the build context of {name} contains {ENV}: add it to \
                                .dockerignore"
            );
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

    /// A session with BuildKit, if it can run this build; None: use the classic builder.
    async fn session(
        &self,
        service: &Service,
        build: &Build,
        context: &Context,
    ) -> Result<Option<Session>> {
        // With BuildKit, `COPY` sees every file of the context; the classic builder removes a Dockerfile that
        // `.dockerignore` excludes.
        if context.hides_dockerfile && build.secrets.is_empty() {
            let text = context.dockerfile_text().unwrap_or_default();
            if !syntax::may_need_buildkit(&text) {
                return Ok(None);
            }
        }
        let network = build.network.as_deref();
        // BuildKit cannot use the engine's networks.
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
                    "only BuildKit supports secrets, and it does not support the network {network}"
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

    /// Makes the Dockerfile's frontend (`# syntax=`) available: it is local or pulled. If it is Docker's own and
    /// cannot be pulled, removes the directive and returns the frontend's name.
    ///
    /// # Errors
    /// Another frontend cannot be pulled: the engine cannot read such a file.
    async fn frontend(&self, reference: &str, context: &mut Context) -> Result<Option<String>> {
        // If it cannot be read, the build fails with the error.
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
            let what = format!("{frontend}, which the Dockerfile's `# syntax=` names, is missing");
            return Err(Error::new(Kind::NotRight, what)
                .because(format!("it cannot be pulled: {why}"))
                .hint(format!("docker pull {frontend}, or docker load -i FILE")));
        }
        self.note(format!(
            "{frontend} cannot be pulled ({why}): the engine's own Dockerfile frontend is used"
        ));
        context.replace_dockerfile(syntax::without_frontend(&text));
        Ok(Some(frontend.to_owned()))
    }

    /// The image of a service's `build`, if it is local and has the same content.
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
        // A closed event channel does not stop the work.
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

/// The declared labels, Caravan's labels that identify the image, and the digest.
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

/// Explains a failed build whose Dockerfile the engine's built-in frontend may be too old for, or for which it
/// replaced the frontend `missing`.
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
        // The cause is not the Dockerfile.
        _ if error.kind == Kind::Unreachable || full => error,
        (false, _) => error.hint(by_hand),
        (true, Some(missing)) => error
            .because(format!(
                "its `# syntax=` names {missing}, which is missing: the engine's own frontend \
                 may be too old for it"
            ))
            .hint(format!("docker pull {missing}, or docker load -i FILE")),
        (true, None) => error
            .because(
                "if there is no typo, this engine's frontend is too old for it: `# \
                 syntax=docker/dockerfile:1` as the first line selects a newer one",
            )
            .hint(by_hand),
    }
}

/// The command that shows all of a build's output.
fn by_hand(build: &Build, buildkit: bool) -> String {
    // Docker 20.10 uses BuildKit only with this variable.
    let buildkit = if buildkit { "DOCKER_BUILDKIT=1 " } else { "" };
    let mut command = format!("{buildkit}docker build");
    match &build.dockerfile {
        Dockerfile::File(path) => {
            command.push_str(&format!(" -f {}", quote(&path.to_string_lossy())));
        }
        Dockerfile::Inline(_) => return "correct `dockerfile_inline`".to_owned(),
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
