//! The host's side: decides whether the command runs here, starts the container, serves it, and returns its
//! exit code.

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
use crate::{
    context::Context,
    output::{Console, posix_zone},
    signals::Signals,
    verdict::Verdict,
};
use declaration::{Needs, Pipeline};
use diagnostics::{Error, Kind, Result};
use platform::{Inside, Platform};
use proof::{checks::StoredResults, dead_letters::this_process};

/// Timeout from the container's start to its first message, which usually takes a second.
const FIRST_MESSAGE: Duration = Duration::from_secs(30);
/// Timeout of the command's end after the second Ctrl-C.
const SECOND_SIGNAL: Duration = Duration::from_secs(2);

/// What a command needs of the pipeline's network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NetworkNeeds {
    /// The addresses that it connects to.
    pub(crate) addresses: Needs,
    /// Whether it may ask a question on a terminal.
    pub(crate) asks: bool,
    /// Whether it reports a missing network itself.
    pub(crate) reports_missing: bool,
    /// Whether it reads and stores the results of `verify`.
    pub(crate) results: bool,
}

/// Runs the command in a container on the pipeline's network if addresses that it needs resolve only there.
/// None: the caller runs the command.
///
/// # Errors
/// The network does not exist, no image can be packed, or Docker or the connection fails.
pub(crate) async fn run_in_network(
    context: &Context,
    needs: NetworkNeeds,
) -> Result<Option<Verdict>> {
    if context.is_inside() {
        return Ok(None);
    }
    let pipeline = context.pipeline()?;
    let networks = pipeline.networks_inside(needs.addresses);
    if networks.is_empty() {
        return Ok(None);
    }
    let platform = context.platform().await?;
    let existing = platform.existing_networks(&networks).await?;
    if existing.is_empty() && !needs.reports_missing {
        return Err(no_network(context, &networks));
    }
    let results = if needs.results {
        context.stored_results()?
    } else {
        StoredResults::default()
    };
    let session = RemoteSession {
        context,
        results: RefCell::new(results),
        platform: &platform,
        pipeline: &pipeline,
        asks: needs.asks,
    };
    session.run(&existing).await.map(Some)
}

fn no_network(context: &Context, networks: &[String]) -> Error {
    let what = match networks {
        [network] => format!("the network {network} does not exist"),
        _ => format!("none of the networks {} exists", networks.join(", ")),
    };
    Error::new(Kind::NotRight, what)
        .because("the pipeline's addresses resolve only inside its network")
        .hint(context.invocation.command("up"))
}

/// One command in a container on the pipeline's network.
struct RemoteSession<'a> {
    context: &'a Context,
    platform: &'a Arc<dyn Platform>,
    pipeline: &'a Pipeline,
    /// Whether the command may ask on a terminal.
    asks: bool,
    /// What `verify` found, as it is stored.
    results: RefCell<StoredResults>,
}

