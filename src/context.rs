//! The context of a command: its environment, console, declaration and platform. Nothing below reads
//! environment variables or the working directory.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::{
    flags::Global,
    output::Console,
    remote::{self, Handover, INSIDE, LocalAnswers},
    state,
};
use declaration::{DeployedPorts, OtherOrigin, Pipeline, Source};
use diagnostics::{Error, Invocation, Kind, Result};
use docker::Engine;
use platform::{Deployment, Platform};
use proof::checks::StoredResults;

/// The context of a command, which `main` creates.
pub(crate) struct Context {
    pub(crate) console: Arc<Console>,
    /// Cancelled by the first Ctrl-C, SIGTERM or SIGHUP if the command stops cleanly or has an open question.
    pub(crate) cancel: CancellationToken,
    pub(crate) invocation: Invocation,
    request: declaration::Request,
    /// The declaration, set when it is first needed.
    source: OnceLock<Result<Source>>,
    host: Option<String>,
    /// Set when it is first needed. In a container on the pipeline's network, set from the start.
    pipeline: OnceLock<Pipeline>,
    engine: OnceCell<Result<Engine>>,
    /// Host ports of the running containers, set by [`Self::find_deployment`].
    ports: Option<DeployedPorts>,
    other_origin: Option<OtherOrigin>,
    inside: Option<Inside>,
    handles_signals: AtomicBool,
    question_open: AtomicBool,
}

/// What differs if this process runs in a container on the pipeline's network for a process on the host.
struct Inside {
    /// Name of the process on the host.
    who: String,
    /// The engine's address on the host.
    host: String,
    /// The engine's address in this container.
    endpoint: String,
    results: StoredResults,
}

/// A question before an action that cannot be undone.
pub(crate) struct Question<'a> {
    pub(crate) text: &'a str,
    /// What is said if the answer is no, and the reason of the error if a signal came instead.
    pub(crate) declined: &'a str,
    /// The error if there is no terminal to ask on.
    pub(crate) no_terminal: &'a str,
    /// The same command without the question.
    pub(crate) instead: &'a str,
}

impl Context {
    /// Asks the question on the terminal: whether the answer is yes.
    ///
    /// # Errors
    /// `Interrupted`: Ctrl-C, SIGTERM or SIGHUP came first. `Usage`: there is no terminal to ask on.
    pub(crate) async fn confirm(&self, question: &Question<'_>) -> Result<bool> {
        self.question_open.store(true, Ordering::SeqCst);
        let answer = tokio::select! {
            // A signal has priority over an answer that came at the same time.
            biased;
            () = self.cancel.cancelled() => {
                self.console.end_question();
                return Err(Error::new(Kind::Interrupted, "cancelled").because(question.declined));
            }
            answer = self.console.confirm(question.text) => answer,
        };
        self.question_open.store(false, Ordering::SeqCst);
        match answer {
            Some(true) => Ok(true),
            Some(false) => {
                self.console.note(question.declined);
                Ok(false)
            }
            None => Err(Error::new(Kind::Usage, question.no_terminal)
                .hint(self.invocation.command(question.instead))),
        }
    }

    /// Whether a question is open. A signal then ends the question and the command.
    pub(crate) fn has_open_question(&self) -> bool {
        self.question_open.load(Ordering::SeqCst)
    }

