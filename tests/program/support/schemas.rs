//! Every JSON document that a scenario reads is checked against the published schema of its command.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Fails the test if `stdout` consists of documents or lines of Caravan that their schemas do not allow. What is
/// cut, because the program was killed, is not checked.
#[track_caller]
pub(crate) fn check(stdout: &str, code: i32) {
    if let Ok(document) = serde_json::from_str::<Value>(stdout) {
        check_document(&document, code);
        return;
    }
    if stdout.starts_with("{\"type\":") {
        let lines = stdout
            .lines()
            .map_while(|line| serde_json::from_str(line).ok());
        lines.for_each(|line| check_line(&line));
    }
}

#[track_caller]
fn check_document(document: &Value, code: i32) {
    if document["type"].is_string() {
        return check_line(document);
    }
    if document["schemaVersion"].is_null() {
        // The JSON Schema of the declaration, and what other programs write.
        return;
    }
    // An error of a command line that names none, or one without a document of its own.
    let name = document["command"].as_str().unwrap_or("version");
    let name = name.replace(' ', "-");
    match is_published(&name) {
        true => validate(&name, document),
        false => validate("version", document),
    }
    if let Some(exit_code) = document["error"]["exitCode"].as_i64() {
        assert_eq!(exit_code, i64::from(code), "{document:#}");
    }
}

#[track_caller]
fn check_line(line: &Value) {
    let command = match line["type"].as_str() {
        Some("finding") => "verify",
        Some("line") => "logs",
        _ => match line["command"].as_str() {
            Some(command @ ("verify" | "doctor" | "logs")) => command,
            // An error of a command line that names no command.
            None if line["schemaVersion"].is_number() => "logs",
            _ => return,
        },
    };
    validate(&format!("{command}-line"), line);
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schemas/{name}.json"))
}

fn is_published(name: &str) -> bool {
    path(name).exists()
}

#[track_caller]
fn validate(name: &str, value: &Value) {
    let path = path(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let schema: Value = serde_json::from_str(&text).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<_> = validator
        .iter_errors(value)
        .map(|e| e.to_string())
        .collect();
    assert!(wrong.is_empty(), "{name}: {}\n{value:#}", wrong.join("\n"));
}
