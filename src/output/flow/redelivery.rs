//! The result of sending every event again.

use declaration::Noun;
use diagnostics::Result;

use super::super::{Console, Paint, listing};
use proof::flow::{Change, Redelivery, Renamed};

/// For a person; masked.
pub(super) fn text(console: &Console, noun: &Noun, outcome: &Result<Redelivery>) -> String {
    let (bad, good) = (console.out(Paint::Bad, "✗"), console.out(Paint::Good, "✓"));
    let redelivery = match outcome {
        Ok(redelivery) => redelivery,
        Err(why) => return format!("{bad} not sent again: {}", console.masked(&why.to_string())),
    };
    let mut text = format!("sent again: {}", counts(&redelivery.sent));
    match &redelivery.renamed {
        Renamed::Sent(events) => {
            let events = listing::count(*events, "first event");
            text.push_str(&format!("; with new ids: {events}"));
        }
        Renamed::Skipped(why) => text.push_str(&format!("\nnot sent with new ids: {why}")),
    }
    if let Some(pending) = &redelivery.pending {
        let pending = console.masked(pending);
        text.push_str(&format!("\n{bad} not consumed in time: {pending}"));
    }
    if redelivery.changes == 0 {
        let rows = counts(&redelivery.compared);
        text.push_str(&format!("\n{good} no row changed: {rows}"));
        return text;
    }
    text.push_str(&format!("\n{bad} rows changed: {}", redelivery.changes));
    for change in &redelivery.named {
        text.push_str(&changed(console, noun, change));
    }
    let more = redelivery.changes - redelivery.named.len();
    if more > 0 {
        text.push_str(&format!("\n    and {more} more"));
    }
    text
}

fn changed(console: &Console, noun: &Noun, change: &Change) -> String {
    let mut text = format!(
        "\n    {} {}: {}: {}, then {}",
        noun.one(),
        change.correlation_id,
        change.table,
        listing::count(change.before, "row"),
        change.after
    );
    if let Some((gone, come)) = &change.rows {
        for (sign, rows) in [("-", gone), ("+", come)] {
            for row in rows {
                text.push_str(&format!("\n      {sign} {}", console.masked(row)));
            }
        }
    }
    text
}

fn counts(counts: &[(String, usize)]) -> String {
    let each = counts.iter().map(|(name, count)| format!("{name} {count}"));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use diagnostics::{Error, Kind};

    fn named(name: &str, count: usize) -> (String, usize) {
        (name.to_owned(), count)
    }

    fn sent_again() -> Redelivery {
        Redelivery {
            sent: vec![named("paid", 2), named("bought", 2)],
            renamed: Renamed::Sent(2),
            compared: vec![named("purchases", 2), named("lessons", 14)],
            changes: 0,
            named: Vec::new(),
            pending: None,
        }
    }

    #[test]
    fn events_that_came_again_read_well() {
        let (console, noun) = (Console::plain(), Noun::default());
        let good = text(&console, &noun, &Ok(sent_again()));
        let change = Change {
            correlation_id: "p-1".to_owned(),
            table: "lessons".to_owned(),
            before: 7,
            after: 8,
            rows: Some((vec![], vec![r#"{"seq":8}"#.to_owned()])),
        };
        let bad = Redelivery {
            renamed: Renamed::Skipped("x-caravan.flow.event.id is not declared".to_owned()),
            changes: 3,
            named: vec![change],
            pending: Some("lesson-worker has not consumed 1 of its events on paid".to_owned()),
            ..sent_again()
        };
        assert!(sent_again().is_right() && !bad.is_right());
        let bad = text(&console, &noun, &Ok(bad));
        let unreachable = Error::new(Kind::Unreachable, "no broker answers");
        let not = text(&console, &noun, &Err(unreachable));
        insta::assert_snapshot!(format!("{good}\n\n{bad}\n\n{not}"));
    }
}
