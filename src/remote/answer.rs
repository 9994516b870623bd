//! What `up` asks from inside the pipeline's network, where it cannot ask from the host: whether a
//! service answers its protocol, whether a one-shot left behind what it should, whether a group has
//! taken over what removed replicas held.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use platform::{Answer, Answers, Departed, Question};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe,
};

use declaration::Ready;
use diagnostics::{Cause, Error, Kind, Result};
use kafka::departed;
use proof::stores;

/// Between two protocol probes.
const INTERVAL: Duration = Duration::from_millis(75);
/// What one protocol probe may take.
const PROBE: Duration = Duration::from_secs(1);
/// For so long a refused password may be one that is about to be set: scripts of an image may make
/// users once it listens.
const REFUSED: Duration = Duration::from_secs(2);

/// Answers from where this process runs.
#[derive(Debug)]
pub(crate) struct FromHere;

impl Answers for FromHere {
    fn answer<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Answer> {
        ask(question).boxed()
    }
}

/// Asks, wherever this process is.
async fn ask(question: &Question) -> Answer {
    match question {
        Question::Ready { kind, address } => Ok(ready(*kind, address).await),
        // Whoever asks may be another process: the error goes there as its text.
        Question::Effect { pipeline, effect } => {
            let missing = stores::effect_missing(pipeline, *effect).await;
            missing.map_err(|why| why.to_string())
        }
        Question::Rebalanced {
            address,
            departed:
                Departed {
                    group,
                    hosts,
                    instances,
                },
            timeout,
        } => {
            let listed = departed::taken_over(address, group, hosts, instances, *timeout).await;
            listed.map_err(|why| why.to_string())
        }
    }
}

/// Waits until a part answers, or goes on to refuse the password: with its refusal.
async fn ready(kind: Ready, address: &str) -> Option<String> {
    let mut refused: Option<Instant> = None;
    loop {
        match stores::ready(kind, address, PROBE).await {
            Ok(()) => return None,
            Err(error) if error.cause() == Cause::Authentication => {
                if refused.get_or_insert_with(Instant::now).elapsed() >= REFUSED {
                    return Some(error.to_string());
                }
            }
            Err(_) => refused = None,
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Answers the question on stdin, a line of JSON each; ends without an answer when nobody waits
/// for it any more.
///
/// # Errors
/// There is none, or nobody to tell.
pub(crate) async fn run() -> Result<()> {
    let failed =
        |e: io::Error| Error::new(Kind::Unreachable, "nobody asks on stdin").because(e.to_string());
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let stdin = stdin
        .and_then(pipe::Receiver::from_owned_fd)
        .map_err(failed)?;
    let mut lines = BufReader::new(stdin).lines();
    let line = lines.next_line().await.map_err(failed)?.unwrap_or_default();
    let question = serde_json::from_str(&line).map_err(|e| failed(e.into()))?;
    tokio::select! {
        answer = ask(&question) => {
            let mut line = serde_json::to_vec(&answer).map_err(|e| failed(e.into()))?;
            line.push(b'\n');
            io::stdout().write_all(&line).map_err(failed)
        }
        _ = lines.next_line() => Ok(()),
    }
}
