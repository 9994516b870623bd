//! What earlier runs of `verify` found of the rules over the database (docs/decisions/0044): which rows they
//! have read, and the counterexamples that were not repaired since. `verify` reads what is new, and looks
//! again at these. The same of the logs: lines that were read are not read again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::stores::postgres::{Counterexample, Window};

/// How many spans of a rule are kept, the longest.
const SPANS: usize = 8;
/// How many windows with counterexamples are kept of a rule; the oldest beyond are joined.
const WINDOWS: usize = 16;
/// How many counterexamples are kept of a window. The window is read again, so the others are found, too.
const COUNTEREXAMPLES: usize = 25;
/// How many dismissed ids are kept of a rule.
const DISMISSED: usize = 1000;

/// The results of a pipeline's rules, by name, and of its logs, by container id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredResults {
    rules: BTreeMap<String, RuleResult>,
    #[serde(default)]
    pub(crate) logs: BTreeMap<String, LogResult>,
}

/// What was found in the log of one run of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogResult {
    /// The run, and the patterns that its lines were compared with.
    pub(crate) basis: String,
    /// The startup line was there.
    pub(crate) started: bool,
    /// The last forbidden lines, with their times.
    pub(crate) forbidden: Vec<(DateTime<Utc>, String)>,
    /// The time of the last line that was read.
    pub(crate) until: Option<DateTime<Utc>>,
}

/// The result of one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuleResult {
    /// The query and the database that `read` is about. With another one all rows are read again.
    pub(crate) basis: Option<String>,
    /// The rows that were read: without a gap each, the newest first. Counterexamples among them are in
    /// `violated`.
    pub(crate) read: Vec<Span>,
    /// Where the last sample of these began: the next one ends there.
    pub(crate) sampled: Option<DateTime<Utc>>,
    /// Windows with counterexamples, the newest first.
    pub(crate) violated: Vec<Violated>,
    /// Ids that are no counterexamples any more, because a person said so.
    pub(crate) dismissed: BTreeSet<String>,
}

/// Rows by the time at which they were written: from `from` on, before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) from: DateTime<Utc>,
    pub(crate) until: DateTime<Utc>,
}

/// A window in which counterexamples were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Violated {
    /// None: the query reads all rows.
    pub(crate) window: Option<Window>,
    pub(crate) found: Vec<Counterexample>,
}

impl StoredResults {
    /// Dismisses a counterexample by its id: it is not reported any more.
    ///
    /// # Errors
    /// No such counterexample is stored; these are the ids that are.
    pub fn dismiss(&mut self, rule: &str, id: &str) -> Result<(), Vec<String>> {
        let Some(result) = self.rules.get_mut(rule) else {
            return Err(Vec::new());
        };
        let found = result.violated.iter().flat_map(|violated| &violated.found);
        let ids: BTreeSet<&str> = found.map(|c| c.id.as_str()).collect();
        if !ids.contains(id) && !result.dismissed.contains(id) {
            return Err(ids.into_iter().map(str::to_owned).collect());
        }
        result.dismissed.insert(id.to_owned());
        result.bound();
        Ok(())
    }

    /// These results, which began as `began`, on top of what other processes have stored meanwhile: their
    /// counterexamples and dismissals stay.
    pub fn over(mut self, began: &Self, meanwhile: Self) -> Self {
        for (name, theirs) in meanwhile.rules {
            let before = began.rules.get(&name);
            if before == Some(&theirs) {
                continue;
            }
            let ours = self.rules.entry(name).or_default();
            let known = before.map_or(&[][..], |before| &before.violated);
            let new = theirs.violated.into_iter().filter(|v| !known.contains(v));
            let new: Vec<_> = new.filter(|v| !ours.violated.contains(v)).collect();
            ours.violated.extend(new);
            ours.dismissed.extend(theirs.dismissed);
            ours.bound();
        }
        self
    }

    /// These results with each log line as `mask` returns it.
    pub fn masked(mut self, mask: impl Fn(&str) -> String) -> Self {
        let lines = self.logs.values_mut().flat_map(|log| &mut log.forbidden);
        for (_, line) in lines {
            *line = mask(line);
        }
        self
    }

    pub(crate) fn rule(&self, name: &str) -> RuleResult {
        self.rules.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, name: &str, mut result: RuleResult) {
        result.bound();
        self.rules.insert(name.to_owned(), result);
    }
}

impl RuleResult {
    /// Joins and drops what is more than is kept.
    fn bound(&mut self) {
        join(&mut self.read);
        while self.read.len() > SPANS {
            let lengths = self.read.iter().map(|span| span.until - span.from);
            let shortest = lengths.enumerate().min_by_key(|(_, length)| *length);
            self.read.remove(shortest.map_or(0, |(place, _)| place));
        }
        let begins = |v: &Violated| v.window.map(|window| window.from);
        self.violated.sort_by_key(|v| std::cmp::Reverse(begins(v)));
        while self.violated.len() > WINDOWS {
            let (Some(a), Some(b)) = (self.violated.pop(), self.violated.pop()) else {
                break;
            };
            self.violated.push(a.joined(b));
        }
        for violated in &mut self.violated {
            violated.found.sort_by_key(|c| c.since);
            violated.found.truncate(COUNTEREXAMPLES);
        }
        while self.dismissed.len() > DISMISSED {
            self.dismissed.pop_first();
        }
    }
}

