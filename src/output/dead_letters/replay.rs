use serde_json::{Value, json};

use super::text::masked_word;
use crate::output::{
    Console, Paint,
    control::line,
    listing::{self, Column},
};
use proof::dead_letters::{
    plan::{Plan, SkipReason, Skipped},
    replay::Outcome,
};

/// At most this many dead letters that failed again are listed.
const MAX_RETURNED: usize = 20;

/// What a replay is about to do, as a question without the question mark.
pub(crate) fn what(plan: &Plan) -> String {
    let dead_letters = listing::count(plan.send.len(), "dead letter");
    format!("Send {dead_letters} back to where they came from")
}

/// The plan of a replay, as text.
pub(crate) fn plan(console: &Console, plan: &Plan) -> String {
    let mut text = String::new();
    let kinds = plan.kinds();
    if !kinds.is_empty() {
        let rows = kinds
            .into_iter()
            .map(|((topic, groups, reason), dead_letters)| {
                vec![
                    topic.to_owned(),
                    line(&groups),
                    line(&console.masked(reason)),
                    dead_letters.to_string(),
                ]
            });
        let columns = [
            Column::name("TO TOPIC"),
            Column::name("FOR GROUP"),
            Column::text("REASON"),
            Column::number("LETTERS"),
        ];
        text = listing::table(console, &columns, rows.collect());
        text.push_str("\n\n");
    }
    let sends = match plan.send.len() {
        0 => "nothing to send".to_owned(),
        n => format!("to send: {}", listing::count(n, "dead letter")),
    };
    text.push_str(&sends);
    if !plan.settled.is_empty() {
        let found = listing::count(plan.settled.len(), "interrupted replay");
        text.push_str(&format!("\n{found} had been sent already"));
    }
    for (why, left) in &plan.skipped {
        text.push_str(&format!("\n{}", skipped(*why, left)));
    }
    text
}

fn skipped(why: SkipReason, left: &Skipped) -> String {
    let mut names: Vec<_> = left.named.iter().map(ToString::to_string).collect();
    if left.dead_letters > names.len() {
        names.push("…".to_owned());
    }
    format!(
        "left out: {} {} ({})",
        left.dead_letters,
        reason(why),
        names.join(", ")
    )
}

fn reason(why: SkipReason) -> &'static str {
    match why {
        SkipReason::Replayed => "replayed before, consumed by the group",
        SkipReason::InFlight => "replayed before, not yet consumed by the group",
        SkipReason::Dismissed => "caused by a test, not to be replayed",
        SkipReason::NoSource => "without headers that name the record it came from",
        SkipReason::Undeclared => "of an undeclared topic",
        SkipReason::NoPartition => "of a partition that does not exist",
        SkipReason::Unreadable => "not JSON, so they cannot succeed",
        SkipReason::FailedAgain => {
            "replayed before and failed again, and the group's containers are the same since then"
        }
    }
}

fn skip_reason_name(why: SkipReason) -> &'static str {
    match why {
        SkipReason::Replayed => "replayed",
        SkipReason::InFlight => "inFlight",
        SkipReason::Dismissed => "dismissed",
        SkipReason::NoSource => "noSource",
        SkipReason::Undeclared => "undeclaredTopic",
        SkipReason::NoPartition => "noPartition",
        SkipReason::Unreadable => "unreadable",
        SkipReason::FailedAgain => "failedAgain",
    }
}

/// The dead letters that a replay skips, by reason, as JSON.
pub(crate) fn skipped_value(plan: &Plan) -> Value {
    let left = plan.skipped.iter().map(|(why, left)| {
        let named: Vec<_> = left.named.iter().map(ToString::to_string).collect();
        json!({ "why": skip_reason_name(*why), "count": left.dead_letters, "examples": named })
    });
    left.collect()
}

/// The plan of a replay, as JSON.
pub(crate) fn plan_value(project: &str, plan: &Plan, dry_run: bool) -> Value {
    let kinds = plan.kinds().into_iter().map(|((topic, groups, reason), dead_letters)| {
        json!({ "topic": topic, "groups": groups, "reason": reason, "count": dead_letters })
    });
    json!({
        "project": project,
        "dryRun": dry_run,
        "planned": plan.send.len(),
        "plan": kinds.collect::<Vec<_>>(),
        "settled": plan.settled.len(),
        "leftOut": skipped_value(plan),
        "sent": 0,
        "succeeded": 0,
        "failedAgain": [],
    })
}

/// The outcome of a replay, as text.
pub(crate) fn outcome(console: &Console, outcome: &Outcome) -> String {
    let Outcome {
        planned,
        sent,
        passed,
        failed_again,
        gone,
    } = outcome;
    let dead_letters = listing::count(*planned, "dead letter");
    if failed_again.is_empty() {
        let mark = console.out(Paint::Good, "✓");
        let gone = match gone {
            0 => String::new(),
            n => format!("; {n} no longer existed, or another run sent them"),
        };
        return format!("{mark} sent {sent} of {dead_letters}: {passed} succeeded{gone}");
    }
    let mark = console.out(Paint::Bad, "✗");
    let mut text = format!(
        "{mark} sent {sent} of {dead_letters}: {passed} succeeded, {} failed again; \
         nothing more was sent",
        failed_again.len()
    );
    for back in failed_again.iter().take(MAX_RETURNED) {
        text.push_str(&format!(
            "\n    {} is {} now: {}: {}",
            back.was,
            back.dead_letter.id(),
            masked_word(console, back.dead_letter.reason.as_deref()),
            masked_word(console, back.dead_letter.error.as_deref()),
        ));
    }
    if failed_again.len() > MAX_RETURNED {
        text.push_str(&format!(
            "\n    and {} more",
            failed_again.len() - MAX_RETURNED
        ));
    }
    text
}

/// The outcome of a replay, as JSON.
pub(crate) fn outcome_value(project: &str, outcome: &Outcome, skipped: Value) -> Value {
    let failed_again = outcome.failed_again.iter().map(|back| {
        json!({
            "was": back.was.to_string(),
            "is": back.dead_letter.id().to_string(),
            "reason": back.dead_letter.reason,
            "error": back.dead_letter.error,
        })
    });
    json!({
        "project": project,
        "dryRun": false,
        "planned": outcome.planned,
        "leftOut": skipped,
        "sent": outcome.sent,
        "succeeded": outcome.passed,
        "gone": outcome.gone,
        "failedAgain": failed_again.collect::<Vec<_>>(),
    })
}
