//! The container's side: its first process. Starts the command, and relays its output and its connections to
//! Docker to the host.

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

/// Docker's socket for the command, in the container's own file system.
const SOCKET: &str = "/run/docker.sock";
/// Timeout of the host's end of the connection after the last message.
const LAST_MESSAGE: Duration = Duration::from_secs(5);

/// Serves one command until it ends or the host closes the connection.
///
/// # Errors
/// The connection on stdin and stdout is broken, or its messages are invalid.
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
    // The last message must arrive.
    drop(tokio::time::timeout(LAST_MESSAGE, driver).await);
    Ok(())
}

async fn serve(opener: Opener) -> io::Result<()> {
    let (reader, mut control) = tokio::io::split(opener.open(Channel::Control).await?);
    let mut messages = BufReader::new(reader).lines();
    let Some(ToAgent::Run(order)) = next(&mut messages).await? else {
        return Err(io::Error::other("the host did not say what to run"));
    };
    let last = match start(*order, &opener).await {
        Ok(command) => match command.serve(&mut messages, &mut control).await? {
            Some(ended) => ended,
            // The host closed the connection: nobody receives the result.
            None => return Ok(()),
        },
        Err(e) => ToHost::Failed(e.to_string()),
    };
    send(&mut control, &last).await?;
    control.shutdown().await?;
    // The host closes the connection when it has read everything.
    drop(
        tokio::time::timeout(LAST_MESSAGE, async {
            while let Ok(Some(_)) = messages.next_line().await {}
        })
        .await,
    );
    Ok(())
}

/// The host's next message; None: it closed the connection.
async fn next(messages: &mut Lines<BufReader<ReadHalf<Stream>>>) -> io::Result<Option<ToAgent>> {
    let Some(line) = messages.next_line().await? else {
        return Ok(None);
    };
    serde_json::from_str(&line)
        .map(Some)
        .map_err(io::Error::other)
}

async fn send(control: &mut WriteHalf<Stream>, what: &ToHost) -> io::Result<()> {
    let mut line = serde_json::to_vec(what).map_err(io::Error::other)?;
    line.push(b'\n');
    control.write_all(&line).await?;
    control.flush().await
}

/// The running command.
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
    tokio::spawn(relay_engine(listener, opener.clone()));
    let (out, err) = (
        opener.open(Channel::Out).await?,
        opener.open(Channel::Err).await?,
    );
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(&order.arguments)
        .env_clear()
        .envs(&order.environment)
        .env(INSIDE, format!("unix://{SOCKET}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // Progress is erased on stderr before the result is written to stdout: on one terminal, both go through one
    // pipe, which keeps their order.
    let shared = match order.handover.terminal.is_shared() {
        true => {
            let (reader, writer) = io::pipe()?;
            command.stdout(writer.try_clone()?).stderr(writer);
            Some(pipe::Receiver::from_owned_fd(reader.into())?)
        }
        false => None,
    };
    let mut child = command.spawn()?;
    // Its ends of the pipe: the reader would wait for them.
    drop(command);
    let no_pipe = || io::Error::other("a process without pipes");
    let mut stdin = child.stdin.take().ok_or_else(no_pipe)?;
    let (out, err) = match shared {
        Some(both) => (
            tokio::spawn(relay(both, out)),
            tokio::spawn(relay(tokio::io::empty(), err)),
        ),
        None => (
            tokio::spawn(relay(child.stdout.take().ok_or_else(no_pipe)?, out)),
            tokio::spawn(relay(child.stderr.take().ok_or_else(no_pipe)?, err)),
        ),
    };
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
    /// Serves the command until it has ended and all its output was sent. None: the host closed the
    /// connection, and the command is killed.
    async fn serve(
        mut self,
        messages: &mut Lines<BufReader<ReadHalf<Stream>>>,
        control: &mut WriteHalf<Stream>,
    ) -> io::Result<Option<ToHost>> {
        let status = loop {
            tokio::select! {
                // Results that were handed over before the command ended come first.
                biased;
                Ok((handed, _)) = self.results.accept() => {
                    if let Some(results) = results(handed).await {
                        send(control, &ToHost::Results(results)).await?;
                    }
                }
                status = self.child.wait() => break status?,
                message = next(messages) => match message {
                    // The command may have ended, or its question: then the line is dropped.
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
            // The process may have just ended.
            let _gone = kill_process(pid, Signal::INT);
        }
    }
}

/// Reads the results that the command hands over; None: its connection broke.
async fn results(mut connection: UnixStream) -> Option<StoredResults> {
    let mut text = Vec::new();
    connection.read_to_end(&mut text).await.ok()?;
    serde_json::from_slice(&text).ok()
}

/// Relays a stream of output.
async fn relay(mut from: impl AsyncRead + Unpin, mut to: Stream) {
    // If the host closed the connection, the command's next write fails.
    drop(tokio::io::copy(&mut from, &mut to).await);
    drop(to.shutdown().await);
}

/// Relays each connection to Docker in a stream of its own.
async fn relay_engine(listener: UnixListener, opener: Opener) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let opener = opener.clone();
        tokio::spawn(async move {
            if let Ok(mut stream) = opener.open(Channel::Engine).await {
                // Either side may close the connection at any time.
                drop(tokio::io::copy_bidirectional(&mut socket, &mut stream).await);
            }
        });
    }
}
