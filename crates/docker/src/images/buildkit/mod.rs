//! Builds with BuildKit, which is part of engines since 18.09 (docs/decisions/0033). `session` serves BuildKit's
//! requests to the client, `trace` reads its progress, `proto` has the messages of both; `syntax` handles a
//! Dockerfile's frontend.

mod proto;
mod session;
pub(super) mod syntax;
mod trace;

use std::io;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bollard::{
    errors::Error as DockerError,
    query_parameters::{BuildImageOptions, BuilderVersion},
};
use futures_util::Stream;
use reqwest::{Client, Response, StatusCode, header};
use serde::Deserialize;
use uuid::Uuid;

pub(super) use session::{Secrets, Session};

use super::progress::{STALL, not_built, report_step};
use crate::{
    Engine,
    connect::{CALL, timed_out},
};
use diagnostics::Result;
use platform::Events;

/// A line of the engine's response.
#[derive(Debug, Deserialize)]
struct Line {
    id: Option<String>,
    /// For a trace, its bytes in base64; for an image, its id.
    aux: Option<serde_json::Value>,
    error: Option<String>,
}

impl Engine {
    /// A session for one build; None: the engine has no BuildKit.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(super) async fn session(&self, secrets: Secrets) -> Result<Option<Session>> {
        let what = "begin a build";
        let (client, address) = self.http(what)?;
        let id = Uuid::new_v4().simple().to_string();
        let mut request = client
            .post(format!("{address}/session"))
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "h2c")
            .header("X-Docker-Expose-Session-Uuid", &id)
            .header("X-Docker-Expose-Session-Name", "caravan");
        for method in session::METHODS {
            request = request.header("X-Docker-Expose-Session-Grpc-Method", method);
        }
        let answer = match tokio::time::timeout(CALL, request.send()).await {
            Ok(answer) => answer.map_err(|e| self.lost(what, &innermost(&e)))?,
            Err(_) => return Err(timed_out(what, CALL)),
        };
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(None);
        }
        let connection = answer.upgrade().await;
        let connection = connection.map_err(|e| self.lost(what, &innermost(&e)))?;
        Ok(Some(Session::answer(id, connection, secrets)))
    }

    /// Builds a context, a tar, in a session, and reports the steps.
    ///
    /// # Errors
    /// A step fails: with the last lines of its output.
    pub(super) async fn run_buildkit(
        &self,
        reference: &str,
        mut options: BuildImageOptions,
        context: impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static,
        session: Session,
        events: &Events,
    ) -> Result<()> {
        let what = format!("build {reference}");
        let (client, address) = self.http(&what)?;
        options.version = BuilderVersion::BuilderBuildKit;
        let request = client
            .post(format!("{address}/build"))
            .query(&options)
            .query(&[("session", session.id.as_str())])
            .header(header::CONTENT_TYPE, "application/x-tar")
            .body(reqwest::Body::wrap_stream(context));
        let mut trace = trace::Trace::default();
        let answer = match tokio::time::timeout(STALL, request.send()).await {
            Ok(answer) => answer.map_err(|e| self.lost(&what, &innermost(&e)))?,
            Err(_) => return Err(timed_out(&what, STALL)),
        };
        let mut answer = self.accepted(&what, answer).await?;
        let mut rest = Vec::new();
        loop {
            let chunk = match tokio::time::timeout(STALL, answer.chunk()).await {
                Ok(Ok(None)) => return Ok(()),
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Err(e)) => return Err(trace.explain(self.lost(&what, &innermost(&e)))),
                Err(_) => return Err(trace.explain(timed_out(&what, STALL))),
            };
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = rest.drain(..=end).collect();
                // Other lines are ignored.
                let Ok(line) = serde_json::from_slice::<Line>(&line) else {
                    continue;
                };
                if let Some(error) = line.error {
                    return Err(trace.explain(not_built(reference, cause(&error))));
                }
                for step in line.trace().map(|m| trace.add(&m)).unwrap_or_default() {
                    report_step(reference, &step, events);
                }
            }
        }
    }

    /// An HTTP client for calls that bollard does not have, and the prefix of its URLs.
    fn http(&self, what: &str) -> Result<(Client, String)> {
        let builder = Client::builder().no_proxy();
        let (builder, address) = match self.endpoint.split_once("://") {
            Some(("unix", path)) => (builder.unix_socket(path), "docker"),
            Some((_, address)) => (builder, address.trim_end_matches('/')),
            None => (builder, self.endpoint.as_str()),
        };
        let client = builder
            .build()
            .map_err(|e| self.lost(what, &innermost(&e)))?;
        let (major, minor) = self.api;
        Ok((client, format!("http://{address}/v{major}.{minor}")))
    }

    /// The engine's response, or its error.
    async fn accepted(&self, what: &str, answer: Response) -> Result<Response> {
        #[derive(Deserialize)]
        struct Refused {
            message: String,
        }
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status_code = answer.status().as_u16();
        let text = answer.text().await.unwrap_or_default();
        let message = match serde_json::from_str::<Refused>(&text) {
            Ok(refused) => refused.message,
            Err(_) => text,
        };
        let refused = DockerError::DockerResponseServerError {
            status_code,
            message,
        };
        Err(self.refused(what, &refused))
    }
}

impl Line {
    /// The message of a trace.
    fn trace(&self) -> Option<Vec<u8>> {
        if self.id.as_deref() != Some("moby.buildkit.trace") {
            return None;
        }
        BASE64_STANDARD.decode(self.aux.as_ref()?.as_str()?).ok()
    }
}

/// The error without prefixes that only say that the build failed.
fn cause(error: &str) -> &str {
    const SAYS_NOTHING: [&str; 2] = ["failed to solve", "failed to create LLB definition"];
    let mut error = error;
    while let Some((first, rest)) = error.split_once(": ") {
        if !SAYS_NOTHING.iter().any(|begin| first.starts_with(begin)) {
            break;
        }
        error = rest;
    }
    error
}

fn innermost(e: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = e;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_shown_without_its_wrappers() {
        let error = "failed to solve with frontend dockerfile.v0: failed to create LLB definition: \
                     dockerfile parse error line 5: unknown instruction: ECHO";
        assert_eq!(
            cause(error),
            "dockerfile parse error line 5: unknown instruction: ECHO"
        );
        assert_eq!(cause("failed to solve: exit code: 3"), "exit code: 3");
        assert_eq!(cause("no active sessions"), "no active sessions");
    }

    #[test]
    fn only_a_trace_is_parsed_as_one() {
        let line = |text: &str| serde_json::from_str::<Line>(text).expect("a line").trace();
        assert_eq!(
            line(r#"{"id":"moby.buildkit.trace","aux":"Cm8="}"#),
            Some(vec![10, 111])
        );
        assert_eq!(
            line(r#"{"id":"moby.image.id","aux":{"ID":"sha256:1"}}"#),
            None
        );
        assert_eq!(line(r#"{"stream":"Successfully tagged a:1\n"}"#), None);
    }
}
