//! The walls between the crates, as `cargo metadata` has them: which crate may depend on which, and
//! which may see a library of one platform or broker. And the places where an error may be a text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use declaration::testing::{expect_generated, repository};
use serde_json::Value;

/// Each crate of the CLI with what it may depend on, from the bottom to the top. What is shipped and
/// deployed (`crates/shipped`) may see `SHIPPED_MAY_SEE` and its own family.
const ARROWS: &[(&str, &[&str])] = &[
    ("diagnostics", &[]),
    ("declaration", &["diagnostics"]),
    ("platform", &["declaration", "diagnostics"]),
    ("kafka", &["declaration", "diagnostics"]),
    ("docker", &["declaration", "diagnostics", "platform"]),
    (
        "proof",
        &["declaration", "diagnostics", "kafka", "platform"],
    ),
];
const SHIPPED_MAY_SEE: &[&str] = &["declaration", "diagnostics", "kafka"];

/// The crates that may depend on a library directly.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("bollard", &["docker"]),
    ("rdkafka", &["kafka", "worker-runtime"]),
];
/// Libraries that a crate may not even see through its dependencies.
const UNSEEN: &[(&str, &[&str])] = &[
    (
        "declaration",
        &["tokio", "bollard", "rdkafka", "sqlx", "docker"],
    ),
    ("platform", &["bollard", "rdkafka", "sqlx"]),
    ("docker", &["rdkafka", "sqlx"]),
    ("proof", &["bollard", "docker"]),
    ("kafka", &["bollard", "sqlx"]),
];

/// The files in which a type has a text as its error (`Result<_, String>`), how often, and why. All
/// other errors are types that keep their source.
const TEXT_ERRORS: &[(&str, usize, &str)] = &[
    ("crates/platform/src/question.rs", 2, SENT_AS_JSON),
    ("src/doctor/host_info.rs", 1, SENT_AS_JSON),
    ("src/doctor/tests.rs", 1, SENT_AS_JSON),
    ("src/commands/logs.rs", 1, VALUE_PARSER),
    ("src/commands/scale.rs", 1, VALUE_PARSER),
    ("src/commands/test_flow.rs", 1, VALUE_PARSER),
    ("src/commands/verify.rs", 1, VALUE_PARSER),
    ("src/when.rs", 2, VALUE_PARSER),
];
const SENT_AS_JSON: &str = "a process on the pipeline's network sends it to the host as JSON";
const VALUE_PARSER: &str =
    "clap shows the text of a value parser's error, and nothing else uses it";

/// The workspace's crates and their dependencies, without those of tests.
struct Workspace {
    /// Crate to (its folder below the root, what it depends on directly).
    crates: BTreeMap<String, (String, BTreeSet<String>)>,
    /// Each package to all that it depends on directly, in the whole graph.
    graph: BTreeMap<String, BTreeSet<String>>,
}

impl Workspace {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            .args(["--filter-platform", "host-tuple"])
            .current_dir(repository())
            .output()
            .expect("cargo runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();
        let packages = list(&metadata["packages"]);
        let names: BTreeMap<String, String> = packages
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let all = graph.entry(names[&text(&node["id"])].clone()).or_default();
            for dependency in list(&node["deps"]) {
                // `null` is a normal dependency; the others are for builds and tests.
                let mut kinds = list(&dependency["dep_kinds"]).into_iter();
                if kinds.any(|kind| kind["kind"].is_null()) {
                    all.insert(names[&text(&dependency["pkg"])].clone());
                }
            }
        }
        let root = text(&metadata["workspace_root"]);
        let members: BTreeSet<String> = list(&metadata["workspace_members"])
            .iter()
            .map(text)
            .collect();
        let crates = packages
            .iter()
            .filter(|package| members.contains(&text(&package["id"])))
            .map(|package| {
                let name = text(&package["name"]);
                let manifest = text(&package["manifest_path"]);
                let folder = manifest.trim_start_matches(&root);
                let folder = folder
                    .trim_end_matches("/Cargo.toml")
                    .trim_start_matches('/');
                let direct = graph[&name].clone();
                (name, (folder.to_owned(), direct))
            })
            .collect();
        Self { crates, graph }
    }

    /// All that a crate is built of.
    fn transitive(&self, name: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut next = vec![name.to_owned()];
        while let Some(name) = next.pop() {
            for dependency in self.graph.get(&name).into_iter().flatten() {
                if all.insert(dependency.clone()) {
                    next.push(dependency.clone());
                }
            }
        }
        all
    }

    /// A crate's direct dependencies within the workspace.
    fn arrows(&self, name: &str) -> BTreeSet<String> {
        let (_, direct) = &self.crates[name];
        let own = |dependency: &&String| self.crates.contains_key(*dependency);
        direct.iter().filter(own).cloned().collect()
    }

    fn is_shipped(&self, name: &str) -> bool {
        self.crates[name].0.starts_with("crates/shipped/")
    }
}

#[test]
fn dependencies_point_in_one_direction() {
    let workspace = Workspace::read();
    for name in workspace.crates.keys().filter(|name| *name != "caravan") {
        let arrows = workspace.arrows(name);
        let shipped = workspace.is_shipped(name);
        let declared = ARROWS.iter().find(|(crate_, _)| crate_ == name);
        let may_see = match declared {
            Some((_, may_see)) => *may_see,
            None if shipped => SHIPPED_MAY_SEE,
            None => panic!("{name} has no entry in ARROWS"),
        };
        for arrow in arrows {
            let family = shipped && workspace.is_shipped(&arrow);
            assert!(
                family || may_see.contains(&arrow.as_str()),
                "{name} may not depend on {arrow}"
            );
        }
    }
    for (name, _) in ARROWS {
        assert!(workspace.crates.contains_key(*name), "{name} is no crate");
    }
}

