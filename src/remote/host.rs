//! The host's side: decides the place, starts the container, serves it, and takes its exit code.

use std::{cell::RefCell, collections::BTreeMap, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, ReadHalf, WriteHalf},
    signal::unix::SignalKind,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use super::{
    Handover, link,
    link::Stream,
    wire::{Channel, Order, ToAgent, ToHost},
};
use crate::{cli::Command, commands::Verdict, context::Context, output::Console, signals::Signals};
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};
use docker::{Engine, NetworkContainer};
use proof::{checks::StoredResults, dead_letters::this_process};

/// From the container's start to its first word; a second is the rule.
const GREETING: Duration = Duration::from_secs(30);
/// After the second Ctrl-C the command ends at once; if it does not, nobody waits for it.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Runs a command inside the pipeline's network, if what it needs is there; None: it is to run
/// here.
///
/// # Errors
/// It cannot: there is no network yet, no image can be packed, Docker or the connection fails.
pub(crate) async fn run_in_network(
    context: &Context,
    command: &Command,
) -> Result<Option<Verdict>> {
    let Some(needs) = command.needs().filter(|_| !context.is_inside()) else {
        return Ok(None);
    };
    let pipeline = context.pipeline()?;
    let networks = pipeline.networks_inside(needs);
    if networks.is_empty() {
        return Ok(None);
    }
    let engine = context.engine().await?;
    let there = engine.existing_networks(&networks).await?;
    if there.is_empty() && !matches!(command, Command::Verify(_)) {
        return Err(no_network(context, &networks));
    }
    let results = match command {
        Command::Verify(_) => context.stored_results()?,
        _ => StoredResults::default(),
    };
    let visit = RemoteSession {
        context,
        results: RefCell::new(results),
        engine: &engine,
        pipeline: &pipeline,
        asks: command.asks(),
    };
    visit.run(&there).await.map(Some)
}

fn no_network(context: &Context, networks: &[String]) -> Error {
    let what = match networks {
        [network] => format!("the network {network} is not there"),
        _ => format!("none of the networks {} is there", networks.join(", ")),
    };
    Error::new(Kind::Unreachable, what)
        .because("what the pipeline consists of is only reached from inside")
        .hint(context.invocation.command("up"))
}

/// One command's stay inside.
struct RemoteSession<'a> {
    context: &'a Context,
    engine: &'a Engine,
    pipeline: &'a Pipeline,
    /// Whether the command may ask on a terminal.
    asks: bool,
    /// What `verify` found, as it is stored.
    results: RefCell<StoredResults>,
}