    pub(crate) fn new(
        global: Global,
        services: &[String],
        console: Arc<Console>,
        cwd: PathBuf,
        env: BTreeMap<String, String>,
        handover: Option<Handover>,
    ) -> Self {
        let host = global
            .host
            .clone()
            .or_else(|| env.get("DOCKER_HOST").cloned());
        let request = declaration::Request {
            files: global.file,
            project: global.project,
            env_file: global.env_file,
            profiles: global.profile,
            host: global.host,
            cwd,
            env,
            state_home: None,
            services: services.to_vec(),
        };
        let endpoint = request.env.get(INSIDE).cloned().unwrap_or_default();
        let known = OnceLock::new();
        let inside = handover.map(|handover| {
            console.mask(&handover.pipeline.secrets);
            // The cell was created above, so it is empty.
            drop(known.set(handover.pipeline));
            Inside {
                who: handover.who,
                host: handover.engine,
                endpoint,
                results: handover.results,
            }
        });
        Self {
            console,
            cancel: CancellationToken::new(),
            invocation: request.invocation(),
            request,
            source: OnceLock::new(),
            host: host.filter(|h| !h.is_empty()),
            pipeline: known,
            engine: OnceCell::new(),
            ports: None,
            other_origin: None,
            inside,
            handles_signals: AtomicBool::new(false),
            question_open: AtomicBool::new(false),
        }
    }

    /// The declaration, read once per command.
    ///
    /// # Errors
    /// There is none, or it is not YAML.
    pub(crate) fn source(&self) -> Result<&Source> {
        let located = || declaration::locate(&self.request);
        let source = self.source.get_or_init(located);
        source.as_ref().map_err(Clone::clone)
    }

    /// Inspects the project's containers. From here on, addresses use the host ports that these publish. If
    /// the project was brought up from another declaration or directory, warns with the right command line
    /// for `command`. An error is ignored here, because the command itself fails with the same error.
    pub(crate) async fn find_deployment(&mut self, command: &str) {
        if self.is_inside() {
            return;
        }
        let Ok(source) = self.source() else { return };
        let declared = source.resolve_without_secrets();
        let declared = declared
            .map(|pipeline| pipeline.declared_host_ports())
            .unwrap_or_default();
        let Ok(platform) = self.platform().await else {
            return;
        };
        let deployment = platform.deployment(source.project(), &declared);
        let Ok(Deployment { ports, recorded }) = deployment.await else {
            return;
        };
        let project = source.project().to_owned();
        let other = recorded.and_then(|recorded| source.compare(&recorded));
        self.ports = Some(ports);
        let Some(other) = other else {
            return;
        };
        let differs = match other.secrets.as_slice() {
            [] => "the declaration here differs".to_owned(),
            names => format!("{}: different or missing here", names.join(", ")),
        };
        self.console.warn(&format!(
            "{project} was brought up from {} ({differs}); for that: {}",
            other.from,
            other.invocation.command(command)
        ));
        // With the secrets of this directory, the command of a hint would fail.
        if !other.secrets.is_empty() {
            self.invocation = other.invocation.clone();
            if let Some(Ok(source)) = self.source.get_mut() {
                source.hint_at(&self.invocation);
            }
            self.other_origin = Some(other);
        }
    }

    /// The origin of the project, if its secrets differ from those of this directory.
    pub(crate) fn other_origin(&self) -> Option<&OtherOrigin> {
        self.other_origin.as_ref()
    }

    /// The Compose file, with or without `x-caravan`: the one that `-f` names, else the first with a usual
    /// name.
    ///
    /// # Errors
    /// There is no Compose file.
    pub(crate) fn compose_file(&self) -> Result<Source> {
        let mut request = self.request.clone();
        if request.files.is_empty() {
            let Some(found) = declaration::compose_file(&request.cwd) else {
                return Err(Error::new(Kind::Usage, "there is no Compose file here")
                    .because("no file has one of the usual names, and -f names none")
                    .hint(
                        "caravan init --default writes the shipped pipeline's file for editing",
                    ));
            };
            request.files.push(found);
        }
        declaration::locate(&request)
    }

    /// A path from the command line, resolved against the working directory.
    pub(crate) fn path(&self, path: &std::path::Path) -> PathBuf {
        self.request.cwd.join(path)
    }

