//! What the pages of the documentation refer to exists: files, headings, and the commands that they show.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use declaration::testing::repository;

use crate::help;

fn pages() -> Vec<(PathBuf, String)> {
    let root = repository();
    let folders = [
        root.to_owned(),
        root.join("docs"),
        root.join("docs/decisions"),
    ];
    let mut pages = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).expect("readable");
                pages.push((path, text));
            }
        }
    }
    pages
}

/// The targets of `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

fn broken(page: &Path, target: &str) -> bool {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => page.to_owned(),
        file => page.parent().expect("readable").join(file),
    };
    if !path.exists() {
        return true;
    }
    !anchor.is_empty() && !anchors(&fs::read_to_string(path).expect("readable")).contains(anchor)
}

#[test]
fn links_lead_somewhere() {
    let mut count = 0;
    for (page, text) in pages() {
        for target in links(&text).filter(|target| !target.contains("://")) {
            count += 1;
            assert!(!broken(&page, target), "{}: {target}", page.display());
        }
    }
    assert!(count > 50, "{count} links");
    assert!(broken(
        &repository().join("README.md"),
        "docs/cli.md#no-such-heading"
    ));
}

/// The arguments of a `caravan` command in a code block, without what a shell does with it.
fn command(line: &str) -> Option<Vec<&str>> {
    let code = line
        .strip_prefix("    ")
        .or_else(|| line.strip_prefix("- run: "))
        .unwrap_or(line)
        .trim_start();
    let code = code.strip_prefix("$ ").unwrap_or(code);
    // The first line of a screen begins with the project, which has this name, too.
    if !code.starts_with("caravan ") || code.starts_with("caravan · ") {
        return None;
    }
    let words = code.split_whitespace();
    let words = words.take_while(|word| !matches!(*word, "#" | "|" | "||" | "&&" | ">" | "<"));
    Some(words.map(|word| word.trim_matches(['\'', '"'])).collect())
}

/// The commands of indented lines and of fenced blocks that are no pictures.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let mut fence = None;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = fence.is_none().then_some(language);
        } else if fence.map_or_else(
            || line.starts_with("    "),
            |language| language != "mermaid",
        ) {
            found.extend(command(line));
        }
    }
    found
}

#[test]
fn commands_are_ones_that_exist() {
    let mut count = 0;
    let mut refused = Vec::new();
    for (page, text) in pages() {
        if page.ends_with("docs/reference.md") {
            continue;
        }
        for words in commands(&text) {
            count += 1;
            // A placeholder of the pages.
            let words = words
                .iter()
                .map(|word| word.replace("TOPIC/PARTITION/OFFSET", "topic/0/0"));
            let words: Vec<_> = words.collect();
            if let Err(error) = help::parse(&words) {
                let why = error.to_string();
                let why = why.lines().next().unwrap_or_default();
                refused.push(format!("{}: {}: {why}", page.display(), words.join(" ")));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(count > 50, "{count} commands");
}