impl RemoteSession<'_> {
    async fn run(&self, networks: &[String]) -> Result<Verdict> {
        // From here on Ctrl-C, SIGTERM and SIGHUP are for the command inside.
        let mut interrupts = Signals::listen()
            .map_err(|e| Error::new(Kind::Defect, format!("cannot listen for signals: {e}")))?;
        self.context.take_signals();
        let name = Engine::network_container_name(self.pipeline);
        let visited = self.visit(&name, networks, &mut interrupts).await;
        let removed = self.engine.remove_network_container(&name).await;
        let verdict = visited?;
        removed.map(|()| verdict)
    }

    async fn visit(
        &self,
        name: &str,
        networks: &[String],
        interrupts: &mut Signals,
    ) -> Result<Verdict> {
        let command = ["run", "inside"];
        let started = self
            .engine
            .start_in_network(self.pipeline, name, networks, &command);
        let NetworkContainer { socket, end } = unless_interrupted(started, interrupts).await?;
        let session = Session::greet(link::given(socket), self.order());
        let ended = match session.await {
            Ok(mut session) => session.see_through(self, interrupts).await,
            Err(e) => Err(e),
        };
        match ended {
            Err(error) if error.kind == Kind::Unreachable => {
                let described = end.describe().await.into_iter();
                let error = described.fold(error, Error::because);
                Err(error.hint(self.context.invocation.command("status")))
            }
            ended => ended,
        }
    }

    /// Stores what the command found. If that fails, its findings are right all the same.
    fn store(&self, results: StoredResults) {
        let began = self.results.replace(results.clone());
        if let Err(error) = self.context.store_results(&began, &results) {
            self.context.console.warn(&error.to_string());
        }
    }

    fn order(&self) -> Order {
        let env = self.context.environment();
        let own = |name: &str| name.starts_with("CARAVAN_") || name == "NO_COLOR";
        Order {
            arguments: std::env::args_os().skip(1).collect(),
            environment: env
                .iter()
                .filter(|(name, _)| own(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<BTreeMap<_, _>>(),
            handover: Handover {
                pipeline: self.pipeline.clone(),
                terminal: self.context.console.terminal,
                who: this_process(),
                engine: self.engine.host.clone(),
                results: self.results.borrow().clone(),
            },
        }
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}

fn broken() -> Error {
    let what = "the connection to the container inside the pipeline's network broke";
    Error::new(Kind::Unreachable, what)
}

/// What is being made is seen through, so that it can be removed; nothing else is begun after a
/// Ctrl-C. After the second nobody waits for it either.
async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T>>,
    interrupts: &mut Signals,
) -> Result<T> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = interrupts.stop() => {}
    }
    tokio::select! {
        done = &mut work => drop(done),
        () = interrupts.stop_at_once() => {}
    }
    Err(interrupted())
}

/// The connection, once the container has said its first word.
struct Session {
    streams: mpsc::UnboundedReceiver<Stream>,
    control: WriteHalf<Stream>,
    heard: Lines<BufReader<ReadHalf<Stream>>>,
    /// What the command writes, on its way to where it is shown.
    shown: Vec<JoinHandle<()>>,
    /// The command's connections to Docker; they end with the session.
    carried: JoinSet<()>,
}

impl Session {
    /// Awaits the first stream, which is for control, and says what is to run.
    async fn greet(mut streams: mpsc::UnboundedReceiver<Stream>, order: Order) -> Result<Self> {
        let first = async {
            let mut stream = streams.recv().await?;
            let channel = Channel::of(&mut stream).await?;
            (channel == Channel::Control).then_some(stream)
        };
        let stream = match tokio::time::timeout(GREETING, first).await {
            Ok(stream) => stream.ok_or_else(broken)?,
            Err(_) => {
                let limit = humantime::format_duration(GREETING);
                return Err(broken().because(format!("it said nothing within {limit}")));
            }
        };
        let (reader, control) = tokio::io::split(stream);
        let mut session = Self {
            streams,
            control,
            heard: BufReader::new(reader).lines(),
            shown: Vec::new(),
            carried: JoinSet::new(),
        };
        session.say(&ToAgent::Run(Box::new(order))).await?;
        Ok(session)
    }

    async fn say(&mut self, what: &ToAgent) -> Result<()> {
        let failed = |e: io::Error| broken().because(e.to_string());
        let mut line = serde_json::to_vec(what).map_err(|e| failed(e.into()))?;
        line.push(b'\n');
        self.control.write_all(&line).await.map_err(failed)?;
        self.control.flush().await.map_err(failed)
    }

