//! One line for each layer of checks: how many passed, and what that means or which subjects did not.
//!
//! The words come from the results: each phrase belongs to a kind of check and sums up its findings.

use std::time::Duration;

use proof::checks::finding::{Finding, Status};

use crate::output::{Console, listing};

use super::{Tally, mark};

/// A layer that took longer shows its time.
const SLOW: Duration = Duration::from_secs(1);

/// The findings of one layer.
pub(super) struct Layer<'a> {
    pub(super) name: &'static str,
    pub(super) findings: Vec<&'a Finding>,
}

/// The layers in the order in which they first occur.
pub(super) fn of(findings: &[Finding]) -> Vec<Layer<'_>> {
    let mut layers: Vec<Layer<'_>> = Vec::new();
    for finding in findings {
        let name = finding.layer();
        match layers.iter_mut().find(|layer| layer.name == name) {
            Some(layer) => layer.findings.push(finding),
            None => layers.push(Layer {
                name,
                findings: vec![finding],
            }),
        }
    }
    layers
}

/// A line for each layer. If anything is wrong, layers that passed have no summary.
pub(super) fn lines(console: &Console, layers: &[Layer<'_>]) -> Vec<String> {
    let is_green = layers.iter().all(Layer::is_green);
    let counts: Vec<_> = layers.iter().map(Layer::count).collect();
    let longest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let name_width = longest(&mut layers.iter().map(|layer| layer.name.len()));
    let number_width = longest(&mut counts.iter().map(|(number, _)| number.len()));
    let total_width = longest(&mut counts.iter().map(|(_, total)| total.len()));
    let line = |(layer, (number, total)): (&Layer<'_>, &(String, String))| {
        let name = layer.name.replace('-', " ");
        let start = format!(" {name:name_width$}  {number:>number_width$}{total:total_width$}");
        let summary = match (layer.is_green(), is_green) {
            (true, false) => String::new(),
            (true, true) => layer.phrases(),
            (false, _) => layer.subjects(),
        };
        let text = format!("{start}  {summary}{}", layer.time());
        let text = listing::fitted(console, text.trim_end(), 1);
        format!("{}{text}", mark(console, layer.status()))
    };
    layers.iter().zip(&counts).map(line).collect()
}

impl Layer<'_> {
    pub(super) fn tally(&self) -> Tally {
        Tally::of(self.findings.iter().copied())
    }

    /// The gravest status of the layer. A layer with a skipped check did not pass.
    pub(super) fn status(&self) -> Status {
        let tally = self.tally();
        match tally {
            _ if tally.fail > 0 => Status::Fail,
            _ if tally.warn > 0 => Status::Warn,
            _ if tally.skip > 0 => Status::Skip,
            _ => Status::Pass,
        }
    }

    fn is_green(&self) -> bool {
        self.status() == Status::Pass
    }

    /// `40`, or `36` and ` of 40`.
    fn count(&self) -> (String, String) {
        let total = self.findings.len();
        let of = match self.is_green() {
            true => String::new(),
            false => format!(" of {total}"),
        };
        (self.tally().pass.to_string(), of)
    }

    /// The subjects of the checks that did not pass; of the skipped ones only if no other failed.
    fn subjects(&self) -> String {
        let gravest = self.status();
        let of_gravest = self.findings.iter().filter(|f| f.status == gravest);
        let mut names: Vec<&str> = Vec::new();
        for finding in of_gravest {
            let name = finding.id.subject().unwrap_or_else(|| finding.id.aspect());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        match gravest {
            Status::Skip if self.tally().pass == 0 => "not checked".to_owned(),
            Status::Skip => format!("not checked: {}", names.join(", ")),
            Status::Pass | Status::Warn | Status::Fail => names.join(", "),
        }
    }

    fn time(&self) -> String {
        let took = self.findings.iter().map(|f| f.took).max();
        let took = took.filter(|took| *took >= SLOW);
        took.map_or_else(String::new, |took| {
            format!(" ({})", listing::duration(took))
        })
    }

    fn phrases(&self) -> String {
        let phrases = PHRASES.iter().filter(|(layer, ..)| *layer == self.name);
        let phrases = phrases.filter_map(|(_, aspect, phrase)| {
            let of_kind = self.findings.iter().filter(|f| f.id.aspect() == *aspect);
            let findings: Vec<_> = of_kind.copied().collect();
            (!findings.is_empty()).then(|| phrase.of(&findings))
        });
        phrases.collect::<Vec<_>>().join(", ")
    }
}

/// What the findings of one kind of check mean together, if all passed.
enum Phrase {
    /// How many, and of what: one, several.
    Count(&'static str, &'static str),
    Say(&'static str),
    /// What the first one saw, after these words.
    Seen(&'static str),
    /// Their subjects, before this word.
    Names(&'static str),
    /// The sum of `2 of 3`, before these words.
    Parts(&'static str),
    /// The sum of what was seen, after this word.
    Sum(&'static str),
    /// If each saw `none …`, and otherwise.
    None(&'static str, &'static str),
}

/// The phrase of a layer's kind of check; a kind may have several. Kinds without a phrase are only counted.
const PHRASES: [(&str, &str, Phrase); 23] = [
    (
        "containers",
        "running",
        Phrase::Count("service running", "services running"),
    ),
    (
        "containers",
        "completed",
        Phrase::Count("job done", "jobs done"),
    ),
    ("containers", "as-declared", Phrase::Say("no drift")),
    ("kafka", "reachable", Phrase::Seen("")),
    ("topics", "exists", Phrase::Count("declared", "declared")),
    ("topics", "replicated", Phrase::Say("in sync")),
    ("topics", "retention", Phrase::Say("retention as declared")),
    ("database", "migrations", Phrase::Seen("migration ")),
    ("database", "exists", Phrase::Count("table", "tables")),
    (
        "database",
        "holds",
        Phrase::Count("rule holds", "rules hold"),
    ),
    ("cache", "memory", Phrase::Seen("")),
    ("cache", "memory", Phrase::Say("no evictions")),
    ("services", "ready", Phrase::Names("ready")),
    ("services", "answers", Phrase::Names("answer")),
    ("logs", "started", Phrase::Say("all started")),
    ("logs", "clean", Phrase::Say("no forbidden line")),
    ("logs", "errors", Phrase::None("no errors", "few errors")),
    ("groups", "stable", Phrase::Count("stable", "stable")),
    ("groups", "assigned", Phrase::Parts("partitions held")),
    ("groups", "lag", Phrase::Sum("lag")),
    ("groups", "effects", Phrase::Say("rows written")),
    ("dead-letters", "empty", Phrase::Say("none waiting")),
    ("declaration", "checks", Phrase::Seen("")),
];

impl Phrase {
    fn of(&self, findings: &[&Finding]) -> String {
        let seen = || findings.iter().map(|finding| finding.seen.as_str());
        match self {
            Self::Count(one, many) => match findings.len() {
                1 => format!("1 {one}"),
                n => format!("{n} {many}"),
            },
            Self::Say(words) => (*words).to_owned(),
            Self::Seen(words) => format!("{words}{}", seen().next().unwrap_or_default()),
            Self::Names(word) => {
                let names: Vec<_> = findings.iter().filter_map(|f| f.id.subject()).collect();
                format!("{} {word}", names.join(", "))
            }
            Self::Parts(words) => {
                let (mut part, mut whole) = (0, 0);
                for (of_one, of_all) in seen().filter_map(fraction) {
                    part += of_one;
                    whole += of_all;
                }
                format!("{part} of {whole} {words}")
            }
            Self::Sum(word) => {
                let sum: u64 = seen().filter_map(leading_number).sum();
                format!("{word} {sum}")
            }
            Self::None(none, otherwise) => {
                let is_none = seen().all(|seen| seen.starts_with("none"));
                (if is_none { *none } else { *otherwise }).to_owned()
            }
        }
    }
}

/// `2 of 3`
fn fraction(text: &str) -> Option<(u64, u64)> {
    let (part, rest) = text.split_once(" of ")?;
    Some((leading_number(part)?, leading_number(rest)?))
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_what_was_seen() {
        assert_eq!(fraction("2 of 3; and more"), Some((2, 3)));
        assert_eq!(fraction("none of 3"), None);
        assert_eq!(leading_number("12, draining by 3/s"), Some(12));
        assert_eq!(leading_number("0"), Some(0));
        assert_eq!(leading_number("none"), None);
    }
}
