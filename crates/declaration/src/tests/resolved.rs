//! `config` prints what `docker compose config` prints.

use std::fs;

use serde_json::Value;

use crate::testing::{TestDirectory, corpus, shown};

/// Each `tests/declarations/resolved/NAME/compose.yaml`, with `overlay.yaml` if that exists, resolves to the
/// `expected.json` that docker compose printed for it (`script/compat fixtures --write-expected`).
#[test]
fn projects_are_resolved_as_docker_compose_does() {
    let all = corpus().join("resolved");
    let mut number = 0;
    for entry in fs::read_dir(all).expect("the projects") {
        let directory = entry.expect("an entry").path();
        let mut place = TestDirectory::new();
        place.request.cwd.clone_from(&directory);
        let files = ["compose.yaml", "overlay.yaml"].into_iter();
        let files = files.filter(|name| directory.join(name).exists());
        place.request.files = files.map(Into::into).collect();
        place.set("OUTER", "outer");
        let config = place.source().config();
        let config = config.unwrap_or_else(|error| panic!("{}", shown(&error)));
        let config = format!("{config:#}").replace(&directory.display().to_string(), "/here");
        let expected = fs::read_to_string(directory.join("expected.json")).expect("a file");
        let expected: Value = serde_json::from_str(&expected).expect("JSON");
        let expected = format!("{expected:#}");
        let differing = config.lines().zip(expected.lines()).find(|(a, b)| a != b);
        assert!(
            config == expected,
            "{}: {differing:?} in\n{config}",
            directory.display()
        );
        number += 1;
    }
    assert!(number >= 5, "the projects are there");
}
