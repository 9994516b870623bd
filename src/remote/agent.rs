//! The container's side: the first process there. It starts the command, carries what that writes
//! to the host, and its connections to Docker.

use std::{io, os::fd::AsFd, os::unix::process::ExitStatusExt, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{
        AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, Lines, ReadHalf,
        WriteHalf,
    },
    net::{UnixListener, UnixStream, unix::pipe},
    process::{Child, ChildStdin, Command},
};

use super::{
    INSIDE,
    handover::RESULTS,
    link,
    link::{Opener, Stream},
    wire::{Channel, Order, ToAgent, ToHost},
};
use diagnostics::{Error, Kind, Result};
use proof::checks::StoredResults;

/// Where the command finds Docker: no other container sees this one's files.
const SOCKET: &str = "/run/docker.sock";
/// How long the host may take to hang up once it knows all.
const PARTING: Duration = Duration::from_secs(5);

/// Serves one command, until it has ended or the host is gone.
///
/// # Errors
/// Nobody is at the other end of stdin and stdout, or talks otherwise.
pub(crate) async fn run() -> Result<()> {
    let failed = |e: io::Error| {
        Error::new(Kind::Unreachable, "the connection to the host is broken").because(e.to_string())
    };
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let reader = stdin.and_then(pipe::Receiver::from_owned_fd);
    let writer = stdout.and_then(pipe::Sender::from_owned_fd);
    let (reader, writer) = (reader.map_err(failed)?, writer.map_err(failed)?);
    let (opener, driver) = link::opening(tokio::io::join(reader, writer));
    serve(opener).await.map_err(failed)?;
    // What was said last has to arrive.
    drop(tokio::time::timeout(PARTING, driver).await);
    Ok(())
}

async fn serve(opener: Opener) -> io::Result<()> {
    let (reader, mut control) = tokio::io::split(opener.open(Channel::Control).await?);
    let mut said = BufReader::new(reader).lines();
    let Some(ToAgent::Run(order)) = next(&mut said).await? else {
        return Err(io::Error::other("the host did not say what to run"));
    };
    let last = match start(*order, &opener).await {
        Ok(command) => match command.see_through(&mut said, &mut control).await? {
            Some(ended) => ended,
            // The host is gone: nobody wants to know.
            None => return Ok(()),
        },
        Err(e) => ToHost::Failed(e.to_string()),
    };
    tell(&mut control, &last).await?;
    control.shutdown().await?;
    // The host hangs up when it has read everything.
    drop(
        tokio::time::timeout(PARTING, async {
            while let Ok(Some(_)) = said.next_line().await {}
        })
        .await,
    );
    Ok(())
}

/// The next thing that the host says; None once it has hung up.
async fn next(said: &mut Lines<BufReader<ReadHalf<Stream>>>) -> io::Result<Option<ToAgent>> {
    let Some(line) = said.next_line().await? else {
        return Ok(None);
    };
    serde_json::from_str(&line)
        .map(Some)
        .map_err(io::Error::other)
}

async fn tell(control: &mut WriteHalf<Stream>, what: &ToHost) -> io::Result<()> {
    let mut line = serde_json::to_vec(what).map_err(io::Error::other)?;
    line.push(b'\n');
    control.write_all(&line).await?;
    control.flush().await
}

/// The command, under way.
struct Running {
    child: Child,
    stdin: ChildStdin,
    out: tokio::task::JoinHandle<()>,
    err: tokio::task::JoinHandle<()>,
    results: UnixListener,
}

async fn start(order: Order, opener: &Opener) -> io::Result<Running> {
    let listener = UnixListener::bind(SOCKET)?;
    let results = UnixListener::bind(RESULTS)?;
    tokio::spawn(carry_engine(listener, opener.clone()));
    let (out, err) = (
        opener.open(Channel::Out).await?,
        opener.open(Channel::Err).await?,
    );
    let mut child = Command::new(std::env::current_exe()?)
        .args(&order.arguments)
        .env_clear()
        .envs(&order.environment)
        .env(INSIDE, format!("unix://{SOCKET}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("a process without pipes"));
    };
    let out = tokio::spawn(carry(stdout, out));
    let err = tokio::spawn(carry(stderr, err));
    let mut handover = serde_json::to_vec(&order.handover).map_err(io::Error::other)?;
    handover.push(b'\n');
    stdin.write_all(&handover).await?;
    Ok(Running {
        child,
        stdin,
        out,
        err,
        results,
    })
}

impl Running {
    /// Until it has ended and all that it wrote was sent; None: the host is gone, and so is the
    /// command then.
    async fn see_through(
        mut self,
        said: &mut Lines<BufReader<ReadHalf<Stream>>>,
        control: &mut WriteHalf<Stream>,
    ) -> io::Result<Option<ToHost>> {
        let status = loop {
            tokio::select! {
                // Results that were handed over before the command ended come first.
                biased;
                Ok((handed, _)) = self.results.accept() => {
                    if let Some(results) = results(handed).await {
                        tell(control, &ToHost::Results(results)).await?;
                    }
                }
                status = self.child.wait() => break status?,
                message = next(said) => match message {
                    // It may have ended, or not be asking any more: then the line is for nobody.
                    Ok(Some(ToAgent::Input(line))) => drop(self.stdin.write_all(line.as_bytes()).await),
                    Ok(Some(ToAgent::Interrupt)) => self.interrupt(),
                    Ok(Some(ToAgent::Run(_))) => {}
                    Ok(None) | Err(_) => return Ok(None),
                }
            }
        };
        for task in [self.out, self.err] {
            drop(task.await);
        }
        Ok(Some(ToHost::Ended {
            code: status.code().and_then(|code| u8::try_from(code).ok()),
            signal: status.signal(),
        }))
    }

    fn interrupt(&self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            // It may have just ended.
            let _gone = kill_process(pid, Signal::INT);
        }
    }
}

/// What the command hands over; None: it broke off.
async fn results(mut handed: UnixStream) -> Option<StoredResults> {
    let mut text = Vec::new();
    handed.read_to_end(&mut text).await.ok()?;
    serde_json::from_slice(&text).ok()
}

/// Sends all that comes.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: Stream) {
    // A host that is gone ends the command here.
    drop(tokio::io::copy(&mut from, &mut to).await);
    drop(to.shutdown().await);
}

/// Gives each connection to Docker a stream of its own.
async fn carry_engine(listener: UnixListener, opener: Opener) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let opener = opener.clone();
        tokio::spawn(async move {
            if let Ok(mut stream) = opener.open(Channel::Engine).await {
                // Either side may hang up at any time.
                drop(tokio::io::copy_bidirectional(&mut socket, &mut stream).await);
            }
        });
    }
}
