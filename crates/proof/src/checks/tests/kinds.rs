//! Each kind of check fails for some fault: docs/faults.md shows one, as the program's tests saw it. The
//! page's list by finding is generated here from those faults and the table in `checks`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::plan;
use declaration::{
    Pipeline,
    testing::{TestDirectory, corpus, shipped},
};

/// `groups.lag` of `groups.billing.lag`; a subject may have dots of its own.
fn kind(id: &str) -> String {
    match (id.split_once('.'), id.rsplit_once('.')) {
        (Some((layer, _)), Some((_, aspect))) => format!("{layer}.{aspect}"),
        _ => id.to_owned(),
    }
}

fn example() -> Pipeline {
    let mut place = TestDirectory::new();
    place.request.cwd = declaration::testing::repository().join("examples/orders");
    place.request.files = vec!["compose.yaml".into(), "caravan.yaml".into()];
    place.pipeline()
}

/// Every mapping and every choice of words.
fn full() -> Pipeline {
    let mut place = TestDirectory::new();
    place.request.cwd = corpus().join("full");
    place.request.profiles = vec!["*".to_owned()];
    place.set("TOKEN", "hunter2");
    place.pipeline()
}

/// Declarations of which the checks are known, by name.
pub(super) fn declarations() -> [(&'static str, Pipeline); 3] {
    [
        ("shipped", shipped()),
        ("examples/orders", example()),
        ("tests/declarations/full", full()),
    ]
}

/// All kinds of checks that any of the declarations has.
fn planned() -> BTreeSet<String> {
    let pipelines = declarations().map(|(_, pipeline)| pipeline);
    let checks = pipelines.iter().flat_map(plan);
    checks.map(|check| check.id.kind()).collect()
}

/// The kinds of the table in `checks`, with when each fails.
fn documented() -> Vec<(String, &'static str)> {
    let table = include_str!("../mod.rs").lines();
    let rows = table.filter_map(|line| line.strip_prefix("//! | `"));
    let rows = rows.filter_map(|row| row.strip_suffix(" |")?.split_once("` | "));
    rows.map(|(id, fails)| (kind(id), fails)).collect()
}

fn page() -> String {
    let path = declaration::testing::repository().join("docs/faults.md");
    fs::read_to_string(path).expect("the page")
}

/// A check that a fault failed.
struct Seen<'a> {
    fault: &'a str,
    said: &'a str,
    /// As the page has it: a command in code font, or a text.
    hint: &'a str,
}

/// By kind, the first fault that failed a check of it: preferably as its root cause.
fn seen(page: &str) -> BTreeMap<String, Seen<'_>> {
    let sections = page.split("<!-- faults: ").skip(1);
    let sections = sections.filter_map(|s| Some(s.split_once("<!-- end -->")?.0));
    let rows = sections.flat_map(|section| section.lines().skip(3));
    let rows: Vec<Vec<&str>> = rows
        .map(|row| row.trim_matches('|').split(" | ").collect())
        .collect();
    let mut seen = BTreeMap::new();
    for column in [1, 2] {
        for row in &rows {
            let entries = row.get(column).into_iter().flat_map(|c| c.split("<br>"));
            for (id, text) in entries.filter_map(|entry| entry.trim().split_once("`: ")) {
                let (said, hint) = text.rsplit_once(" → ").unwrap_or((text, ""));
                let fault = row[0].trim();
                let id = id.trim_start_matches('`');
                seen.entry(kind(id)).or_insert(Seen { fault, said, hint });
            }
        }
    }
    seen
}

#[test]
fn the_table_in_checks_has_every_kind() {
    let documented_kinds: BTreeSet<_> = documented().into_iter().map(|(kind, _)| kind).collect();
    let mut planned = planned();
    planned.insert("declaration.checks".to_owned());
    assert_eq!(documented_kinds, planned);
}

#[test]
fn some_fault_fails_each_kind() {
    let page = page();
    let seen = seen(&page);
    let never: Vec<_> = documented().into_iter().map(|(kind, _)| kind).collect();
    let never: Vec<_> = never.iter().filter(|k| !seen.contains_key(*k)).collect();
    assert!(
        never.is_empty(),
        "no fault of docs/faults.md fails these: {never:#?}\nadd one in \
         tests/program/faults.rs or tests/program/foreign/faults.rs"
    );
}

/// The findings of the program's tests, by kind.
#[test]
fn the_page_lists_every_kind_with_a_fault() {
    const MARK: &str = "<!-- kinds -->\n";
    let page = page();
    let seen = seen(&page);
    let rows = documented().into_iter().map(|(kind, fails)| {
        let (instance, next) = match seen.get(&kind) {
            Some(Seen { fault, said, hint }) => (format!("{fault}: {said}"), (*hint).to_owned()),
            None => Default::default(),
        };
        format!("| `{kind}` | {fails} | {instance} | {next} |\n")
    });
    let header = "| finding | fails when (what else it may do) | for instance | then |\n\
                  |---|---|---|---|\n";
    let table: String = [header.to_owned()].into_iter().chain(rows).collect();
    let (head, rest) = page.split_once(MARK).expect("its mark");
    let (_, tail) = rest.split_once("<!-- end -->").expect("its end");
    let now = format!("{head}{MARK}{table}<!-- end -->{tail}");
    declaration::testing::expect_generated("faults.md", &now);
}