#[test]
fn a_library_is_seen_by_the_crates_that_are_there_for_it() {
    let workspace = Workspace::read();
    for (library, crates) in LIBRARIES {
        let see: Vec<&str> = workspace
            .crates
            .iter()
            .filter(|(_, (_, direct))| direct.contains(*library))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(see, *crates, "crates that depend on {library}");
    }
    for (name, unseen) in UNSEEN {
        let all = workspace.transitive(name);
        for library in *unseen {
            assert!(!all.contains(*library), "{name} sees {library}");
        }
    }
}

#[test]
fn errors_are_types() {
    let mut found = BTreeMap::new();
    for folder in ["src", "crates"] {
        let counted = |path: &Path, text: &str| match text_errors(text) {
            0 => {}
            count => {
                let path = path.strip_prefix(repository()).expect("below the root");
                found.insert(path.display().to_string(), count);
            }
        };
        each_source_file(&repository().join(folder), counted);
    }
    let allowed = TEXT_ERRORS.iter();
    let allowed: BTreeMap<_, _> = allowed
        .map(|(file, count, _)| ((*file).to_owned(), *count))
        .collect();
    let differ = |file: &&String| found.get(*file) != allowed.get(*file);
    let files: BTreeSet<_> = found.keys().chain(allowed.keys()).filter(differ).collect();
    let lines: Vec<String> = files
        .into_iter()
        .map(|file| {
            let [found, allowed] = [&found, &allowed].map(|m| m.get(file).copied().unwrap_or(0));
            format!("{file} has {found} texts as errors, TEXT_ERRORS {allowed}")
        })
        .collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

fn each_source_file(folder: &Path, mut each: impl FnMut(&Path, &str)) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                each(&path, &fs::read_to_string(&path).expect("UTF-8"));
            }
        }
    }
}

/// How many times the error of a `Result`, or of `FromStr`, is a text in this source.
fn text_errors(source: &str) -> usize {
    let code = source.lines().filter(|l| !l.trim_start().starts_with("//"));
    let code: String = code.flat_map(|line| [line, "\n"]).collect();
    let starts = code.match_indices("Result<");
    let errors = starts.filter_map(|(start, name)| error_type(&code[start + name.len()..]));
    let is_text = |error: &&str| matches!(*error, "String" | "&str" | "&'static str");
    errors.filter(is_text).count() + code.matches("type Err = String;").count()
}

/// The second type parameter of a `Result`, given the code after its `<`.
fn error_type(code: &str) -> Option<&str> {
    let (mut depth, mut comma, mut before) = (0, None, ' ');
    for (index, c) in code.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            '>' if before == '-' => {}
            '>' if depth == 0 => {
                let error: &str = &code[comma? + 1..index];
                return Some(error.trim().trim_end_matches(',').trim_end());
            }
            '>' | ')' | ']' => depth -= 1,
            // A comma at the end of a line may follow the last parameter.
            ',' if depth == 0 && comma.is_none() => comma = Some(index),
            _ => {}
        }
        before = c;
    }
    None
}

#[test]
fn a_text_as_an_error_is_recognised() {
    for (code, count) in [
        ("fn f() -> Result<(), String> {", 1),
        ("Result<Result<A, String>>", 1),
        ("Result<Result<A, String>, String>", 2),
        ("Result<\n    BTreeMap<String, String>,\n    String,\n>", 1),
        ("Result<(u8, String), &'static str>", 1),
        ("impl Fn(&A) -> Result<Box<dyn Fn() -> B>, String>", 1),
        ("type Err = String;", 1),
        ("Result<BTreeMap<String, String>, Problem>", 0),
        ("Result<Option<HashMap<String, String>>>", 0),
        ("Result<(A, String)>", 0),
        ("    // a Result<(), String>", 0),
    ] {
        assert_eq!(text_errors(code), count, "{code}");
    }
}

/// The picture of the crates in docs/architecture.md is drawn from `cargo metadata`.
#[test]
fn the_picture_of_the_crates_is_drawn_from_the_manifests() {
    const BEGIN: &str = "<!-- crates -->\n";
    const END: &str = "<!-- end -->";
    let workspace = Workspace::read();
    let mut picture = "```mermaid\nflowchart TD\n".to_owned();
    for (name, (folder, _)) in &workspace.crates {
        let folder = if folder.is_empty() { "src" } else { folder };
        picture.push_str(&format!("    {name}[\"{folder}\"]\n"));
    }
    for name in workspace.crates.keys() {
        let arrows = workspace.arrows(name);
        // Only the longest ways, else it is a ball of wool.
        let beyond: BTreeSet<String> = arrows
            .iter()
            .flat_map(|arrow| workspace.transitive(arrow))
            .collect();
        for arrow in arrows.difference(&beyond) {
            picture.push_str(&format!("    {name} --> {arrow}\n"));
        }
    }
    picture.push_str("```\n");
    let page = repository().join("docs/architecture.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark");
    let (_, after) = rest.split_once(END).expect("the mark has an end");
    let generated = format!("{before}{BEGIN}{picture}{END}{after}");
    expect_generated("architecture.md", &generated);
}
