//! The schema and the reader agree: same keys and words in both directions, accepted declarations
//! validate, and declarations of a wrong shape do not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use jsonschema::Validator;
use serde_json::Value;

use super::{literal, schema};
use crate::{
    Request, locate,
    testing::{TestDirectory, corpus, shipped},
    yaml::{self, accepted},
};

fn validator() -> Validator {
    let schema = schema().expect("a schema");
    assert!(
        jsonschema::draft202012::meta::is_valid(&schema),
        "of its draft"
    );
    jsonschema::draft202012::options()
        .build(&schema)
        .expect("a usable schema")
}

/// Validation errors of a declaration.
fn faults(validator: &Validator, text: &str) -> Vec<String> {
    let tree = yaml::parse(text, 0).expect("YAML");
    faults_of(validator, &literal(&tree))
}

fn faults_of(validator: &Validator, json: &Value) -> Vec<String> {
    let faults = validator.iter_errors(json);
    faults
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect()
}

/// A declaration with every mapping and every choice of words at least once.
fn full() -> (TestDirectory, String) {
    let directory = corpus().join("full");
    let mut place = TestDirectory::new();
    let mut text = String::new();
    for entry in fs::read_dir(directory).expect("the full declaration") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let content = fs::read_to_string(&path).expect("a file");
        place.write(&name, &content);
        if name == "compose.yaml" {
            text = content;
        }
    }
    place.set("TOKEN", "hunter2");
    place.request.profiles = vec!["*".to_owned()];
    (place, text)
}

#[test]
fn the_reader_and_the_schema_know_the_same_keys_and_words() {
    let schema = schema().expect("a schema");
    let (place, _) = full();
    drop(accepted::all());
    place.pipeline();
    shipped();
    let known = accepted::all();
    let (mut keys, mut words) = (BTreeMap::new(), BTreeMap::new());
    for (all, accepted, keyword) in [
        (&mut keys, &known.keys, "properties"),
        (&mut words, &known.words, "enum"),
    ] {
        for (path, names) in accepted {
            let places = having(&schema, at(&schema, path), keyword);
            // A word that is one of several forms of a key has no list of its own.
            assert!(
                places.len() == 1 || (keyword == "enum" && places.is_empty()),
                "`{path}` is read, and the schema has it at {places:?}"
            );
            for place in places {
                let known: &mut BTreeSet<String> = all.entry(place).or_default();
                known.extend(names.iter().cloned());
            }
        }
    }
    let mut unlike = Vec::new();
    for place in reachable(&schema) {
        let node = schema.pointer(&place).expect("it was found");
        for (keyword, read) in [("properties", &keys), ("enum", &words)] {
            let Some(said) = node.get(keyword) else {
                continue;
            };
            let said: BTreeSet<String> = match said {
                Value::Object(keys) => keys.keys().cloned().collect(),
                words => serde_json::from_value(words.clone()).expect("words"),
            };
            let read = read.get(&place).cloned().unwrap_or_default();
            if said != read {
                unlike.push(format!(
                    "{place}: only read {:?}, only in the schema {:?}",
                    read.difference(&said).collect::<Vec<_>>(),
                    said.difference(&read).collect::<Vec<_>>()
                ));
            }
        }
    }
    assert!(
        unlike.is_empty(),
        "reader and schema (crates/declaration/src/schema/*.yaml) differ, or tests/declarations/full has not \
         everything:\n{}",
        unlike.join("\n")
    );
}

/// JSON pointers of the subschemas for a path such as `services.app.ports[0]`.
fn at(schema: &Value, path: &str) -> Vec<String> {
    let steps = path.split(['.', '[']).filter(|step| !step.is_empty());
    steps.fold(vec![String::new()], |places, step| {
        let places = places.into_iter().flat_map(|place| expanded(schema, place));
        places
            .filter_map(|place| {
                let node = schema.pointer(&place)?;
                let key = format!("/properties/{step}");
                if step.ends_with(']') {
                    return node.get("items").map(|_| format!("{place}/items"));
                }
                match (node.pointer(&key), node.get("additionalProperties")) {
                    (Some(_), _) => Some(format!("{place}{key}")),
                    (None, Some(Value::Object(_))) => Some(format!("{place}/additionalProperties")),
                    (None, _) => None,
                }
            })
            .collect()
    })
}

fn having(schema: &Value, places: Vec<String>, keyword: &str) -> BTreeSet<String> {
    let places = places.into_iter().flat_map(|place| expanded(schema, place));
    let has = |place: &String| {
        schema
            .pointer(place)
            .is_some_and(|n| n.get(keyword).is_some())
    };
    places.filter(has).collect()
}

/// A subschema, the one it refers to, and its alternatives.
fn expanded(schema: &Value, place: String) -> Vec<String> {
    let node = schema
        .pointer(&place)
        .unwrap_or_else(|| panic!("no {place}"));
    let mut all = Vec::new();
    if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
        all.extend(expanded(
            schema,
            reference.trim_start_matches('#').to_owned(),
        ));
    }
    let alternatives = node.get("anyOf").and_then(Value::as_array);
    for index in 0..alternatives.map_or(0, Vec::len) {
        all.extend(expanded(schema, format!("{place}/anyOf/{index}")));
    }
    all.push(place);
    all
}

