//! What a command is given: the environment, injected once; nothing below reads it ad hoc.

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
    remote::{self, FromHere, Handover, INSIDE},
    state,
};
use declaration::{DeployedPorts, OtherOrigin, Pipeline, Source};
use diagnostics::{Error, Invocation, Kind, Result};
use docker::{Deployment, Engine};
use proof::checks::StoredResults;

/// Built by `main`, handed to each command.
pub(crate) struct Context {
    pub(crate) console: Arc<Console>,
    /// Cancelled by the first Ctrl-C, SIGTERM or SIGHUP, where a command stops cleanly or asks.
    pub(crate) cancel: CancellationToken,
    pub(crate) invocation: Invocation,
    request: declaration::Request,
    host: Option<String>,
    /// Once it is known; where this process runs inside, from the beginning.
    pipeline: OnceLock<Pipeline>,
    engine: OnceCell<Result<Engine>>,
    /// What is deployed, once it has been looked at.
    ports: Option<DeployedPorts>,
    elsewhere: Option<OtherOrigin>,
    inside: Option<Inside>,
    signals_taken: AtomicBool,
    asking: AtomicBool,
}

/// What is other where a process runs inside the pipeline's network, for one on the host.
struct Inside {
    /// What that is called.
    who: String,
    /// Where the engine is for that.
    host: String,
    /// Where it is here.
    endpoint: String,
    results: StoredResults,
}

/// What is asked before something is done that cannot be undone.
pub(crate) struct Question<'a> {
    pub(crate) text: &'a str,
    /// Where the answer is no.
    pub(crate) declined: &'a str,
    /// Where nobody can answer.
    pub(crate) unasked: &'a str,
    /// The command that does not ask.
    pub(crate) instead: &'a str,
}

impl Context {
    /// # Errors
    /// `Interrupted`: the answer is no, or Ctrl-C, SIGTERM or SIGHUP came first. `Usage`: there is
    /// no terminal to ask on.
    pub(crate) async fn confirm(&self, question: &Question<'_>) -> Result<()> {
        self.asking.store(true, Ordering::SeqCst);
        let answer = tokio::select! {
            // A signal goes before an answer that came at the same time.
            biased;
            () = self.cancel.cancelled() => {
                self.console.end_question();
                return Err(Error::new(Kind::Interrupted, "cancelled").because(question.declined));
            }
            answer = self.console.confirm(question.text) => answer,
        };
        self.asking.store(false, Ordering::SeqCst);
        match answer {
            Some(true) => Ok(()),
            Some(false) => Err(Error::new(Kind::Interrupted, question.declined)),
            None => Err(Error::new(Kind::Usage, question.unasked)
                .hint(self.invocation.command(question.instead))),
        }
    }

