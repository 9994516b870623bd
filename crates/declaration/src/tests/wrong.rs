use std::fs;

use crate::testing::{TestDirectory, corpus};
use diagnostics::Kind;

/// Each `tests/declarations/NAME.yaml` has another fault; `NAME.snap` beside it is the shown error.
#[test]
fn every_wrong_declaration_is_refused_with_file_line_column_and_key() {
    let mut names: Vec<_> = fs::read_dir(corpus())
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    names.sort();
    assert!(names.len() > 30, "the corpus is there");
    for path in names {
        let text = fs::read_to_string(&path).expect("a declaration");
        let mut place = TestDirectory::new();
        place.write("compose.yaml", &text);
        place.request.files = vec!["compose.yaml".into()];
        place.set("TOKEN", "hunter2");
        let error = place.error();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        assert_eq!(error.kind, Kind::Usage, "{name}");
        let shown = place.shown(&error);
        assert!(!shown.contains("hunter2"), "{name} shows a secret: {shown}");
        insta::with_settings!({
            snapshot_path => corpus(),
            prepend_module_to_snapshot => false,
            omit_expression => true,
            description => text.lines().next().unwrap_or_default(),
        }, {
            insta::assert_snapshot!(name, shown);
        });
    }
}
