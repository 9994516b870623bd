//! What BuildKit tells while it builds (`moby.buildkit.v1.StatusResponse`): steps that run side by
//! side, each with its own output.

use super::{
    super::build::LastLines,
    proto::{Fields, Value},
};
use crate::error::Error;

/// Of a step's output, bytes that are kept: its end.
const KEPT: usize = 16 << 10;

/// Everything told so far.
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
    /// Takes a message; says which steps begin with it.
    pub(super) fn add(&mut self, message: &[u8]) -> Vec<String> {
        let mut begun = Vec::new();
        for (number, value) in Fields(message) {
            match (number, value) {
                (1, Value::Bytes(vertex)) => begun.extend(self.vertex(vertex)),
                (3, Value::Bytes(log)) => self.log(log),
                // Progress within a step, warnings.
                _ => {}
            }
        }
        begun
    }

    /// `Vertex`: digest 1, name 3, cached 4, started 5, completed 6, error 7.
    fn vertex(&mut self, message: &[u8]) -> Option<String> {
        let (mut told, mut cached) = (Step::default(), false);
        for (number, value) in Fields(message) {
            match number {
                1 => told.digest = value.text(),
                3 => told.name = value.text(),
                4 => cached = value == Value::Number(1),
                5 => told.begun = true,
                7 => told.error = value.text(),
                _ => {}
            }
        }
        let step = self.step(&told.digest);
        let begins = told.begun && !step.begun && !cached;
        step.begun |= told.begun;
        step.name = told.name;
        step.error = told.error;
        begins.then(|| step.short()).flatten()
    }

    /// `VertexLog`: vertex 1, time 2, stream 3, message 4.
    fn log(&mut self, message: &[u8]) {
        let (mut digest, mut text) = (String::new(), &[][..]);
        for field in Fields(message) {
            match field {
                (1, value) => digest = value.text(),
                (4, Value::Bytes(bytes)) => text = bytes,
                _ => {}
            }
        }
        let output = &mut self.step(&digest).output;
        output.extend_from_slice(text);
        let surplus = output.len().saturating_sub(KEPT);
        output.drain(..surplus);
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

    /// Adds to an error the step that failed, else the one under way, and its last lines.
    pub(super) fn explain(&self, error: Error) -> Error {
        // The others end with the one that failed.
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
    /// Whether it is one of the Dockerfile's own lines.
    fn is_the_dockerfiles(&self) -> bool {
        self.name.starts_with('[') && !self.name.starts_with("[internal]")
    }

    /// `step 2/3`, of a stage that has a name `step build 2/3`; None of what tells nothing.
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
    use super::{super::proto::field, *};
    use crate::error::Kind;

    fn vertex(digest: &str, name: &str, more: &[u8]) -> Vec<u8> {
        let mut vertex = field(1, digest.as_bytes());
        vertex.extend(field(3, name.as_bytes()));
        vertex.extend(more);
        field(1, &vertex)
    }

    fn log(digest: &str, text: &str) -> Vec<u8> {
        let mut log = field(1, digest.as_bytes());
        log.extend(field(4, text.as_bytes()));
        field(3, &log)
    }

    #[test]
    fn a_step_is_told_once_it_begins_unless_it_is_cached() {
        let (mut trace, begun, cached) = (Trace::default(), field(5, b"now"), [4 << 3, 1]);
        assert!(
            trace
                .add(&vertex("a", "[stage-0 1/3] FROM x", &[]))
                .is_empty()
        );
        let message = vertex("a", "[stage-0 1/3] FROM x", &begun);
        assert_eq!(trace.add(&message), ["step 1/3"]);
        assert!(trace.add(&message).is_empty());
        let both = [&begun[..], &cached].concat();
        assert!(
            trace
                .add(&vertex("b", "[stage-0 2/3] RUN x", &both))
                .is_empty()
        );
        let named = vertex("c", "[build 2/3] RUN x", &begun);
        let internal = vertex("d", "[internal] load metadata", &begun);
        assert_eq!(trace.add(&[named, internal].concat()), ["step build 2/3"]);
        assert_eq!(
            trace.add(&vertex("e", "exporting to image", &begun)),
            ["exporting"]
        );
    }

    #[test]
    fn of_steps_side_by_side_the_one_that_failed_is_shown() {
        let (mut trace, begun) = (Trace::default(), field(5, b"now"));
        let end = |error: &str| [begun.clone(), field(7, error.as_bytes())].concat();
        trace.add(&log("a", "compiling\n"));
        for n in 0..20 {
            trace.add(&log("b", &format!("\u{1b}[91mline {n}")));
            trace.add(&log("b", "\u{1b}[0m!\r\n"));
        }
        trace.add(&vertex("a", "[a 2/2] RUN x", &end("context canceled")));
        trace.add(&vertex("b", "[b 2/2] RUN y", &end("exit code: 3")));
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
