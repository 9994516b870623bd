//! The promises of compose/compose.yaml, as far as a history is held against them.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct File {
    #[serde(rename = "x-caravan")]
    caravan: Promises,
    services: BTreeMap<String, Service>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Promises {
    dead_letters: String,
    tables: BTreeMap<String, Table>,
    invariants: BTreeMap<String, Rule>,
}

#[derive(Debug, Deserialize)]
struct Service {
    #[serde(rename = "x-caravan")]
    caravan: Part,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Part {
    group: Option<String>,
    consumes: Vec<String>,
    emits: Vec<String>,
}

/// A table, and what one payment leaves in it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Table {
    /// Empty: no payment leaves anything in it.
    find: String,
    pub(crate) rows: i64,
}

/// An invariant: a query for counterexamples.
#[derive(Debug, Deserialize)]
pub(crate) struct Rule {
    pub(crate) says: String,
    sql: String,
}

/// What is promised.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) dead_letters: String,
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) invariants: BTreeMap<String, Rule>,
    parts: Vec<Part>,
}

impl Declared {
    /// The declaration that the executable embeds.
    pub(crate) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/compose.yaml");
        let file: File = serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let parts = file.services.into_values().map(|service| service.caravan);
        let mut tables = file.caravan.tables;
        tables.retain(|_, table| !table.find.is_empty());
        Self {
            dead_letters: file.caravan.dead_letters,
            tables,
            invariants: file.caravan.invariants,
            parts: parts.collect(),
        }
    }

    /// Topics on which each payment has its event.
    pub(crate) fn emitted(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|p| &p.emits).map(String::as_str)
    }

    /// Each consumer group with each topic that it reads.
    pub(crate) fn consumers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.iter().flat_map(|part| {
            let group = part.group.as_deref();
            let topics = part.consumes.iter().map(String::as_str);
            topics.filter_map(move |topic| Some((group?, topic)))
        })
    }
}

impl Table {
    /// The condition, with SQL in the place of the payment's id.
    pub(crate) fn find(&self, payment: &str) -> String {
        unescaped(&self.find).replace("$1", &format!("({payment})"))
    }
}

impl Rule {
    /// The query over all rows, however far back it looks every day.
    pub(crate) fn sql(&self) -> String {
        unescaped(&self.sql)
            .replace("$1", "'-infinity'::timestamptz")
            .replace("$2", "'infinity'::timestamptz")
    }
}

/// In a declaration `$$` is a dollar.
fn unescaped(text: &str) -> String {
    text.replace("$$", "$")
}

#[test]
fn the_declaration_promises_one_chain_a_payment() {
    let declared = Declared::read();
    let rows: Vec<_> = declared
        .tables
        .iter()
        .map(|(t, p)| (&**t, p.rows))
        .collect();
    let expected = [
        ("outbox", 1),
        ("payments", 1),
        ("student_course_purchases", 1),
        ("trainer_allocations", 1),
        ("tutoring_sessions", 7),
    ];
    assert_eq!(rows, expected);
    assert!(declared.invariants.len() >= 5);
    assert_eq!(declared.emitted().count(), 3);
    assert_eq!(declared.consumers().count(), 4);
}
