//! What `verify` said of each fault that a test brought about: one JSON file a fault, in
//! `target/faults`. `script/faults-page` makes the tables of docs/faults.md of them.

use std::{fs, path::Path};

use serde_json::{Value, json};

/// A finding of `verify` that is no pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Red {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) seen: String,
    pub(crate) hint: Option<String>,
    /// The id of the check whose failure it is a consequence of.
    pub(crate) cause: Option<String>,
}

/// Checks that say how many there are at the moment: of seconds, lines, messages, bytes.
const COUNTS: [&str; 7] = [
    "cache.memory",
    "containers.health",
    "database.unblocked",
    "groups.lag",
    "groups.stable",
    "logs.errors",
    "logs.started",
];

/// Checks whose hint names messages: their ids, partitions and offsets.
const NAMES: [&str; 3] = ["database.holds", "dead-letters.empty", "groups.effects"];

/// What Docker's resolver says next is in the words of the host's.
const UNRESOLVED: &str = "failed to lookup address information";

impl Red {
    /// Those of a document of `verify -o json`, in its order.
    pub(crate) fn all(document: &Value) -> Vec<Self> {
        let findings = document["findings"].as_array().unwrap().iter();
        let red = findings.filter(|f| f["status"] != "pass");
        red.map(Self::of).collect()
    }

    fn of(finding: &Value) -> Self {
        let text = |key: &str| finding[key].as_str().map(str::to_owned);
        Self {
            id: text("id").unwrap(),
            status: text("status").unwrap(),
            seen: text("seen").unwrap(),
            hint: text("hint"),
            cause: text("cause"),
        }
    }

    /// As it is recorded: without what differs from one run to the next.
    fn record(&self, project: &str) -> Value {
        let Self { id, status, .. } = self;
        let kind = self.kind();
        // While a group rebalances, who still holds what is a matter of the moment.
        let rebalances = self.cause.as_ref().is_some_and(|c| c.ends_with(".stable"));
        let text = |text: &str, is_of_moment: bool| {
            let text = without_ports(&without_options(&text.replace(project, "PROJECT")));
            match text.split_once(UNRESOLVED) {
                Some((before, _)) => format!("{before}{UNRESOLVED}"),
                None if is_of_moment => without_numbers(&text),
                None => text,
            }
        };
        let seen = text(&self.seen, rebalances || COUNTS.contains(&kind.as_str()));
        let hint = self.hint.as_deref();
        let hint = hint.map(|hint| text(hint, NAMES.contains(&kind.as_str())));
        json!({"id": id, "status": status, "seen": seen, "hint": hint})
    }

    /// `groups.lag` of `groups.billing.lag`; a subject may have dots of its own.
    fn kind(&self) -> String {
        match (self.id.split_once('.'), self.id.rsplit_once('.')) {
            (Some((layer, _)), Some((_, aspect))) => format!("{layer}.{aspect}"),
            _ => self.id.clone(),
        }
    }
}

/// Records a fault, with the findings that name it and those that follow from it; of `layers`, of
/// which all was skipped, no more than the names.
pub(crate) fn record(table: &str, project: &str, fault: &str, red: &[&Red], layers: &[&str]) {
    let (roots, follow): (Vec<&Red>, Vec<&Red>) = red.iter().partition(|r| r.cause.is_none());
    assert!(!roots.is_empty(), "nothing names the fault: {fault}");
    let records = |red: &[&Red]| red.iter().map(|r| r.record(project)).collect::<Vec<_>>();
    let record = json!({
        "table": table, "fault": fault, "roots": records(&roots), "follow": records(&follow),
        "layers": layers,
    });
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/faults");
    fs::create_dir_all(&directory).unwrap();
    let file = format!("{table} {fault}.json").replace(' ', "-");
    fs::write(directory.join(file), format!("{record:#}\n")).unwrap();
}

/// `caravan up` for `caravan -p PROJECT -f FILE up`: what tells this pipeline from others.
fn without_options(text: &str) -> String {
    let mut words = text.split(' ').peekable();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        kept.push(word);
        while word == "caravan" && words.next_if(|next| next.starts_with('-')).is_some() {
            words.next();
        }
    }
    kept.join(" ")
}

/// Each run has host ports of its own.
fn without_ports(text: &str) -> String {
    const HOST: &str = "127.0.0.1:";
    let mut pieces = text.split(HOST);
    let mut made = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let port = piece.trim_start_matches(|c: char| c.is_ascii_digit());
        made.push_str(&format!("{HOST}…{port}"));
    }
    made
}

/// Numbers and what has digits in it, such as ids: an ellipsis each.
fn without_numbers(text: &str) -> String {
    let is_of_word = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let mut made = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = is_of_word(first);
        let end = rest.find(|c| is_of_word(c) != is_word);
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        let counts = part.contains(|c: char| c.is_ascii_digit());
        made.push_str(if counts { "…" } else { part });
        rest = after;
    }
    made
}

#[test]
fn what_differs_between_runs_is_left_out() {
    let red = |id: &str, seen: &str, hint: &str| Red {
        id: id.to_owned(),
        status: "fail".to_owned(),
        seen: seen.to_owned(),
        hint: Some(hint.to_owned()),
        cause: None,
    };
    let lag = red(
        "groups.a.lag",
        "3, stuck: nothing committed in 5.2s",
        "caravan -p p-1 -f a.yaml restart a",
    );
    let recorded = lag.record("p-1");
    assert_eq!(recorded["seen"], "…, stuck: nothing committed in …");
    assert_eq!(recorded["hint"], "caravan restart a");
    let assigned = red("groups.a.assigned", "0 of 3", "docker unpause p-1-a");
    let recorded = assigned.record("p-1");
    assert_eq!(recorded["seen"], "0 of 3");
    assert_eq!(recorded["hint"], "docker unpause PROJECT-a");
    let holds = red(
        "database.a-b.holds",
        "1 row violates the rule",
        "produce: orders.placed/2/15 (key 5f0c)",
    );
    let recorded = holds.record("p-1");
    assert_eq!(recorded["seen"], "1 row violates the rule");
    assert_eq!(recorded["hint"], "produce: orders.placed/…/… (key …)");
}
