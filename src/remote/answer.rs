//! Answers questions of `up`, on the host or in a container on the pipeline's network: whether a service
//! responds to its protocol, whether the effect of a one-shot exists, whether a group has taken over the
//! partitions of removed replicas.

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

/// Interval between two protocol probes.
const INTERVAL: Duration = Duration::from_millis(75);
/// Timeout of one protocol probe.
const PROBE: Duration = Duration::from_secs(1);
/// How long a password may be refused before that is final: scripts of an image may create users after the
/// server listens.
const REFUSED: Duration = Duration::from_secs(2);

/// Answers from the network of this process.
#[derive(Debug)]
pub(crate) struct LocalAnswers;

impl Answers for LocalAnswers {
    fn answer<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Answer> {
        ask(question).boxed()
    }
}

/// Answers a question from the network of this process.
async fn ask(question: &Question) -> Answer {
    match question {
        Question::Ready { kind, address } => Ok(ready(*kind, address).await),
        // The question may come from another process, so the error is sent as text.
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

/// Waits until a service responds (None), or has refused the password for [`REFUSED`] (its error).
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

/// Answers the question on stdin, a line of JSON, with a line of JSON on stdout. Ends without an answer when
/// stdin is closed.
///
/// # Errors
/// Stdin has no valid question, or stdout is closed.
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