    /// Until the command has ended, and all that it wrote is shown.
    async fn see_through(
        &mut self,
        visit: &RemoteSession<'_>,
        interrupts: &mut Signals,
    ) -> Result<Verdict> {
        let console = &visit.context.console;
        let mut typed = typed(visit.asks && console.terminal.answers());
        let mut interruptions = 0_usize;
        let mut at_latest = Instant::now();
        let last = loop {
            tokio::select! {
                // Streams before words: all that the command writes is taken up before it is said
                // that it has ended.
                biased;
                stream = self.streams.recv() => match stream {
                    Some(stream) => self.serve(stream, console, visit.engine).await,
                    None => return Err(broken()),
                },
                line = self.heard.next_line() => match line {
                    Ok(Some(line)) => match serde_json::from_str(&line) {
                        Ok(ToHost::Results(results)) => visit.store(results),
                        _ => break line,
                    },
                    Ok(None) | Err(_) => return Err(broken()),
                },
                Some(line) = typed.recv() => self.say(&ToAgent::Input(line)).await?,
                () = interruption(interrupts, interruptions) => {
                    interruptions += 1;
                    at_latest = Instant::now() + AT_ONCE;
                    self.say(&ToAgent::Interrupt).await?;
                }
                () = tokio::time::sleep_until(at_latest), if interruptions > 1 => {
                    return Err(interrupted().because(
                        "stopped at once: what was under way is left as it is",
                    ));
                }
            }
        };
        for shown in self.shown.drain(..) {
            // It ends with its stream; a panic in it would have been reported by the hook.
            drop(shown.await);
        }
        verdict(&last)
    }

    async fn serve(&mut self, mut stream: Stream, console: &Arc<Console>, engine: &Engine) {
        match Channel::of(&mut stream).await {
            Some(Channel::Out) => self.show(stream, console, Console::relay_out),
            Some(Channel::Err) => self.show(stream, console, Console::relay_err),
            Some(Channel::Engine) => {
                let engine = engine.clone();
                self.carried.spawn(async move {
                    // Without the engine the stream ends, and the command says that it is gone.
                    if let Ok(mut socket) = engine.connection().await {
                        drop(tokio::io::copy_bidirectional(&mut socket, &mut stream).await);
                    }
                });
            }
            Some(Channel::Control) | None => {}
        }
    }

    /// Shows all that comes, in step with whoever reads it.
    fn show(
        &mut self,
        mut stream: Stream,
        console: &Arc<Console>,
        relay: fn(&Console, &[u8]) -> bool,
    ) {
        let console = Arc::clone(console);
        self.shown.push(tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                let (console, bytes) = (Arc::clone(&console), buffer[..n].to_vec());
                let written = tokio::task::spawn_blocking(move || relay(&console, &bytes));
                if !matches!(written.await, Ok(true)) {
                    // The stream ends here, and the command's next write to it fails there, too.
                    return;
                }
            }
        }));
    }
}

/// The next signal that is for the command; `so_far` came before it.
async fn interruption(signals: &mut Signals, so_far: usize) {
    match so_far {
        0 => signals.stop().await,
        _ => signals.stop_at_once().await,
    }
}

/// How the command ended.
fn verdict(last: &str) -> Result<Verdict> {
    match serde_json::from_str(last) {
        Ok(ToHost::Ended {
            code: Some(code), ..
        }) => Ok(Verdict::Told(code)),
        // Before it could listen for it.
        Ok(ToHost::Ended {
            signal: Some(signal),
            ..
        }) if signal == SignalKind::interrupt().as_raw_value() => Err(interrupted()),
        Ok(ToHost::Ended { signal, .. }) => {
            let what = "the command's process inside the pipeline's network was killed";
            let signal = signal.map_or_else(String::new, |signal| format!("by signal {signal}"));
            Err(Error::new(Kind::Unreachable, what)
                .because(signal)
                .because("it took more memory than it may have, or somebody stopped it"))
        }
        // It is never the last.
        Ok(ToHost::Results(_)) => Err(broken()),
        Ok(ToHost::Failed(why)) => {
            let what = "the command could not be started inside the pipeline's network";
            Err(Error::new(Kind::Unreachable, what).because(why))
        }
        Err(e) => Err(broken().because(e.to_string())),
    }
}

/// Lines that a person types, if they are wanted. The thread that reads them ends with the process.
fn typed(wanted: bool) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    if wanted {
        std::thread::spawn(move || {
            let mut line = String::new();
            while matches!(io::stdin().read_line(&mut line), Ok(1..)) {
                if sender.blocking_send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
    }
    lines
}