    /// The pipeline; its secrets are masked from here on.
    ///
    /// # Errors
    /// The declaration is invalid, or a secret is not set.
    pub(crate) fn pipeline(&self) -> Result<Pipeline> {
        if let Some(pipeline) = self.pipeline.get() {
            return Ok(pipeline.clone());
        }
        let pipeline = self.deployed(self.resolve(self.source()?)?);
        // Benign race: both values are equal.
        drop(self.pipeline.set(pipeline.clone()));
        Ok(pipeline)
    }

    /// As [`Self::pipeline`], from this source.
    pub(crate) fn resolve(&self, source: &Source) -> Result<Pipeline> {
        Ok(self.with_warnings(source.resolve()?))
    }

    /// The pipeline with the host ports of its running containers in its addresses.
    pub(crate) fn deployed(&self, mut pipeline: Pipeline) -> Pipeline {
        if let Some(ports) = &self.ports {
            pipeline.use_deployed_ports(ports);
        }
        pipeline
    }

    /// As [`Self::resolve`]; secrets may be missing.
    pub(crate) fn resolve_without_secrets(&self, source: &Source) -> Result<Pipeline> {
        Ok(self.with_warnings(source.resolve_without_secrets()?))
    }

    fn with_warnings(&self, pipeline: Pipeline) -> Pipeline {
        self.console.mask(&pipeline.secrets);
        for warning in &pipeline.warnings {
            self.console.warn(warning);
        }
        pipeline
    }

    /// What earlier runs of `verify` found of the rules over the database.
    ///
    /// # Errors
    /// There is no declaration.
    pub(crate) fn stored_results(&self) -> Result<StoredResults> {
        if let Some(inside) = &self.inside {
            return Ok(inside.results.clone());
        }
        let (results, warning) = state::read_results(self.source()?);
        if let Some(warning) = warning {
            self.console.warn(&warning);
        }
        Ok(results)
    }

    /// Stores what `verify` found, which began as `began`, without secrets; in a container, the process on the
    /// host does so.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn store_results(
        &self,
        began: &StoredResults,
        results: &StoredResults,
    ) -> Result<()> {
        let results = results.clone().masked(|line| self.console.masked(line));
        match &self.inside {
            Some(_) => remote::hand_back(&results),
            None => state::store_results(self.source()?, began, results),
        }
    }

    /// Whether this process runs in a container on the pipeline's network.
    pub(crate) fn is_inside(&self) -> bool {
        self.inside.is_some()
    }

    /// Name of the process on the host, if this process runs in a container for it.
    pub(crate) fn who(&self) -> Option<&str> {
        self.inside.as_ref().map(|inside| inside.who.as_str())
    }

    /// The environment variables.
    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.request.env
    }

    /// From here on, the command handles Ctrl-C, SIGTERM and SIGHUP itself.
    pub(crate) fn take_signals(&self) {
        self.handles_signals.store(true, Ordering::SeqCst);
    }

    /// Whether the command handles Ctrl-C, SIGTERM and SIGHUP itself.
    pub(crate) fn handles_signals(&self) -> bool {
        self.handles_signals.load(Ordering::SeqCst)
    }

    /// Docker of any version; the caller checks the version.
    pub(crate) async fn any_engine(&self) -> Result<Engine> {
        Engine::connect_any_version(self.host.as_deref(), Arc::new(LocalAnswers)).await
    }

    /// The platform that the pipeline runs on.
    pub(crate) async fn platform(&self) -> Result<Arc<dyn Platform>> {
        Ok(Arc::new(self.engine().await?))
    }

    /// Docker, for images and for the checks of `doctor`, which other platforms do not have.
    pub(crate) async fn engine(&self) -> Result<Engine> {
        let connect = || async {
            match &self.inside {
                Some(Inside { host, endpoint, .. }) => {
                    Engine::connect_through(host, endpoint, Arc::new(LocalAnswers)).await
                }
                None => Engine::connect(self.host.as_deref(), Arc::new(LocalAnswers)).await,
            }
        };
        self.engine.get_or_init(connect).await.clone()
    }
}
