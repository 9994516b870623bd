//! One message's hops, as `test-flow` shows them.

use declaration::Noun;
use serde_json::{Value, json};

use super::{
    super::{Console, Paint, json::milliseconds, listing},
    HopRow, completion, describe, hop_value, with_completion,
};
use proof::flow::one::Report;

/// For a person: a line for each hop, the first that is missing, how the run ended; masked.
pub(crate) fn text(console: &Console, noun: &Noun, report: &Report) -> String {
    let rows = report.hops.iter().map(|hop| {
        let row = HopRow::of(console, noun, hop);
        let after = row.after();
        vec![row.mark, after, row.place, row.what, row.detail]
    });
    let header = ["", "AFTER", "WHERE", "WHAT", "DETAIL"];
    let mut text = listing::table(console, &header, rows.collect());
    if let Some(missing) = &report.missing {
        let (place, what) = describe(&report.hops[missing.hop].step.place, noun);
        let mark = console.out(Paint::Bad, "✗");
        text.push_str(&format!("\n\n{mark} first missing: {place}: {what}"));
        for line in missing.why.iter().chain(&report.last_log_lines) {
            text.push_str(&format!("\n    {}", console.masked(line)));
        }
    }
    let seen = report.hops.iter().filter(|hop| hop.is_seen()).count();
    let summary = format!(
        "{} {}: {seen} of {} in {}",
        noun.one(),
        report.correlation_id,
        listing::count(report.hops.len(), "hop"),
        listing::duration(report.took)
    );
    text.push_str(&completion(console, noun, &report.completion, &summary));
    text
}

/// For a machine. `next`: the next command, if a hop is missing.
pub(crate) fn value(project: &str, report: &Report, next: Option<&str>) -> Value {
    let hops = report.hops.iter().map(|hop| {
        let mut value = hop_value(hop);
        // Only the first sighting is recorded.
        value["seen"] = value["seen"].get(0).cloned().unwrap_or_default();
        value
    });
    let document = json!({
        "project": project,
        "status": if report.is_right() { "pass" } else { "fail" },
        "count": 1,
        "direct": report.direct,
        "correlationId": report.correlation_id,
        "beganAt": report.began,
        "tookMs": milliseconds(report.took),
        "hops": hops.collect::<Vec<_>>(),
        "missing": report.missing.as_ref().map(|m| json!({
            "hop": m.hop, "service": m.service, "why": m.why, "next": next,
            "state": m.why.join("; "), "lastLogLines": report.last_log_lines,
        })),
    });
    with_completion(document, &report.completion)
}
