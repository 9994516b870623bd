//! `-v`: a line for each call to Docker, Kafka and the stores once it returns; `-vv`: also the log of
//! librdkafka.

use std::{
    fmt::{Debug, Write},
    sync::Arc,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::set_global_default,
};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::{Context, SubscriberExt},
};

use super::{Console, Paint};
use diagnostics::CALLS;

use kafka::LIBRDKAFKA;

/// sqlx's tracing target for statements.
const STATEMENTS: &str = "sqlx::query";

/// Writes a line to stderr for each event from now on. `level`: how often `-v` was given.
pub(crate) fn listen(level: u8, console: &Arc<Console>) {
    let targets = [CALLS, STATEMENTS, LIBRDKAFKA];
    let targets = targets.into_iter().take(if level > 1 { 3 } else { 2 });
    let targets: Targets = targets.map(|target| (target, LevelFilter::DEBUG)).collect();
    let lines = Lines(Arc::clone(console)).with_filter(targets);
    // The first subscriber of the process: only roles install another one, and for them `-v` has no effect.
    let _first = set_global_default(Registry::default().with(lines));
}

struct Lines(Arc<Console>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let of = match event.metadata().target() {
            CALLS => fields.of.as_str(),
            STATEMENTS => "postgres",
            other => other,
        };
        let line = fields.line(of);
        self.0.alarm(&self.0.err(Paint::Faint, &line));
    }
}

/// The fields of an event.
#[derive(Debug, Default)]
struct Fields {
    of: String,
    what: String,
    /// Milliseconds.
    took: Option<f64>,
    why: Option<String>,
}

impl Fields {
    fn line(&self, of: &str) -> String {
        let took = self.took.map(|took| format!("{took:.1} ms"));
        let took = took.unwrap_or_default();
        let mut line = format!("{took:>10}  {of:<9} {}", self.what);
        if let Some(why) = &self.why {
            let _never_fails = write!(line, ": {why}");
        }
        line
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match field.name() {
            "took" => self.took = Some(value),
            "elapsed_secs" => self.took = Some(value * 1e3),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "of" => value.clone_into(&mut self.of),
            "what" | "message" => value.clone_into(&mut self.what),
            // sqlx: the beginning of the statement.
            "summary" => self.what = value.split_whitespace().collect::<Vec<_>>().join(" "),
            "why" => self.why = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_line_with_its_duration_and_error() {
        let mut fields = Fields {
            what: "list containers".to_owned(),
            took: Some(1.25),
            ..Fields::default()
        };
        assert_eq!(
            fields.line("docker"),
            "    1.2 ms  docker    list containers"
        );
        fields.took = None;
        fields.why = Some("gone".to_owned());
        assert_eq!(
            fields.line("kafka"),
            "            kafka     list containers: gone"
        );
    }
}
