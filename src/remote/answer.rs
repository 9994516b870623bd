//! Answers questions of `up`, on the host or in a container on the pipeline's network: whether a service
//! responds to its protocol, whether the effect of a one-shot exists, whether a group has taken over the
//! partitions of removed replicas.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use platform::{Answer, Answers, Departed, Question, Refused, Unmet};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe,
};

use declaration::Ready;
use diagnostics::{Cause, Error, Kind, Result};
use kafka::departed;
use proof::stores::{self, StoreError};

/// Interval between two protocol probes.
const INTERVAL: Duration = Duration::from_millis(75);
/// Timeout of one protocol probe.
const PROBE: Duration = Duration::from_secs(1);
/// How long a service may refuse an address before that is final: scripts of an image may create users after
/// the server listens.
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
            let missing = missing.map(|missing| missing.map(Unmet::because));
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
            let listed = listed.map(|listed| listed.map(Unmet::because));
            listed.map_err(|why| why.to_string())
        }
    }
}

/// Waits until a service responds (None), or has refused the address for [`REFUSED`].
async fn ready(kind: Ready, address: &str) -> Option<Unmet> {
    let mut since: Option<(Refused, Instant)> = None;
    // Since when the service accepts connections and closes them without an answer.
    let mut closing: Option<Instant> = None;
    loop {
        let error = match stores::ready(kind, address, PROBE).await {
            Ok(()) => return None,
            Err(error) => error,
        };
        let refused = refusal(&error);
        since = match (refused, since) {
            (None, _) => None,
            (Some(now), Some((before, began))) if now == before => Some((now, began)),
            (Some(now), _) => Some((now, Instant::now())),
        };
        if since.is_some_and(|(_, began)| began.elapsed() >= REFUSED) {
            let why = error.to_string();
            return Some(Unmet { why, refused });
        }
        if refused.is_none() && closing.get_or_insert_with(Instant::now).elapsed() >= REFUSED {
            if stores::speaks_tls(address, PROBE).await {
                let why = format!("{error}; the server speaks TLS, the address does not");
                let refused = Some(Refused::Protocol);
                return Some(Unmet { why, refused });
            }
            closing = None;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// What a service refuses, if waiting does not change it.
fn refusal(error: &StoreError) -> Option<Refused> {
    match (error.cause(), error.code()) {
        (Cause::Authentication, _) => Some(Refused::Credentials),
        // invalid_catalog_name
        (Cause::Authorization, _) | (_, Some("3D000")) => Some(Refused::Database),
        (Cause::Protocol | Cause::Client, _) => Some(Refused::Protocol),
        (Cause::Timeout | Cause::Connection | Cause::NameResolution | Cause::Rejected, _) => None,
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

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    /// A Postgres that refuses each connection with an error of this SQLSTATE.
    async fn refusing(code: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let fields = format!("SFATAL\0VFATAL\0C{code}\0Mno entry\0\0");
        let length = u32::try_from(fields.len() + 4).expect("short");
        let answer = [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                drop(stream.write_all(&answer).await);
            }
        });
        format!("postgres://u:s3cret@{address}/db?sslmode=disable")
    }

    /// The answer, which has to come within a few seconds.
    async fn soon(kind: Ready, address: &str) -> Unmet {
        let answer = tokio::time::timeout(REFUSED * 4, ready(kind, address)).await;
        let unmet = answer.expect("final at once").expect("not ready");
        assert!(!unmet.why.contains("s3cret"), "{}", unmet.why);
        unmet
    }

    #[tokio::test]
    async fn what_waiting_does_not_change_is_final_at_once() {
        for (code, refused) in [
            ("28P01", Refused::Credentials),
            ("28000", Refused::Credentials),
            ("3D000", Refused::Database),
            ("42501", Refused::Database),
        ] {
            let unmet = soon(Ready::Postgres, &refusing(code).await).await;
            assert_eq!(unmet.refused, Some(refused), "{code}");
            assert!(unmet.why.ends_with(": no entry"), "{}", unmet.why);
        }
    }

    #[tokio::test]
    async fn a_server_that_starts_up_is_waited_for() {
        // cannot_connect_now
        let address = refusing("57P03").await;
        let waiting = tokio::time::timeout(REFUSED * 2, ready(Ready::Postgres, &address));
        waiting.await.expect_err("it may still become ready");
    }

    #[tokio::test]
    async fn an_address_with_tls_is_final_for_a_server_without() {
        let postgres = refusing("57P03").await.replace("disable", "require");
        for (kind, address) in [
            (Ready::Redis, "rediss://127.0.0.1:1/0"),
            (Ready::Postgres, postgres.as_str()),
        ] {
            let unmet = soon(kind, address).await;
            assert_eq!(unmet.refused, Some(Refused::Protocol), "{}", unmet.why);
        }
    }

    #[tokio::test]
    async fn a_server_with_tls_is_final_for_an_address_without() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut first = [0];
                // As OpenSSL: an alert for a hello that it does not accept, else the end.
                let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await;
                if read.is_ok() && first == [0x16] {
                    drop(stream.write_all(&[0x15, 3, 1, 0, 2, 2, 40]).await);
                }
            }
        });
        for (kind, address) in [
            (Ready::Redis, format!("redis://{address}/0")),
            (Ready::Kafka, address.to_string()),
        ] {
            let unmet = soon(kind, &address).await;
            assert_eq!(unmet.refused, Some(Refused::Protocol), "{}", unmet.why);
            assert!(unmet.why.contains("speaks TLS"), "{}", unmet.why);
        }
    }
}
