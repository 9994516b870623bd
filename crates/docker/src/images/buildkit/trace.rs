//! BuildKit's progress (`moby.buildkit.v1.StatusResponse`): concurrent steps, each with its own output.

use prost::Message;

use super::{
    super::progress::LastLines,
    proto::{StatusResponse, Vertex, VertexLog},
};
use diagnostics::Error;

/// How many bytes of the end of a step's output are kept.
const KEPT: usize = 16 << 10;

/// All steps so far.
#[derive(Debug, Default)]
pub(super) struct Trace(Vec<Step>);

/// A vertex of the graph that BuildKit solves.
#[derive(Debug, Default)]
struct Step {
    digest: String,
    /// `[stage-0 2/3] RUN make`
    name: String,
    begun: bool,
    error: String,
    output: Vec<u8>,
}

impl Trace {
    /// Adds a message; returns the steps that begin in it. A message that cannot be decoded is ignored.
    pub(super) fn add(&mut self, message: &[u8]) -> Vec<String> {
        let status = StatusResponse::decode(message).unwrap_or_default();
        let begun = status.vertexes.into_iter().filter_map(|v| self.vertex(v));
        let begun = begun.collect();
        for VertexLog { vertex, msg } in status.logs {
            let output = &mut self.step(&vertex).output;
            output.extend_from_slice(&msg);
            let surplus = output.len().saturating_sub(KEPT);
            output.drain(..surplus);
        }
        begun
    }

    fn vertex(&mut self, vertex: Vertex) -> Option<String> {
        let step = self.step(&vertex.digest);
        let begun = vertex.started.is_some();
        let begins = begun && !step.begun && !vertex.cached;
        step.begun |= begun;
        step.name = vertex.name;
        step.error = vertex.error;
        begins.then(|| step.short()).flatten()
    }

    fn step(&mut self, digest: &str) -> &mut Step {
        let known = self.0.iter().position(|step| step.digest == digest);
        let index = known.unwrap_or_else(|| {
            self.0.push(Step {
                digest: digest.to_owned(),
                ..Step::default()
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    /// Adds the failed step, else the current one, and its last lines to an error.
    pub(super) fn explain(&self, error: Error) -> Error {
        // The other steps were cancelled because of the failed one.
        let failed =
            |step: &&Step| !step.error.is_empty() && !step.error.contains("context canceled");
        let under_way = || {
            self.0
                .iter()
                .rfind(|step| step.begun && step.is_the_dockerfiles())
        };
        let Some(step) = self.0.iter().find(failed).or_else(under_way) else {
            return error;
        };
        let mut lines = LastLines::default();
        lines.add(&String::from_utf8_lossy(&step.output));
        let name = step.is_the_dockerfiles().then(|| step.name.clone());
        name.into_iter().chain(lines.0).fold(error, Error::because)
    }
}

impl Step {
    /// Whether the step is a line of the Dockerfile.
    fn is_the_dockerfiles(&self) -> bool {
        self.name.starts_with('[') && !self.name.starts_with("[internal]")
    }

    /// `step 2/3`, or `step build 2/3` for a named stage; None for internal steps.
    fn short(&self) -> Option<String> {
        if self.name.starts_with("exporting") {
            return Some("exporting".to_owned());
        }
        if !self.is_the_dockerfiles() {
            return None;
        }
        let (place, _) = self.name.strip_prefix('[')?.split_once(']')?;
        let nameless = place.strip_prefix("stage-").and_then(|p| p.split_once(' '));
        let place = nameless.map_or(place, |(_, number)| number);
        Some(format!("step {place}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::proto::Time, *};
    use diagnostics::Kind;

    fn of(vertexes: &[Vertex]) -> Vec<u8> {
        let vertexes = vertexes.to_vec();
        let logs = Vec::new();
        StatusResponse { vertexes, logs }.encode_to_vec()
    }

    /// A step that has begun.
    fn begun(digest: &str, name: &str) -> Vertex {
        Vertex {
            digest: digest.to_owned(),
            name: name.to_owned(),
            started: Some(Time {}),
            ..Vertex::default()
        }
    }

    fn log(digest: &str, text: &str) -> Vec<u8> {
        let log = VertexLog {
            vertex: digest.to_owned(),
            msg: text.as_bytes().to_vec(),
        };
        let (vertexes, logs) = (Vec::new(), vec![log]);
        StatusResponse { vertexes, logs }.encode_to_vec()
    }

    #[test]
    fn a_step_is_reported_once_it_begins_unless_it_is_cached() {
        let mut trace = Trace::default();
        let first = begun("a", "[stage-0 1/3] FROM x");
        let waiting = Vertex {
            started: None,
            ..first.clone()
        };
        assert!(trace.add(&of(&[waiting])).is_empty());
        let message = of(&[first]);
        assert_eq!(trace.add(&message), ["step 1/3"]);
        assert!(trace.add(&message).is_empty());
        let cached = Vertex {
            cached: true,
            ..begun("b", "[stage-0 2/3] RUN x")
        };
        assert!(trace.add(&of(&[cached])).is_empty());
        let named = begun("c", "[build 2/3] RUN x");
        let internal = begun("d", "[internal] load metadata");
        assert_eq!(trace.add(&of(&[named, internal])), ["step build 2/3"]);
        let exporting = begun("e", "exporting to image");
        assert_eq!(trace.add(&of(&[exporting])), ["exporting"]);
        assert!(trace.add(b"\xff\xff").is_empty());
    }

    #[test]
    fn the_failed_one_of_concurrent_steps_is_shown() {
        let mut trace = Trace::default();
        let failed = |digest: &str, name: &str, error: &str| {
            of(&[Vertex {
                error: error.to_owned(),
                ..begun(digest, name)
            }])
        };
        trace.add(&log("a", "compiling\n"));
        for n in 0..20 {
            trace.add(&log("b", &format!("\u{1b}[91mline {n}")));
            trace.add(&log("b", "\u{1b}[0m!\r\n"));
        }
        trace.add(&failed("a", "[a 2/2] RUN x", "context canceled"));
        trace.add(&failed("b", "[b 2/2] RUN y", "exit code: 3"));
        let error = trace.explain(Error::new(Kind::NotRight, "no"));
        assert_eq!(error.evidence[..2], ["[b 2/2] RUN y", "line 5!"]);
        assert_eq!(error.evidence.last().map(String::as_str), Some("line 19!"));
    }

    #[test]
    fn only_the_end_of_an_output_is_kept() {
        let mut trace = Trace::default();
        for _ in 0..100 {
            trace.add(&log("a", &"x".repeat(1000)));
        }
        assert_eq!(trace.step("a").output.len(), KEPT);
    }
}
