//! The JSON Schemas of all documents, in docs/schemas. `CARAVAN_WRITE_DOCS=1 cargo test` updates them. The
//! program tests check every document that they read against its schema.

use std::fs;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    change,
    dead_letters::document as dead_letters,
    flow::document as flow,
    images,
    json::{Envelope, Failed},
    logs,
    report::document as report,
    status, topics, version,
};

/// What a command writes to stdout.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Written<T> {
    Result(T),
    Error(Failed),
}

/// The file of each schema without its ending, and its text.
fn schemas() -> Vec<(String, String)> {
    fn text<T: JsonSchema>(title: &str) -> String {
        let generator = SchemaSettings::draft2020_12()
            .for_serialize()
            .into_generator();
        let mut schema = generator.into_root_schema_for::<T>();
        schema.insert("title".to_owned(), json!(title));
        schema.remove("description");
        format!("{:#}\n", schema.as_value())
    }
    fn document<T: JsonSchema>(command: &str) -> (String, String) {
        let text = text::<Written<T>>(&format!("caravan {command} -o json"));
        (command.replace(' ', "-"), text)
    }
    fn lines<T: JsonSchema>(command: &str) -> (String, String) {
        let text = text::<T>(&format!("A line of caravan {command} -o ndjson"));
        (format!("{command}-line"), text)
    }
    vec![
        document::<Envelope<change::Summary, change::Change<'_>>>("up"),
        document::<Envelope<change::Summary, change::Change<'_>>>("down"),
        document::<Envelope<change::Summary, change::Change<'_>>>("restart"),
        document::<Envelope<change::Summary, change::Change<'_>>>("scale"),
        document::<Envelope<status::Summary, status::Status<'_>>>("status"),
        lines::<logs::Line<'_>>("logs"),
        document::<Envelope<topics::TopicCounts, topics::Topics<'_>>>("topics"),
        document::<Envelope<topics::GroupCounts, topics::Groups<'_>>>("groups"),
        document::<report::Document<'_>>("verify"),
        lines::<report::Line<'_>>("verify"),
        document::<flow::TestFlowDocument<'_>>("test-flow"),
        document::<flow::TraceDocument<'_>>("trace"),
        document::<Envelope<dead_letters::Counts, dead_letters::List<'_>>>("dlq list"),
        document::<Envelope<(), dead_letters::Shown<'_>>>("dlq show"),
        document::<Envelope<dead_letters::ReplayCounts, dead_letters::Replay>>("dlq replay"),
        document::<Envelope<dead_letters::PurgeCounts, dead_letters::Purge<'_>>>("dlq purge"),
        document::<report::Document<'_>>("doctor"),
        lines::<report::Line<'_>>("doctor"),
        document::<Envelope<images::Summary, images::Images<'_>>>("images list"),
        document::<Envelope<images::Summary, images::Images<'_>>>("images build"),
        document::<Envelope<images::Summary, images::Images<'_>>>("images save"),
        document::<Envelope<images::Summary, images::Images<'_>>>("images load"),
        document::<Envelope<(), version::Version>>("version"),
    ]
}

#[test]
fn the_published_schemas_are_up_to_date() {
    let schemas = schemas();
    for (name, text) in &schemas {
        // A key of a command's own that is one of all documents would be there twice.
        let schema: Value = serde_json::from_str(text).expect("JSON");
        let valid = jsonschema::validator_for(&schema);
        assert!(
            valid.is_ok(),
            "{name}: {}",
            valid.err().map_or_else(String::new, |e| e.to_string())
        );
        declaration::testing::expect_generated(&format!("schemas/{name}.json"), text);
    }
    let folder = declaration::testing::repository().join("docs/schemas");
    let files = fs::read_dir(folder).expect("docs/schemas").count();
    assert_eq!(files, schemas.len(), "files without a command");
}

/// Every command with `-o json` or `ndjson` has its schema.
#[test]
fn every_command_has_a_schema() {
    fn formats(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        for arg in command
            .get_arguments()
            .filter(|arg| arg.get_id() == "output")
        {
            for format in arg.get_possible_values() {
                match format.get_name() {
                    "json" => found.push(path.replace(' ', "-")),
                    "ndjson" => found.push(format!("{}-line", path.replace(' ', "-"))),
                    _ => {}
                }
            }
        }
        for command in command.get_subcommands() {
            let path = format!("{path} {}", command.get_name());
            formats(command, path.trim(), found);
        }
    }
    let mut found = Vec::new();
    formats(&crate::help::command(), "", &mut found);
    // Its result is a Compose file.
    found.retain(|command| command != "config");
    let mut published: Vec<_> = schemas().into_iter().map(|(name, _)| name).collect();
    found.sort();
    published.sort();
    assert_eq!(found, published);
}

/// The document as JSON, if it is valid by the published schema of its command.
#[track_caller]
pub(super) fn published(command: &str, document: &impl Serialize) -> Value {
    let name = command.replace(' ', "-");
    let schemas = schemas();
    let schema = schemas.iter().find(|(of, _)| *of == name);
    let (_, schema) = schema.expect("a published schema");
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let value = serde_json::to_value(document).expect("JSON");
    let wrong: Vec<_> = validator
        .iter_errors(&value)
        .map(|e| e.to_string())
        .collect();
    assert!(wrong.is_empty(), "{}\n{value:#}", wrong.join("\n"));
    value
}