impl RemoteSession<'_> {
    async fn run(&self, networks: &[String]) -> Result<Verdict> {
        // From here on, Ctrl-C, SIGTERM and SIGHUP are forwarded to the command.
        let mut interrupts = Signals::listen()
            .map_err(|e| Error::new(Kind::Defect, format!("cannot listen for signals: {e}")))?;
        self.context.take_signals();
        let name = self.platform.inside_name(self.pipeline);
        let verdict = self.serve(&name, networks, &mut interrupts).await;
        let removed = self.platform.remove_inside(&name).await;
        let verdict = verdict?;
        removed.map(|()| verdict)
    }

    async fn serve(
        &self,
        name: &str,
        networks: &[String],
        interrupts: &mut Signals,
    ) -> Result<Verdict> {
        let command = ["run", "inside"];
        let started = self
            .platform
            .start_inside(self.pipeline, name, networks, &command);
        let Inside { connection, end } = unless_interrupted(started, interrupts).await?;
        let session = Session::begin(link::accepting(connection), self.order());
        let ended = match session.await {
            Ok(mut session) => session.serve_command(self, interrupts).await,
            Err(e) => Err(e),
        };
        match ended {
            Err(error) if error.kind == Kind::Unreachable => {
                let described = end.await.into_iter();
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
        // What decides on colours and marks.
        const LOOKS: [&str; 5] = ["NO_COLOR", "TERM", "LC_ALL", "LC_CTYPE", "LANG"];
        let own = |name: &str| name.starts_with("CARAVAN_") || LOOKS.contains(&name);
        Order {
            arguments: std::env::args_os().skip(1).collect(),
            environment: env
                .iter()
                .filter(|(name, _)| own(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .chain([("TZ".to_owned(), posix_zone())])
                .collect::<BTreeMap<_, _>>(),
            handover: Handover {
                pipeline: self.pipeline.clone(),
                terminal: self.context.console.terminal,
                who: this_process(),
                engine: self.platform.address().to_owned(),
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

/// Waits for `work` also after a Ctrl-C, so that what it creates can be removed, and then returns an error.
/// A second Ctrl-C ends the wait.
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

/// The connection after the container's first message.
struct Session {
    streams: mpsc::UnboundedReceiver<Stream>,
    control: WriteHalf<Stream>,
    messages: Lines<BufReader<ReadHalf<Stream>>>,
    /// Tasks that relay the command's output.
    relays: Vec<JoinHandle<()>>,
    /// Tasks that relay the command's connections to Docker; they end with the session.
    connections: JoinSet<()>,
}

impl Session {
    /// Waits for the first stream, the control stream, and sends the order.
    async fn begin(mut streams: mpsc::UnboundedReceiver<Stream>, order: Order) -> Result<Self> {
        let first = async {
            let mut stream = streams.recv().await?;
            let channel = Channel::of(&mut stream).await?;
            (channel == Channel::Control).then_some(stream)
        };
        let stream = match tokio::time::timeout(FIRST_MESSAGE, first).await {
            Ok(stream) => stream.ok_or_else(broken)?,
            Err(_) => {
                let limit = declaration::units::exact(FIRST_MESSAGE);
                return Err(broken().because(format!("no message within {limit}")));
            }
        };
        let (reader, control) = tokio::io::split(stream);
        let mut session = Self {
            streams,
            control,
            messages: BufReader::new(reader).lines(),
            relays: Vec::new(),
            connections: JoinSet::new(),
        };
        session.send(&ToAgent::Run(Box::new(order))).await?;
        Ok(session)
    }

    async fn send(&mut self, what: &ToAgent) -> Result<()> {
        let failed = |e: io::Error| broken().because(e.to_string());
        let mut line = serde_json::to_vec(what).map_err(|e| failed(e.into()))?;
        line.push(b'\n');
        self.control.write_all(&line).await.map_err(failed)?;
        self.control.flush().await.map_err(failed)
    }

    /// Serves the command until it has ended and all its output is written.
    async fn serve_command(
        &mut self,
        remote: &RemoteSession<'_>,
        interrupts: &mut Signals,
    ) -> Result<Verdict> {
        let console = &remote.context.console;
        let mut typed = typed_lines(remote.asks && console.terminal.answers());
        let mut interruptions = 0_usize;
        let mut deadline = Instant::now();
        let last = loop {
            tokio::select! {
                // Streams have priority over the control stream, so that all output is accepted before
                // the message that the command ended.
                biased;
                stream = self.streams.recv() => match stream {
                    Some(stream) => self.serve(stream, console, remote.platform).await,
                    None => return Err(broken()),
                },
                line = self.messages.next_line() => match line {
                    Ok(Some(line)) => match serde_json::from_str(&line) {
                        Ok(ToHost::Results(results)) => remote.store(results),
                        _ => break line,
                    },
                    Ok(None) | Err(_) => return Err(broken()),
                },
                Some(line) = typed.recv() => self.send(&ToAgent::Input(line)).await?,
                () = interruption(interrupts, interruptions) => {
                    interruptions += 1;
                    deadline = Instant::now() + SECOND_SIGNAL;
                    self.send(&ToAgent::Interrupt).await?;
                }
                () = tokio::time::sleep_until(deadline), if interruptions > 1 => {
                    return Err(interrupted().because(
                        "stopped at once: unfinished work was left as it was",
                    ));
                }
            }
        };
        for relays in self.relays.drain(..) {
            // The task ends with its stream; the panic hook reports a panic.
            drop(relays.await);
        }
        verdict(&last)
    }

    async fn serve(
        &mut self,
        mut stream: Stream,
        console: &Arc<Console>,
        platform: &Arc<dyn Platform>,
    ) {
        match Channel::of(&mut stream).await {
            Some(Channel::Out) => self.show(stream, console, Console::relay_out),
            Some(Channel::Err) => self.show(stream, console, Console::relay_err),
            Some(Channel::Engine) => {
                let platform = Arc::clone(platform);
                self.connections.spawn(async move {
                    // If the engine is unreachable, the stream ends, and the command reports it.
                    if let Ok(mut socket) = platform.open_connection().await {
                        drop(tokio::io::copy_bidirectional(&mut socket, &mut stream).await);
                    }
                });
            }
            Some(Channel::Control) | None => {}
        }
    }

    /// Relays a stream of output, as fast as its reader accepts it.
    fn show(
        &mut self,
        mut stream: Stream,
        console: &Arc<Console>,
        relay: fn(&Console, &[u8]) -> bool,
    ) {
        let console = Arc::clone(console);
        self.relays.push(tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                let (console, bytes) = (Arc::clone(&console), buffer[..n].to_vec());
                let written = tokio::task::spawn_blocking(move || relay(&console, &bytes));
                if !matches!(written.await, Ok(true)) {
                    // The stream ends, so the command's next write to it fails.
                    return;
                }
            }
        }));
    }
}

/// The next signal for the command; `so_far`: how many came before it.
async fn interruption(signals: &mut Signals, so_far: usize) {
    match so_far {
        0 => signals.stop().await,
        _ => signals.stop_at_once().await,
    }
}

/// The result of the command, from the container's last message.
fn verdict(last: &str) -> Result<Verdict> {
    match serde_json::from_str(last) {
        Ok(ToHost::Ended {
            code: Some(code), ..
        }) => Ok(Verdict::Exited(code)),
        // The signal came before the command handled signals.
        Ok(ToHost::Ended {
            signal: Some(signal),
            ..
        }) if signal == SignalKind::interrupt().as_raw_value() => Err(interrupted()),
        Ok(ToHost::Ended { signal, .. }) => {
            let what = "the command's process inside the pipeline's network was killed";
            let signal = signal.map_or_else(String::new, |signal| format!("by signal {signal}"));
            Err(Error::new(Kind::Unreachable, what)
                .because(signal)
                .because("it exceeded its memory limit, or someone killed it"))
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

/// Lines from the terminal, if `wanted`. The thread that reads them ends with the process.
fn typed_lines(wanted: bool) -> mpsc::Receiver<String> {
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
