//! What a payment's bad days did: events that came again, and one that nobody can read.

use serde_json::{Value, json};

use super::{Console, Paint, json::milliseconds, listing};
use proof::{
    dead_letters::DeadLetter,
    load::report::{Change, Poisoned, Redelivery, Renamed},
};

/// What became of a bad event.
pub(super) fn poisoned(console: &Console, poisoned: &Poisoned) -> String {
    let place = &poisoned.place;
    if poisoned.dead_letters.is_empty() {
        let mark = console.out(Paint::Bad, "✗");
        let took = listing::duration(poisoned.took);
        return format!("{mark} bad event {place}: no dead letter of it within {took}");
    }
    let lines = poisoned.dead_letters.iter().map(|dead_letter| {
        let wrong = poisoned
            .expected
            .as_ref()
            .filter(|expected| Some(*expected) != dead_letter.reason.as_ref())
            .map(|expected| console.masked(expected));
        let bad = wrong.is_some() || dead_letter.reason.is_none();
        let mark = match bad {
            true => console.out(Paint::Bad, "✗"),
            false => console.out(Paint::Good, "✓"),
        };
        let instead = wrong.map(|wrong| format!(", instead of {}", wrong.escape_debug()));
        format!(
            "{mark} bad event {place}: {}{} ({})",
            given_up(console, dead_letter),
            instead.unwrap_or_default(),
            listing::duration(poisoned.took)
        )
    });
    let mut text = lines.collect::<Vec<_>>().join("\n");
    match &poisoned.left {
        None => text.push_str("\n  its dead letter is marked as a test's: `verify` does not warn"),
        Some(why) => {
            let mark = console.out(Paint::Bad, "✗");
            text.push_str(&format!(
                "\n{mark} its dead letter waits as any other: {}",
                console.masked(why)
            ));
        }
    }
    text
}

/// `given up by purchase-worker: not-json: not a JSON object`
fn given_up(console: &Console, dead_letter: &DeadLetter) -> String {
    let mut text = format!(
        "given up by {}",
        dead_letter.group.as_deref().unwrap_or("somebody")
    );
    match &dead_letter.reason {
        Some(reason) => text.push_str(&format!(": {}", console.masked(reason).escape_debug())),
        None => text.push_str(", without a reason"),
    }
    if let Some(error) = &dead_letter.error {
        text.push_str(&format!(": {}", console.masked(error).escape_debug()));
    }
    text
}

/// What came of sending everything again.
pub(super) fn redelivery(console: &Console, outcome: &Result<Redelivery, String>) -> String {
    let (bad, good) = (console.out(Paint::Bad, "✗"), console.out(Paint::Good, "✓"));
    let redelivery = match outcome {
        Ok(redelivery) => redelivery,
        Err(why) => return format!("{bad} not sent again: {}", console.masked(why)),
    };
    let mut text = format!("sent again: {}", counts(&redelivery.sent));
    match &redelivery.renamed {
        Renamed::Sent(events) => {
            let events = listing::count(*events, "first event");
            text.push_str(&format!("; under new ids: {events}"));
        }
        Renamed::Skipped(why) => text.push_str(&format!("\nnot sent under new ids: {why}")),
    }
    if let Some(pending) = &redelivery.pending {
        let pending = console.masked(pending);
        text.push_str(&format!("\n{bad} not taken in time: {pending}"));
    }
    if redelivery.changes == 0 {
        let rows = counts(&redelivery.compared);
        text.push_str(&format!("\n{good} no row changed: {rows}"));
        return text;
    }
    text.push_str(&format!("\n{bad} rows changed: {}", redelivery.changes));
    for change in &redelivery.named {
        text.push_str(&changed(console, change));
    }
    let more = redelivery.changes - redelivery.named.len();
    if more > 0 {
        text.push_str(&format!("\n    and {more} more"));
    }
    text
}

