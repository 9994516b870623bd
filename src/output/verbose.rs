//! `-v`: what is asked of others, as it is answered; `-vv`: what the Kafka library says of it, too.

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

/// sqlx's target for statements.
const STATEMENTS: &str = "sqlx::query";

/// From now on each answer is a line on stderr. `level`: how often `-v` was said.
pub(crate) fn listen(level: u8, console: &Arc<Console>) {
    let heard = [CALLS, STATEMENTS, LIBRDKAFKA];
    let heard = heard.into_iter().take(if level > 1 { 3 } else { 2 });
    let heard: Targets = heard.map(|target| (target, LevelFilter::DEBUG)).collect();
    let lines = Lines(Arc::clone(console)).with_filter(heard);
    // Nobody else in this process has one: roles, which do, take no `-v`.
    let _first = set_global_default(Registry::default().with(lines));
}

struct Lines(Arc<Console>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        let of = match event.metadata().target() {
            CALLS => told.of.as_str(),
            STATEMENTS => "postgres",
            other => other,
        };
        let line = told.line(of);
        self.0.alarm(&self.0.err(Paint::Faint, &line));
    }
}

/// What an event says.
#[derive(Debug, Default)]
struct Told {
    of: String,
    what: String,
    /// Milliseconds.
    took: Option<f64>,
    why: Option<String>,
}

impl Told {
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

impl Visit for Told {
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
            // A statement's beginning, of sqlx.
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
    fn an_answer_is_a_line_with_its_time_and_what_went_wrong() {
        let mut told = Told {
            what: "list containers".to_owned(),
            took: Some(1.25),
            ..Told::default()
        };
        assert_eq!(told.line("docker"), "    1.2 ms  docker    list containers");
        told.took = None;
        told.why = Some("gone".to_owned());
        assert_eq!(
            told.line("kafka"),
            "            kafka     list containers: gone"
        );
    }
}
