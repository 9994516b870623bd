//! Each `tests/declarations/corpus/NAME/compose.yaml` (with `overlay.yaml` and `variables.env`, if
//! they exist) is a typical published stack. `NAME.snap` has the requests that Docker would receive
//! for it, or the error.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{Image, Spec, labels};
use declaration::{Dependency, Pipeline, Request, Service, locate};
use diagnostics::Error;

#[test]
fn every_stack_is_read_in_full_or_refused_by_name() {
    let corpus = declaration::testing::corpus().join("corpus");
    let mut directories: Vec<_> = fs::read_dir(&corpus)
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    directories.sort();
    assert!(directories.len() >= 25, "the corpus is there");
    for directory in directories {
        let text = fs::read_to_string(directory.join("compose.yaml")).expect("a declaration");
        let profiles = text.lines().find_map(|l| l.strip_prefix("# profiles: "));
        let read = locate(&request(&directory, profiles)).and_then(|source| source.resolve());
        let shown = match &read {
            Ok(pipeline) => pipeline_text(pipeline),
            Err(error) => error_text(error),
        };
        let shown = shown.replace(&directory.display().to_string(), "/here");
        let shown = shown.replace(&corpus.display().to_string(), "/above");
        let name = directory.file_name().expect("a name").to_string_lossy();
        insta::with_settings!({
            snapshot_path => &corpus,
            prepend_module_to_snapshot => false,
            omit_expression => true,
            description => text.lines().next().unwrap_or_default(),
        }, {
            insta::assert_snapshot!(name.as_ref(), shown);
        });
    }
}

fn request(directory: &Path, profiles: Option<&str>) -> Request {
    let beside = |name: &str| directory.join(name).exists().then(|| PathBuf::from(name));
    let mut files = vec![PathBuf::from("compose.yaml")];
    files.extend(beside("overlay.yaml"));
    Request {
        files,
        env_file: beside("variables.env"),
        profiles: profiles.map_or_else(Vec::new, |p| p.split(',').map(str::to_owned).collect()),
        cwd: directory.to_owned(),
        env: BTreeMap::from([("HOME".to_owned(), "/home/me".to_owned())]),
        ..Request::default()
    }
}

fn error_text(error: &Error) -> String {
    let hint = error.hint.iter().map(|hint| format!("next: {hint}"));
    let lines = std::iter::once(error.what.clone()).chain(error.evidence.clone());
    lines.chain(hint).collect::<Vec<_>>().join("\n")
}

fn pipeline_text(pipeline: &Pipeline) -> String {
    let mut text = format!("project {}\n", pipeline.project);
    let mut add = |line: String| writeln!(text, "{line}").expect("memory");
    pipeline
        .warnings
        .iter()
        .for_each(|w| add(format!("warning: {w}")));
    pipeline
        .secrets
        .iter()
        .for_each(|s| add(format!("masked: {s}")));
    pipeline
        .inactive
        .iter()
        .for_each(|s| add(format!("inactive: {} {:?}", s.name, s.profiles)));
    pipeline.networks.iter().for_each(|n| add(format!("{n:?}")));
    pipeline.volumes.iter().for_each(|v| add(format!("{v:?}")));
    for service in &pipeline.services {
        service_lines(pipeline, service)
            .into_iter()
            .for_each(&mut add);
    }
    text
}

fn service_lines(pipeline: &Pipeline, service: &Service) -> Vec<String> {
    let mut lines = vec![format!("\n{} x {}", service.name, service.replicas)];
    let mut add = |what: &str, value: String| lines.push(format!("  {what}: {value}"));
    service
        .depends_on
        .iter()
        .for_each(|on| add("waits for", dependency(on)));
    if let Some(build) = &service.build {
        add("build", format!("{build:?}"));
    }
    if service.pull_policy != declaration::PullPolicy::Missing {
        add("pull", format!("{:?}", service.pull_policy));
    }
    for grant in &service.secrets_and_configs {
        let written = grant.generated.as_ref();
        let kind = written.map_or("the user's", |w| {
            if w.executable { "executable" } else { "plain" }
        });
        add(
            "given",
            format!("{} from {} ({kind})", grant.target, grant.path.display()),
        );
    }
    let image = Image {
        reference: service.image.clone(),
        id: "sha256:1".to_owned(),
        config: std::sync::Arc::default(),
    };
    let spec = Spec::new(pipeline, service, 1, &image);
    let Ok(Value::Object(body)) = serde_json::to_value(&spec.body) else {
        panic!("a body is an object")
    };
    flat("", &without_computed(body), &mut add);
    lines
}

fn dependency(on: &Dependency) -> String {
    let optional = if on.required { "" } else { ", optional" };
    let restart = if on.restart {
        ", and is restarted with it"
    } else {
        ""
    };
    format!("{} ({:?}{optional}{restart})", on.service, on.condition)
}

/// Leaves out hashes, and labels that repeat other parts of the text.
fn without_computed(mut body: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Object(labels)) = body.get_mut("Labels") {
        labels.retain(|name, _| !name.starts_with("com.docker.compose."));
        labels.remove(labels::HASH);
        labels.remove(labels::STATE_DIR);
        labels.remove(labels::ENV_FILE);
    }
    body
}

/// A line for each part that is not empty.
fn flat(prefix: &str, object: &Map<String, Value>, add: &mut impl FnMut(&str, String)) {
    for (key, value) in object {
        match value {
            Value::Object(inner) if matches!(key.as_str(), "HostConfig" | "NetworkingConfig") => {
                flat(&format!("{key}."), inner, add);
            }
            Value::Object(inner) if inner.is_empty() => {}
            Value::Null => {}
            value => add(&format!("{prefix}{key}"), value.to_string()),
        }
    }
}