fn changed(console: &Console, change: &Change) -> String {
    let mut text = format!(
        "\n    payment {}: {}: {}, then {}",
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

pub(super) fn poisoned_value(poisoned: &Poisoned) -> Value {
    let dead_letters = poisoned.dead_letters.iter().map(|dead_letter| {
        json!({
            "place": dead_letter.own.to_string(), "group": dead_letter.group, "reason": dead_letter.reason,
            "error": dead_letter.error,
        })
    });
    json!({
        "status": if poisoned.is_right() { "pass" } else { "fail" },
        "place": poisoned.place.to_string(),
        "expectedReason": poisoned.expected,
        "deadLetters": dead_letters.collect::<Vec<_>>(),
        "tookMs": milliseconds(poisoned.took),
        "dismissed": !poisoned.dead_letters.is_empty() && poisoned.left.is_none(),
        "left": poisoned.left,
    })
}

pub(super) fn redelivery_value(outcome: &Result<Redelivery, String>) -> Value {
    let redelivery = match outcome {
        Ok(redelivery) => redelivery,
        Err(why) => return json!({ "status": "fail", "why": why }),
    };
    let map = |counts: &[(String, usize)]| -> Value {
        let counts = counts
            .iter()
            .map(|(name, count)| (name.clone(), json!(count)));
        Value::Object(counts.collect())
    };
    let (renamed, skipped) = match &redelivery.renamed {
        Renamed::Sent(events) => (Some(events), None),
        Renamed::Skipped(why) => (None, Some(why)),
    };
    json!({
        "status": if redelivery.is_right() { "pass" } else { "fail" },
        "sent": map(&redelivery.sent),
        "underNewIds": renamed,
        "newIdsSkipped": skipped,
        "compared": map(&redelivery.compared),
        "changed": redelivery.changes,
        "first": redelivery.named.iter().map(|change| json!({
            "correlationId": change.correlation_id,
            "table": change.table,
            "before": change.before,
            "after": change.after,
            "gone": change.rows.as_ref().map(|(gone, _)| gone),
            "new": change.rows.as_ref().map(|(_, new)| new),
        })).collect::<Vec<_>>(),
        "pending": redelivery.pending,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proof::dead_letters::RecordId;

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
        let console = Console::plain();
        let good = redelivery(&console, &Ok(sent_again()));
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
            pending: Some("lesson-worker has yet to take 1 of its events on paid".to_owned()),
            ..sent_again()
        };
        assert!(sent_again().is_right() && !bad.is_right());
        let value = redelivery_value(&Ok(bad.clone()));
        assert_eq!(value["first"][0]["new"][0], r#"{"seq":8}"#);
        assert_eq!(value["sent"]["paid"], 2);
        let bad = redelivery(&console, &Ok(bad));
        let not = redelivery(&console, &Err("no broker answers".to_owned()));
        insta::assert_snapshot!(format!("{good}\n\n{bad}\n\n{not}"));
    }

    #[test]
    fn a_bad_event_reads_well() {
        let console = Console::plain();
        let dead_letter = DeadLetter {
            own: RecordId::new("dead", 0, 3),
            source: Some(RecordId::new("paid", 1, 7)),
            group: Some("lesson-worker".to_owned()),
            reason: Some("not-json".to_owned()),
            error: Some("not a JSON object".to_owned()),
            attempts: None,
            at: None,
        };
        let good = Poisoned {
            place: RecordId::new("paid", 1, 7),
            expected: None,
            dead_letters: vec![dead_letter],
            took: Duration::from_millis(35),
            left: None,
        };
        let other = Poisoned {
            expected: Some("too-old".to_owned()),
            left: Some("another run is at work".to_owned()),
            ..good.clone()
        };
        let none = Poisoned {
            dead_letters: Vec::new(),
            took: Duration::from_secs(30),
            ..good.clone()
        };
        assert_eq!(poisoned_value(&good)["dismissed"], true);
        assert_eq!(poisoned_value(&none)["status"], "fail");
        let texts = [good, other, none].map(|p| poisoned(&console, &p));
        insta::assert_snapshot!(texts.join("\n\n"));
    }
}
