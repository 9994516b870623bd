//! What one log line looks like. One event is one line: control characters, which may come from
//! a poisoned message, are escaped.

use std::fmt::{self, Write};

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// The target of the startup line, which carries the display name in JSON too.
pub(super) const STARTUP_TARGET: &str = "startup";

/// The field that the macros of `tracing` put the message into.
const MESSAGE: &str = "message";

/// `LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Human,
    Json,
}

/// Formats events as lines of the service with this display name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    pub(super) name: &'static str,
    pub(super) format: Format,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        match self.format {
            Format::Human => {
                let mut line = HumanLine::new(&mut out, self.name, level)?;
                event.record(&mut line);
                line.end()
            }
            Format::Json => {
                let mut line = JsonLine::default();
                event.record(&mut line);
                let startup = event.metadata().target() == STARTUP_TARGET;
                line.write(&mut out, self.name, level, startup)
            }
        }
    }
}

/// `[Name] LEVEL message key=value`, written while the event is visited: a payment makes some
/// twenty lines, so nothing is collected first. The macros of `tracing` put the message first.
struct HumanLine<'a, W> {
    out: &'a mut W,
    /// A value whose text decides whether it needs quotes.
    value: String,
    result: fmt::Result,
}

impl<'a, W: Write> HumanLine<'a, W> {
    fn new(out: &'a mut W, name: &str, level: Level) -> Result<Self, fmt::Error> {
        write!(out, "[{name}]")?;
        if level <= Level::WARN {
            write!(out, " {level}")?;
        }
        Ok(Self {
            out,
            value: String::new(),
            result: Ok(()),
        })
    }

    fn end(self) -> fmt::Result {
        self.result?;
        self.out.write_char('\n')
    }

    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.result = self.result.and_then(|()| self.try_write(field, value));
    }

    fn try_write(&mut self, field: &Field, value: fmt::Arguments<'_>) -> fmt::Result {
        self.value.clear();
        self.value.write_fmt(value)?;
        self.out.write_char(' ')?;
        if field.name() == MESSAGE {
            return escape_control(self.out, &self.value);
        }
        self.out.write_str(field.name())?;
        self.out.write_char('=')?;
        if is_plain(&self.value) {
            self.out.write_str(&self.value)
        } else {
            write!(self.out, "{}", Value::from(self.value.as_str()))
        }
    }
}

/// Numbers and flags come through `record_debug` as well: none of them needs quotes.
impl<W: Write> Visit for HumanLine<'_, W> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, format_args!("{value}"));
    }
}

/// The parts of one event, fields in the order in which they were written.
#[derive(Debug, Default)]
struct JsonLine {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl JsonLine {
    fn write(self, out: &mut impl Write, name: &str, level: Level, startup: bool) -> fmt::Result {
        let message = if startup {
            format!("[{name}] {}", self.message)
        } else {
            self.message
        };
        let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let mut object = Map::new();
        for (key, value) in self.fields {
            object.insert(key.to_owned(), value);
        }
        object.insert("timestamp".to_owned(), timestamp.into());
        object.insert("level".to_owned(), level.as_str().into());
        object.insert("service".to_owned(), name.into());
        object.insert("message".to_owned(), message.into());
        writeln!(out, "{}", Value::Object(object))
    }
}

impl Visit for JsonLine {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE {
            self.message = format!("{value:?}");
        } else {
            self.push(field, format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            value.clone_into(&mut self.message);
        } else {
            self.push(field, value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }
}

impl JsonLine {
    fn push(&mut self, field: &Field, value: Value) {
        self.fields.push((field.name(), value));
    }
}

/// Needs no quotes in `key=value`.
fn is_plain(text: &str) -> bool {
    let is_special = |c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '=';
    // Nearly all values are ids and numbers; bytes are looked at several at a time.
    let is_ascii = text
        .bytes()
        .all(|b| b.is_ascii_graphic() & (b != b'"') & (b != b'='));
    !text.is_empty() && (is_ascii || !text.chars().any(is_special))
}

fn escape_control(out: &mut impl Write, text: &str) -> fmt::Result {
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) || !text.chars().any(char::is_control) {
        return out.write_str(text);
    }
    for c in text.chars() {
        if c.is_control() {
            write!(out, "{}", c.escape_default())?;
        } else {
            out.write_char(c)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `log` puts on stdout.
    fn printed(format: Format, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let out = sink.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Lines {
                name: "PurchaseWorker",
                format,
            })
            .with_writer(move || out.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = sink.0.lock().expect("one thread").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn the_startup_line_is_exact() {
        let line = printed(Format::Human, crate::telemetry::started);
        assert_eq!(line, "[PurchaseWorker] Started\n");
        let line = printed(Format::Json, crate::telemetry::started);
        let json: Value = serde_json::from_str(&line).expect("one object");
        assert_eq!(json["message"], "[PurchaseWorker] Started");
    }

    #[test]
    fn fields_follow_in_their_order() {
        let line = printed(Format::Human, || {
            tracing::info!(
                eventType = "PURCHASE_CONFIRMED",
                correlationId = %uuid::Uuid::nil(),
                offset = 7_i64,
                "message received"
            );
        });
        assert_eq!(
            line,
            "[PurchaseWorker] message received eventType=PURCHASE_CONFIRMED \
             correlationId=00000000-0000-0000-0000-000000000000 offset=7\n"
        );
    }

    #[test]
    fn warnings_say_so_and_values_are_quoted_where_needed() {
        let line = printed(Format::Human, || {
            tracing::warn!(error = "two\nlines", empty = "", "bad\nmessage");
        });
        assert_eq!(
            line,
            "[PurchaseWorker] WARN bad\\nmessage error=\"two\\nlines\" empty=\"\"\n"
        );
    }

    #[test]
    fn json_lines_are_one_object_each() {
        let line = printed(Format::Json, || {
            tracing::error!(eventId = "e", level = "spoofed", "broken \"thing\"\n");
        });
        assert_eq!(line.lines().count(), 1);
        let json: Value = serde_json::from_str(&line).expect("one object");
        assert_eq!(json["level"], "ERROR");
        assert_eq!(json["service"], "PurchaseWorker");
        assert_eq!(json["message"], "broken \"thing\"\n");
        assert_eq!(json["eventId"], "e");
        assert!(json["timestamp"].as_str().expect("text").ends_with('Z'));
    }
}