    /// Whether a question is open: a signal then ends it, and with it the command.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking.load(Ordering::SeqCst)
    }

    pub(crate) fn new(
        global: Global,
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
        };
        let endpoint = request.env.get(INSIDE).cloned().unwrap_or_default();
        let known = OnceLock::new();
        let inside = handover.map(|handover| {
            console.mask(&handover.pipeline.secrets);
            // Nobody can have set it before.
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
            host: host.filter(|h| !h.is_empty()),
            pipeline: known,
            engine: OnceCell::new(),
            ports: None,
            elsewhere: None,
            inside,
            signals_taken: AtomicBool::new(false),
            asking: AtomicBool::new(false),
        }
    }

    /// The declaration's text, found but not yet resolved.
    pub(crate) fn source(&self) -> Result<Source> {
        let mut source = declaration::locate(&self.request)?;
        source.hint_at(&self.invocation);
        Ok(source)
    }

    /// Looks at what is deployed of the project: its own ports are asked from here on, and where it
    /// was brought up from another place, that is told, with the command line `command` for it.
    /// Whatever fails here fails in the command, too, and is told there.
    pub(crate) async fn find_deployment(&mut self, command: &str) {
        if self.is_inside() {
            return;
        }
        let Ok(source) = self.source() else { return };
        let asked = source.resolve_without_secrets();
        let asked = asked
            .map(|pipeline| pipeline.declared_host_ports())
            .unwrap_or_default();
        let Ok(engine) = self.engine().await else {
            return;
        };
        let deployment = engine.deployment(source.project(), &asked);
        let Ok(Deployment { ports, recorded }) = deployment.await else {
            return;
        };
        self.ports = Some(ports);
        let Some(elsewhere) = recorded.and_then(|recorded| source.compare(&recorded)) else {
            return;
        };
        let differs = match elsewhere.secrets.as_slice() {
            [] => "the declaration here is another one".to_owned(),
            names => format!("{} here: another value, or none", names.join(", ")),
        };
        self.console.warn(&format!(
            "{} was brought up from {} ({differs}); for that: {}",
            source.project(),
            elsewhere.from,
            elsewhere.invocation.command(command)
        ));
        // With the secrets of this place no command could do what a hint says.
        if !elsewhere.secrets.is_empty() {
            self.invocation = elsewhere.invocation.clone();
            self.elsewhere = Some(elsewhere);
        }
    }

    /// Where the project was brought up from with other secrets than those of this place.
    pub(crate) fn other_origin(&self) -> Option<&OtherOrigin> {
        self.elsewhere.as_ref()
    }

    /// The Compose file whether it has `x-caravan` or not: what `-f` names, else the first by its
    /// usual names.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn compose_file(&self) -> Result<Source> {
        let mut request = self.request.clone();
        if request.files.is_empty() {
            let Some(found) = declaration::compose_file(&request.cwd) else {
                return Err(Error::new(Kind::Usage, "there is no Compose file here")
                    .because("neither under one of its usual names, nor named with -f")
                    .hint("caravan init --default writes the shipped pipeline's out for editing"));
            };
            request.files.push(found);
        }
        declaration::locate(&request)
    }

    /// A path of the command line, from where Caravan was started.
    pub(crate) fn path(&self, path: &std::path::Path) -> PathBuf {
        self.request.cwd.join(path)
    }

    /// The pipeline; its secrets are masked from here on.
    ///
    /// # Errors
    /// Whatever is wrong with the declaration, a secret that was never made included.
    pub(crate) fn pipeline(&self) -> Result<Pipeline> {
        if let Some(pipeline) = self.pipeline.get() {
            return Ok(pipeline.clone());
        }
        let pipeline = self.resolve_deployed(&self.source()?)?;
        // Benign race: both values are equal.
        drop(self.pipeline.set(pipeline.clone()));
        Ok(pipeline)
    }

    /// As [`Self::pipeline`], from a source that the caller has looked at.
    pub(crate) fn resolve(&self, source: &Source) -> Result<Pipeline> {
        Ok(self.announced(source.resolve()?))
    }

    /// As [`Self::resolve`], with the addresses at which what is deployed is reached.
    pub(crate) fn resolve_deployed(&self, source: &Source) -> Result<Pipeline> {
        Ok(self.deployed(self.resolve(source)?))
    }

    /// A pipeline with the addresses at which what is deployed is reached.
    pub(crate) fn deployed(&self, mut pipeline: Pipeline) -> Pipeline {
        if let Some(ports) = &self.ports {
            pipeline.use_deployed_ports(ports);
        }
        pipeline
    }

    /// As [`Self::resolve`], for what can be told before secrets are made.
    pub(crate) fn resolve_without_secrets(&self, source: &Source) -> Result<Pipeline> {
        Ok(self.announced(source.resolve_without_secrets()?))
    }

    fn announced(&self, pipeline: Pipeline) -> Pipeline {
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
        let (results, warning) = state::read_results(&self.source()?);
        if let Some(warning) = warning {
            self.console.warn(&warning);
        }
        Ok(results)
    }

    /// Stores what `verify` found, which began as `began`; inside, the process on the host does so.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn store_results(
        &self,
        began: &StoredResults,
        results: &StoredResults,
    ) -> Result<()> {
        match &self.inside {
            Some(_) => remote::hand_back(results),
            None => state::store_results(&self.source()?, began, results.clone()),
        }
    }

    /// Whether this process runs inside the pipeline's network, for one on the host.
    pub(crate) fn is_inside(&self) -> bool {
        self.inside.is_some()
    }

    /// What the process on the host is called, where this one runs inside for it.
    pub(crate) fn who(&self) -> Option<&str> {
        self.inside.as_ref().map(|inside| inside.who.as_str())
    }

    /// The environment's variables.
    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.request.env
    }

    /// The command handles Ctrl-C, SIGTERM and SIGHUP from here on.
    pub(crate) fn take_signals(&self) {
        self.signals_taken.store(true, Ordering::SeqCst);
    }

    /// Whether the command handles Ctrl-C, SIGTERM and SIGHUP itself.
    pub(crate) fn has_taken_signals(&self) -> bool {
        self.signals_taken.load(Ordering::SeqCst)
    }

    /// Docker, however old: what is wrong with it is for the caller to say.
    pub(crate) async fn any_engine(&self) -> Result<Engine> {
        Engine::connect_any_version(self.host.as_deref(), Arc::new(FromHere)).await
    }

    /// Docker.
    pub(crate) async fn engine(&self) -> Result<Engine> {
        let connect = || async {
            match &self.inside {
                Some(Inside { host, endpoint, .. }) => {
                    Engine::connect_through(host, endpoint, Arc::new(FromHere)).await
                }
                None => Engine::connect(self.host.as_deref(), Arc::new(FromHere)).await,
            }
        };
        self.engine.get_or_init(connect).await.clone()
    }
}
