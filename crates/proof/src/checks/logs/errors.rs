//! How much of what a service wrote in the last minutes was about errors.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{WIDTH, level};
use crate::checks::{facts::Facts, finding::Outcome};
use declaration::Service;
use platform::LogLine;

/// So far back is looked, and not beyond the start.
pub(super) const SPAN: Duration = Duration::from_secs(300);
/// An outage is over when nothing of the kind came for so long: what tries again tries more often, and
/// what works again may have nothing to say.
const OVER: TimeDelta = TimeDelta::seconds(30);
/// The share (percent) from which on it is told of, where none is declared.
const LIMIT: f64 = 10.0;
/// Fewer are an exception; where no share at all is allowed one is enough.
const LEAST: usize = 3;
/// As many kinds of lines are kept apart, and shown.
const KINDS: usize = 50;
const SHOWN: usize = 5;

/// What one container wrote since [`SPAN`] ago.
#[derive(Debug, Default)]
pub(super) struct Recent {
    lines: usize,
    /// By what they have in common.
    errors: BTreeMap<String, Kind>,
}

/// Lines that differ in numbers alone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kind {
    times: usize,
    at: DateTime<Utc>,
    /// The last of them.
    text: String,
}

impl Recent {
    /// `allowed`: whatever its level, it is none of an error.
    pub(super) fn look(&mut self, line: &LogLine, now: DateTime<Utc>, allowed: bool) {
        let since = TimeDelta::from_std(SPAN).ok();
        if since.is_some_and(|span| now - line.at > span) {
            return;
        }
        self.lines += 1;
        if allowed || !level::is_error(&line.text) {
            return;
        }
        let mut kind = without_numbers(&line.text);
        if self.errors.len() >= KINDS && !self.errors.contains_key(&kind) {
            kind = String::new();
        }
        let text: String = line.text.chars().take(WIDTH).collect();
        let kind = self.errors.entry(kind).or_insert(Kind {
            times: 0,
            at: line.at,
            text: String::new(),
        });
        kind.times += 1;
        kind.at = line.at;
        kind.text = format!("{}: {text}", line.container);
    }
}

/// A line as many others may read: what holds a digit is another each time.
fn without_numbers(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let text: String = text.chars().take(WIDTH).collect();
    let mut kind = String::new();
    for word in text.split_inclusive(|c| !is_word(c)) {
        let bare = word.trim_end_matches(|c| !is_word(c));
        match bare.contains(|c: char| c.is_ascii_digit()) {
            true => kind.extend(['#'].into_iter().chain(word[bare.len()..].chars())),
            false => kind.push_str(word),
        }
    }
    kind
}

pub(super) async fn check(facts: &Facts<'_>, service: &Service) -> Outcome {
    let logs = facts.logs(service).await;
    if logs.is_empty() {
        return Outcome::fail("not deployed").hint(facts.remedy(&service.name).await);
    }
    let mut recent = Vec::new();
    for read in logs {
        match read {
            Err(e) => return Outcome::fail(format!("cannot be told: {e}")),
            Ok(read) => recent.push(&read.recent),
        }
    }
    let logs = facts.command(&format!("logs {} --since 5m", service.name));
    judge(&recent, facts.pipeline.error_logs, Utc::now()).hint(logs)
}

/// What a declaration says, for a table of checks.
pub(super) fn expected(limit: Option<f64>) -> String {
    match limit.unwrap_or(LIMIT) {
        0.0 => "no line at level error".to_owned(),
        limit => format!("at most {limit}% of lines at level error"),
    }
}

fn judge(recent: &[&Recent], limit: Option<f64>, now: DateTime<Utc>) -> Outcome {
    let limit = limit.unwrap_or(LIMIT);
    let lines: usize = recent.iter().map(|r| r.lines).sum();
    let mut kinds: Vec<&Kind> = recent.iter().flat_map(|r| r.errors.values()).collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.at));
    let errors: usize = kinds.iter().map(|kind| kind.times).sum();
    let Some(last) = kinds.first().map(|kind| kind.at) else {
        return Outcome::pass(format!("none of {lines} in 5 m"));
    };
    let ago = (now - last).num_seconds().max(0);
    let seen = format!("{errors} of {lines} in 5 m, the last {ago} s ago");
    let over = now - last > OVER;
    let least = if limit > 0.0 { LEAST } else { 1 };
    #[expect(clippy::cast_precision_loss, reason = "a share of some thousand lines")]
    let share = 100.0 * errors as f64 / lines as f64;
    if over || errors < least || share <= limit {
        return Outcome::pass(seen);
    }
    let shown = kinds.iter().take(SHOWN).map(|kind| match kind.times {
        1 => kind.text.clone(),
        n => format!("{n} times, the last: {}", kind.text),
    });
    Outcome::fail(seen).evidence(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::finding::Status;

    /// Lines so many seconds ago.
    fn wrote(lines: &[(i64, &str)]) -> (Recent, DateTime<Utc>) {
        let now = Utc::now();
        let mut recent = Recent::default();
        for (ago, text) in lines {
            let line = LogLine {
                service: "billing".to_owned(),
                container: "billing".into(),
                at: now - TimeDelta::seconds(*ago),
                text: (*text).to_owned(),
            };
            recent.look(&line, now, text.contains("allowed"));
        }
        (recent, now)
    }

    fn judged(lines: &[(i64, &str)], limit: Option<f64>) -> Status {
        let (recent, now) = wrote(lines);
        judge(&[&recent], limit, now).status
    }

    const FAILED: &str = "ERROR order 17 of 3f2504e0-4f89 failed";
    const FINE: &str = "INFO billed";

    #[test]
    fn errors_are_told_from_a_share_on() {
        let three = [(9, FAILED), (8, FAILED), (7, FAILED)];
        assert_eq!(judged(&three, None), Status::Fail);
        assert_eq!(judged(&three[..2], None), Status::Pass);
        assert_eq!(judged(&three[..1], Some(0.0)), Status::Fail);
        let mut many = vec![(6, FINE); 27];
        many.extend(three);
        assert_eq!(judged(&many, None), Status::Pass);
        assert_eq!(judged(&many, Some(5.0)), Status::Fail);
        assert_eq!(judged(&[(1, FINE)], Some(0.0)), Status::Pass);
        assert_eq!(judged(&[], None), Status::Pass);
    }

    #[test]
    fn what_is_old_allowed_or_over_is_not() {
        let failed = |ago| [(ago + 2, FAILED), (ago + 1, FAILED), (ago, FAILED)];
        assert_eq!(judged(&failed(301), None), Status::Pass);
        assert_eq!(judged(&[(1, "ERROR allowed"); 3], None), Status::Pass);
        assert_eq!(judged(&failed(31), None), Status::Pass);
        assert_eq!(judged(&failed(29), None), Status::Fail);
    }

    #[test]
    fn lines_that_repeat_are_told_once_the_newest_first() {
        let (recent, now) = wrote(&[
            (9, "ERROR order 17 of 3f2504e0-4f89 failed"),
            (8, "ERROR no stock"),
            (7, "ERROR order 18 of 6b29fc40-ca47 failed"),
        ]);
        let outcome = judge(&[&recent], None, now);
        assert_eq!(outcome.seen, "3 of 3 in 5 m, the last 7 s ago");
        assert_eq!(
            outcome.evidence,
            [
                "2 times, the last: billing: ERROR order 18 of 6b29fc40-ca47 failed",
                "billing: ERROR no stock",
            ]
        );
    }
}