/// All reachable subschemas.
fn reachable(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![String::new()];
    while let Some(place) = open.pop() {
        for place in expanded(schema, place) {
            if !found.insert(place.clone()) {
                continue;
            }
            let node = schema.pointer(&place).expect("it was found");
            if let Some(Value::Object(keys)) = node.get("properties") {
                open.extend(keys.keys().map(|key| format!("{place}/properties/{key}")));
            }
            for inner in ["items", "additionalProperties"] {
                if node.get(inner).is_some_and(Value::is_object) {
                    open.push(format!("{place}/{inner}"));
                }
            }
        }
    }
    found
}

#[test]
fn accepted_declarations_validate() {
    let validator = validator();
    let (_, text) = full();
    assert_eq!(faults(&validator, &text), Vec::<String>::new(), "full");
    let embedded = include_str!("../../../../compose/compose.yaml");
    assert_eq!(
        faults(&validator, embedded),
        Vec::<String>::new(),
        "shipped"
    );
    let mut read = 0;
    for entry in fs::read_dir(corpus().join("corpus")).expect("the corpus") {
        let directory = entry.expect("an entry").path();
        if !directory.is_dir() {
            continue;
        }
        let overlay = directory.join("overlay.yaml").exists();
        let mut files = vec![PathBuf::from("compose.yaml")];
        files.extend(overlay.then(|| PathBuf::from("overlay.yaml")));
        let variables = directory.join("variables.env").exists();
        let request = Request {
            files,
            env_file: variables.then(|| PathBuf::from("variables.env")),
            profiles: vec!["*".to_owned()],
            cwd: directory.clone(),
            env: BTreeMap::from([("HOME".to_owned(), "/home/me".to_owned())]),
            ..Request::default()
        };
        let Ok(source) = locate(&request) else {
            continue;
        };
        if source.resolve().is_ok() {
            read += 1;
            let faults = faults_of(&validator, &literal(source.tree()));
            assert_eq!(faults, Vec::<String>::new(), "{}", directory.display());
        }
    }
    assert!(read >= 15, "only {read} stacks were read");
}

/// Declarations with invalid references, files or variables, which a schema cannot detect.
const RIGHT_IN_SHAPE: &[&str] = &[
    "bad-healthcheck",
    "build-and-image-from",
    "build-ca-bundle",
    "build-no-context",
    "build-no-dockerfile",
    "build-remote",
    "build-secret-undefined",
    "build-two-ways",
    "commit-interval",
    "config-twice",
    "config-two-sources",
    "container-name-twice",
    "cycle",
    "effect-without-declaration",
    "extends-cycle",
    "extends-no-file",
    "extends-unknown",
    "external-link-form",
    "external-two-names",
    "flow-entry-one-id",
    "flow-event-id",
    "flow-event-not-consumed",
    "flow-event-one-id",
    "flow-event-pointer",
    "flow-event-topic",
    "flow-placeholder",
    "flow-poison-not-consumed",
    "flow-without-http",
    "inactive-dependency",
    "include-itself",
    "include-no-file",
    "include-remote",
    "invariant-until",
    "link-form",
    "link-unknown",
    "misspelt-extension",
    "mount-mode",
    "mount-twice",
    "network-of-another",
    "never-healthy",
    "no-group",
    "no-image",
    "pattern-regex",
    "port-range",
    "port-taken",
    "project-name",
    "published-range",
    "pull-policy-build",
    "replicas-of-one-name",
    "secret-external",
    "secret-file-missing",
    "secret-file-of-the-users",
    "secret-from-unset",
    "secret-from-without-file",
    "secret-missing",
    "secret-not-shown",
    "secret-undefined",
    "secret-variable-unset",
    "topic-long",
    "two-limits",
    "two-places",
    "unclosed-quote",
    "undeclared-network",
    "undeclared-volume",
    "unknown-dependency",
    "unknown-endpoint-service",
    "unknown-stage-and-table",
    "unknown-topic",
    "variable-required",
    "variable-syntax",
    "volumes-from-mode",
];

#[test]
fn declarations_of_a_wrong_shape_do_not_validate() {
    let validator = validator();
    let mut validated = Vec::new();
    for entry in fs::read_dir(corpus()).expect("the declarations") {
        let path = entry.expect("an entry").path();
        let text = match path.extension() {
            Some(extension) if extension == "yaml" => fs::read_to_string(&path),
            Some(_) | None => continue,
        };
        let Ok(tree) = yaml::parse(&text.expect("a declaration"), 0) else {
            continue;
        };
        if validator.is_valid(&literal(&tree)) {
            validated.push(
                path.file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned(),
            );
        }
    }
    validated.sort();
    assert_eq!(validated, RIGHT_IN_SHAPE);
}
