//! Builds: a rendered template, or any other context, with BuildKit (`buildkit`) where the engine has
//! it, else with its classic builder.

use std::{collections::HashMap, io};

use bollard::{
    body_try_stream,
    errors::Error as DockerError,
    models::BuildInfo,
    query_parameters::{BuildImageOptions, BuildImageOptionsBuilder},
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use super::{
    buildkit::{Secrets, Session},
    certificates,
    pack::append,
    progress::{LastLines, STALL, not_built, report_step, without_colours},
    template::Rendered,
};
use crate::{Engine, connect::timed_out, labels};
use diagnostics::{Error, Kind, Result};
use platform::Events;

impl Engine {
    /// Builds `reference` from a template and labels it with its content.
    ///
    /// # Errors
    /// A step fails: with the last lines of its output.
    pub(super) async fn build(
        &self,
        reference: &str,
        rendered: &Rendered,
        events: &Events,
    ) -> Result<()> {
        let context = context(rendered).map_err(|e| {
            Error::new(Kind::Defect, "cannot pack a build context").because(e.to_string())
        })?;
        let labels = HashMap::from([(labels::CONTENT, rendered.content.as_str())]);
        let options = BuildImageOptionsBuilder::new()
            .t(reference)
            .labels(&labels)
            .rm(true)
            .forcerm(true)
            .build();
        let context = stream::once(async { Ok(context) });
        let session = self.session(Secrets::new()).await?;
        self.run_build(reference, options, context, session, events)
            .await
    }

    /// Builds a context, a tar, and reports its steps; with BuildKit if there is a session.
    ///
    /// # Errors
    /// A step fails: with the last lines of its output.
    pub(super) async fn run_build(
        &self,
        reference: &str,
        options: BuildImageOptions,
        context: impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static,
        session: Option<Session>,
        events: &Events,
    ) -> Result<()> {
        if let Some(session) = session {
            let build = self.run_buildkit(reference, options, context, session, events);
            return build.await;
        }
        let context = body_try_stream(context.map_ok(Into::into));
        let steps = self.docker.build_image(options, None, Some(context));
        let mut steps = std::pin::pin!(steps);
        let what = format!("build {reference}");
        let mut log = Log::default();
        loop {
            let info = match tokio::time::timeout(STALL, steps.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(info)) => info,
                Err(_) => return Err(log.explain(timed_out(&what, STALL))),
            };
            let info = info.map_err(|e| log.explain(self.broken_off(reference, &e)))?;
            if let Some(error) = error_of(&info) {
                return Err(log.explain(not_built(reference, &error)));
            }
            if let Some(step) = log.add(&info.stream.unwrap_or_default()) {
                report_step(reference, &format!("step {step}"), events);
            }
        }
    }

    /// A failed step is an error of the build, not of the engine.
    fn broken_off(&self, reference: &str, e: &DockerError) -> Error {
        match e {
            DockerError::DockerStreamError { error } => not_built(reference, error),
            e => self.refused(&format!("build {reference}"), e),
        }
    }
}

fn error_of(info: &BuildInfo) -> Option<String> {
    info.error_detail.as_ref()?.message.clone()
}

/// The step under way and the last lines of its output.
#[derive(Debug, Default)]
struct Log {
    step: String,
    lines: LastLines,
}

impl Log {
    /// Adds output; returns `3/7` if that step begins in it.
    fn add(&mut self, text: &str) -> Option<String> {
        let mut begun = None;
        for line in text.lines() {
            let line = without_colours(line);
            // The builder's own lines between steps are not useful.
            if line.starts_with(" ---> ") || line.starts_with("Removing inter") {
                continue;
            }
            match line.strip_prefix("Step ").and_then(|l| l.split_once(" : ")) {
                Some((number, _)) => {
                    begun = Some(number.to_owned());
                    line.trim().clone_into(&mut self.step);
                    self.lines = LastLines::default();
                }
                None => self.lines.add(&line),
            }
        }
        begun
    }

    /// Adds the current step and its last lines to an error.
    fn explain(&self, error: Error) -> Error {
        let step = (!self.step.is_empty()).then(|| self.step.clone());
        step.into_iter()
            .chain(self.lines.0.iter().cloned())
            .fold(error, Error::because)
    }
}

/// The build context as a tar; from packages with the host's certificates in `ca/`.
fn context(rendered: &Rendered) -> io::Result<Vec<u8>> {
    let mut context = tar::Builder::new(Vec::new());
    for (name, text) in &rendered.files {
        append(&mut context, name, 0o644, text.as_bytes())?;
    }
    if rendered.from_packages {
        // The folder is created even if the host has no bundle.
        let bundle = certificates::bundle().unwrap_or_default();
        append(&mut context, "ca/.keep", 0o644, b"")?;
        for (number, certificate) in certificates::split(&bundle).enumerate() {
            append(
                &mut context,
                &format!("ca/{number:03}.crt"),
                0o644,
                certificate.as_bytes(),
            )?;
        }
    }
    context.into_inner()
}

#[cfg(test)]
mod tests {
    use super::{super::progress, *};

    #[test]
    fn an_error_shows_the_failing_steps_last_lines() {
        let mut log = Log::default();
        assert_eq!(log.add("Step 1/2 : FROM base\n").as_deref(), Some("1/2"));
        assert_eq!(log.add(" ---> abc\n"), None);
        assert_eq!(log.add("Step 2/2 : RUN false\n").as_deref(), Some("2/2"));
        log.add(" ---> Running in abc\n");
        for n in 0..20 {
            log.add(&format!("\u{1b}[91mline {n}\u{1b}[0m\n"));
        }
        let error = log.explain(Error::new(Kind::NotRight, "no"));
        assert_eq!(error.evidence[0], "Step 2/2 : RUN false");
        assert_eq!(error.evidence[1], "line 5");
        assert_eq!(error.evidence.len(), 1 + progress::LAST_LINES);
    }
}