impl Violated {
    fn joined(mut self, other: Self) -> Self {
        let window = self.window.zip(other.window).map(|(a, b)| Window {
            from: a.from.min(b.from),
            until: a.until.zip(b.until).map(|(a, b)| a.max(b)),
        });
        self.found.extend(other.found);
        Self {
            window,
            found: self.found,
        }
    }
}

/// Sorts spans, the newest first, and joins those that touch.
fn join(spans: &mut Vec<Span>) {
    spans.retain(|span| span.from < span.until);
    spans.sort_by_key(|span| std::cmp::Reverse(span.until));
    let mut joined: Vec<Span> = Vec::new();
    for span in spans.drain(..) {
        match joined.last_mut() {
            Some(newer) if span.until >= newer.from => newer.from = newer.from.min(span.from),
            _ => joined.push(span),
        }
    }
    *spans = joined;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a time")
    }

    fn span(from: i64, until: i64) -> Span {
        Span {
            from: at(from),
            until: at(until),
        }
    }

    fn violated(from: i64, until: i64, ids: &[&str]) -> Violated {
        let window = Window {
            from: at(from),
            until: Some(at(until)),
        };
        let found = ids.iter().map(|id| Counterexample {
            id: (*id).to_owned(),
            since: at(from),
        });
        Violated {
            window: Some(window),
            found: found.collect(),
        }
    }

    fn with(violated: &[Violated]) -> StoredResults {
        let mut results = StoredResults::default();
        let violated = violated.to_vec();
        let result = RuleResult {
            violated,
            ..RuleResult::default()
        };
        results.set("r", result);
        results
    }

    #[test]
    fn spans_that_touch_are_joined() {
        let mut spans = vec![
            span(0, 10),
            span(30, 40),
            span(10, 20),
            span(35, 50),
            span(7, 7),
        ];
        join(&mut spans);
        assert_eq!(spans, [span(30, 50), span(0, 20)]);
    }

    #[test]
    fn under_traffic_that_is_never_read_the_longest_spans_stay_known() {
        let mut results = StoredResults::default();
        let mut result = RuleResult::default();
        result.read.push(span(0, 1000));
        for n in 0..20 {
            result.read.push(span(2000 + 10 * n, 2001 + 10 * n));
            results.set("r", result);
            result = results.rule("r");
        }
        assert_eq!(result.read.len(), SPANS);
        assert_eq!(result.read.last(), Some(&span(0, 1000)));
    }

    #[test]
    fn only_a_stored_counterexample_is_dismissed() {
        let mut results = with(&[violated(0, 9, &["a", "b"])]);
        let known = Err(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(results.dismiss("r", "c"), known);
        assert_eq!(results.dismiss("other", "a"), Err(Vec::new()));
        assert_eq!(results.dismiss("r", "a"), Ok(()));
        assert!(results.rule("r").dismissed.contains("a"));
    }

    #[test]
    fn what_another_process_found_or_dismissed_meanwhile_stays() {
        let began = with(&[violated(0, 9, &["repaired"])]);
        let mut theirs = with(&[violated(0, 9, &["repaired"]), violated(20, 29, &["theirs"])]);
        assert_eq!(theirs.dismiss("r", "theirs"), Ok(()));
        let ours = with(&[violated(40, 49, &["ours"])]);
        let merged = ours.over(&began, theirs).rule("r");
        let ids: Vec<_> = merged.violated.iter().map(|v| &v.found[0].id).collect();
        assert_eq!(ids, ["ours", "theirs"]);
        assert!(merged.dismissed.contains("theirs"));
    }

    #[test]
    fn log_lines_are_masked() {
        let mut results = StoredResults::default();
        let log = LogResult {
            forbidden: vec![(at(1), "web: panicked at hunter2".to_owned())],
            ..LogResult::default()
        };
        results.logs.insert("id".to_owned(), log);
        let masked = results.masked(|line| line.replace("hunter2", "****"));
        let (_, line) = &masked.logs["id"].forbidden[0];
        assert_eq!(line, "web: panicked at ****");
    }

    #[test]
    fn windows_beyond_the_bound_are_joined_and_stay_violated() {
        let windows: Vec<_> = (0..20)
            .map(|n| violated(n * 10, n * 10 + 5, &["x"]))
            .collect();
        let kept = with(&windows).rule("r").violated;
        assert_eq!(kept.len(), WINDOWS);
        let oldest = kept.last().and_then(|v| v.window).expect("a window");
        assert_eq!((oldest.from, oldest.until), (at(0), Some(at(45))));
    }
}
