//! docs/faults.md: what `verify` said of each fault that a test brought about. Each test has a table of
//! its own there, between two marks, which is what it saw: `CARAVAN_WRITE_DOCS=1` writes it.

use std::{path::Path, sync::Mutex};

use regex::Regex;
use serde_json::Value;

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

    /// For a cell: what it says, and the next command; a check that was skipped says nothing itself.
    fn told(&self) -> String {
        let Self { id, hint, .. } = self;
        let mut seen = general(&self.seen);
        // While a group rebalances, who still holds what is a matter of the moment.
        if self
            .cause
            .as_ref()
            .is_some_and(|id| id.ends_with(".stable"))
        {
            let held = Regex::new(r"^\d+ of ").unwrap();
            seen = held.replace(&seen, "… of ").into_owned();
        }
        match (self.status.as_str(), hint) {
            ("skip", _) => format!("`{id}`"),
            (_, None) => format!("`{id}`: {seen}"),
            (_, Some(hint)) => format!("`{id}`: {seen} → `{}`", general(hint)),
        }
    }
}

/// A line of the table: a fault, the findings that name it and those that follow from it; of `folded`,
/// layers of which all was skipped, no more than the names.
pub(crate) fn row(fault: &str, red: &[&Red], folded: &[&str]) -> String {
    let (roots, follow): (Vec<&Red>, Vec<&Red>) = red.iter().partition(|r| r.cause.is_none());
    assert!(!roots.is_empty(), "nothing names the fault: {fault}");
    let roots: Vec<_> = roots.iter().map(|r| r.told()).collect();
    let folded = folded.iter().map(|layer| format!("`{layer}.*`"));
    let follow: Vec<_> = follow.iter().map(|r| r.told()).chain(folded).collect();
    let (roots, follow) = (roots.join("<br>"), follow.join("<br>"));
    format!("| {fault} | {roots} | {follow} |\n")
}

/// Fails unless the table of `section` has these rows.
#[track_caller]
pub(crate) fn expect(section: &str, rows: &[String]) {
    /// Tests of one process write to one page.
    static WRITING: Mutex<()> = Mutex::new(());
    let guard = WRITING
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let mark = format!("<!-- faults: {section} -->\n");
    let (head, rest) = page.split_once(&mark).unwrap();
    let (_, tail) = rest.split_once("<!-- end -->").unwrap();
    let header =
        "| fault | what says so → what it says to do | what follows from it |\n|---|---|---|\n";
    let table = format!("{header}{}", rows.concat());
    let now = format!("{head}{mark}{table}<!-- end -->{tail}");
    if std::env::var_os("CARAVAN_WRITE_DOCS").is_some() {
        std::fs::write(&path, &now).unwrap();
        return;
    }
    drop(guard);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (says, seen) = (lines(&page), lines(&now));
    let only_in = |these: &[String], those: &[String], sign: char| -> String {
        let own = these.iter().filter(|line| !those.contains(line));
        own.map(|line| format!("{sign} {line}\n")).collect()
    };
    assert!(
        page == now,
        "docs/faults.md is not what was seen: CARAVAN_WRITE_DOCS=1 writes it\n{}{}",
        only_in(&says, &seen, '-'),
        only_in(&seen, &says, '+')
    );
}

/// A text without what differs from one time to the next.
fn general(text: &str) -> String {
    let rules = [
        (r"caravan-test-[a-z]+(-\d)?-\d+", "PROJECT"),
        // What tells this very pipeline from others.
        (r"caravan( (-[fpH]|--env-file|--profile) \S+)+", "caravan"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,27}", "…"),
        (r"\b(localhost|127\.0\.0\.1):\d+", "$1:…"),
        (r"\d+\.\d+ (s|MiB)\b", "… $1"),
        (r"\b\d+ lines", "… lines"),
        (r"^\d+, stuck", "…, stuck"),
        (
            r"^\d+ of \d+ in 5 m, the last \d+ s",
            "… of … in 5 m, the last … s",
        ),
        // Docker asks the host's resolver for what it does not know itself, which has its own words.
        (r"(failed to lookup address information): [^`]*", "$1"),
        (r"\d+ probes failed", "… probes failed"),
        (r"([a-z])/\d+/\d+\b", "$1/…/…"),
        (r"\|", r"\|"),
    ];
    rules.iter().fold(text.to_owned(), |text, (from, to)| {
        let rule = Regex::new(from).unwrap();
        rule.replace_all(&text, *to).into_owned()
    })
}
