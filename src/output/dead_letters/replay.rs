use serde_json::{Value, json};

use super::text::{line, word};
use crate::output::{Console, Paint, listing};
use proof::dead_letters::{
    plan::{Left, LeftOut, Plan},
    replay::Outcome,
};

/// Letters that came back are named, so many at most.
const MAX_RETURNED: usize = 20;

/// What a replay is about to do, as a question without its mark.
pub(crate) fn what(plan: &Plan) -> String {
    let letters = listing::count(plan.send.len(), "dead letter");
    format!("Send {letters} back to where they came from")
}

/// A replay's plan, for a person.
pub(crate) fn plan(console: &Console, plan: &Plan) -> String {
    let mut text = String::new();
    let kinds = plan.kinds();
    if !kinds.is_empty() {
        let rows = kinds.into_iter().map(|((topic, groups, reason), letters)| {
            vec![
                topic.to_owned(),
                line(&groups),
                line(reason),
                letters.to_string(),
            ]
        });
        let header = ["TO TOPIC", "FOR GROUP", "REASON", "LETTERS"];
        text = listing::table(console, &header, rows.collect());
        text.push_str("\n\n");
    }
    let sends = match plan.send.len() {
        0 => "nothing to send".to_owned(),
        n => format!("to send: {}", listing::count(n, "dead letter")),
    };
    text.push_str(&sends);
    if !plan.settled.is_empty() {
        let found = listing::count(plan.settled.len(), "interrupted replay");
        text.push_str(&format!("\n{found} turned out to have been sent"));
    }
    for (why, left) in &plan.left_out {
        text.push_str(&format!("\n{}", left_out(*why, left)));
    }
    text
}

fn left_out(why: LeftOut, left: &Left) -> String {
    let mut names: Vec<_> = left.named.iter().map(ToString::to_string).collect();
    if left.letters > names.len() {
        names.push("…".to_owned());
    }
    format!(
        "left out: {} {} ({})",
        left.letters,
        reason(why),
        names.join(", ")
    )
}

fn reason(why: LeftOut) -> &'static str {
    match why {
        LeftOut::Replayed => "replayed before, passed by the group",
        LeftOut::InFlight => "replayed before, not yet passed by the group",
        LeftOut::Dismissed => "provoked by a test, and done with",
        LeftOut::NoSource => "without headers that say where the message stood",
        LeftOut::Undeclared => "of a topic that the declaration does not name",
        LeftOut::NoPartition => "of a partition that does not exist",
    }
}

fn left_out_name(why: LeftOut) -> &'static str {
    match why {
        LeftOut::Replayed => "replayed",
        LeftOut::InFlight => "inFlight",
        LeftOut::Dismissed => "dismissed",
        LeftOut::NoSource => "noSource",
        LeftOut::Undeclared => "undeclaredTopic",
        LeftOut::NoPartition => "noPartition",
    }
}

/// Why letters are left out, for a machine.
pub(crate) fn left_out_value(plan: &Plan) -> Value {
    let left = plan.left_out.iter().map(|(why, left)| {
        let named: Vec<_> = left.named.iter().map(ToString::to_string).collect();
        json!({ "why": left_out_name(*why), "letters": left.letters, "examples": named })
    });
    left.collect()
}

/// A replay's plan, for a machine.
pub(crate) fn plan_value(project: &str, plan: &Plan, dry_run: bool) -> Value {
    let kinds = plan.kinds().into_iter().map(|((topic, groups, reason), letters)| {
        json!({ "topic": topic, "groups": groups, "reason": reason, "letters": letters })
    });
    json!({
        "project": project,
        "dryRun": dry_run,
        "planned": plan.send.len(),
        "plan": kinds.collect::<Vec<_>>(),
        "settled": plan.settled.len(),
        "leftOut": left_out_value(plan),
        "sent": 0,
        "wentThrough": 0,
        "cameBack": [],
    })
}

/// How a replay ended, for a person.
pub(crate) fn outcome(console: &Console, outcome: &Outcome) -> String {
    let Outcome {
        planned,
        sent,
        passed,
        returned,
        gone,
    } = outcome;
    let letters = listing::count(*planned, "dead letter");
    if returned.is_empty() {
        let mark = console.out(Paint::Good, "✓");
        let gone = match gone {
            0 => String::new(),
            n => format!("; {n} were no longer there, or sent by another run"),
        };
        return format!("{mark} sent {sent} of {letters}: {passed} went through{gone}");
    }
    let mark = console.out(Paint::Bad, "✗");
    let mut text = format!(
        "{mark} sent {sent} of {letters}: {passed} went through, {} came straight back; \
         nothing more was sent",
        returned.len()
    );
    for back in returned.iter().take(MAX_RETURNED) {
        text.push_str(&format!(
            "\n    {} is {} now: {}: {}",
            back.was,
            back.letter.id(),
            word(back.letter.reason.as_deref()),
            word(back.letter.error.as_deref()),
        ));
    }
    if returned.len() > MAX_RETURNED {
        text.push_str(&format!("\n    and {} more", returned.len() - MAX_RETURNED));
    }
    text
}

/// How a replay ended, for a machine.
pub(crate) fn outcome_value(project: &str, outcome: &Outcome, left_out: Value) -> Value {
    let returned = outcome.returned.iter().map(|back| {
        json!({
            "was": back.was.to_string(),
            "is": back.letter.id().to_string(),
            "reason": back.letter.reason,
            "error": back.letter.error,
        })
    });
    json!({
        "project": project,
        "dryRun": false,
        "planned": outcome.planned,
        "leftOut": left_out,
        "sent": outcome.sent,
        "wentThrough": outcome.passed,
        "gone": outcome.gone,
        "cameBack": returned.collect::<Vec<_>>(),
    })
}
