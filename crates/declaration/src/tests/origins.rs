//! Comparison of a declaration with the recorded origin of a project.

use std::{fs, path::PathBuf};

use crate::testing::TestDirectory;
use crate::{Origin, OtherOrigin, RecordedOrigin, Source};

const DECLARATION: &str =
    "name: shop\nx-caravan: {secrets: [PASSWORD]}\nservices: {web: {image: web}}\n";

/// Two directories with the same declaration and these secrets; the project was started from the first.
fn two(first: &str, second: &str) -> TestDirectory {
    let mut place = TestDirectory::new();
    for (name, secret) in [("first", first), ("second", second)] {
        place.write(&format!("{name}/compose.yaml"), DECLARATION);
        place.write(&format!("{name}/.env"), &format!("PASSWORD={secret}\n"));
    }
    place.request.cwd = place.path("second");
    place
}

fn first(place: &TestDirectory) -> PathBuf {
    place.request.cwd.with_file_name("first")
}

fn recorded(place: &TestDirectory) -> RecordedOrigin {
    RecordedOrigin {
        origin: Origin::Files(vec![first(place).join("compose.yaml")]),
        state_dir: first(place),
        env_file: None,
    }
}

/// The result of comparing `source` with itself.
fn itself(source: &Source) -> Option<OtherOrigin> {
    source.compare(&RecordedOrigin {
        origin: source.origin.clone(),
        state_dir: source.state_dir().to_path_buf(),
        env_file: None,
    })
}

#[test]
fn a_directory_with_other_secrets_is_another_origin() {
    let place = two("one", "two");
    let elsewhere = place.source().compare(&recorded(&place)).expect("differs");
    assert_eq!(elsewhere.secrets, ["PASSWORD"]);
    let file = first(&place).join("compose.yaml").display().to_string();
    assert_eq!(
        elsewhere.invocation.command("up"),
        format!("caravan -f '{file}' -p shop up")
    );
    assert_eq!(elsewhere.env_path, first(&place).join(".env"));
    fs::remove_file(place.path(".env")).expect("was there");
    let lacking = place.source().compare(&recorded(&place)).expect("differs");
    assert_eq!(lacking.secrets, ["PASSWORD"]);
}

#[test]
fn the_same_secrets_make_the_same_project() {
    let mut place = two("one", "one");
    assert!(place.source().compare(&recorded(&place)).is_none());
    assert!(itself(&place.source()).is_none());
    // The environment overrides both files.
    let mut place_set = two("one", "two");
    place_set.set("PASSWORD", "of the environment");
    let source = place_set.source();
    assert!(source.compare(&recorded(&place_set)).is_none());
    // A declaration with another text differs, even if its secrets are equal.
    place.write(
        "compose.yaml",
        &DECLARATION.replace("image: web", "image: web2"),
    );
    let other = place.source().compare(&recorded(&place)).expect("differs");
    assert!(other.secrets.is_empty());
    place.request.files = vec![first(&place).join("compose.yaml")];
    assert!(place.source().compare(&recorded(&place)).is_none());
}

#[test]
fn a_missing_origin_is_not_compared() {
    let place = two("one", "two");
    let project_directory = RecordedOrigin {
        state_dir: place.home(),
        ..recorded(&place)
    };
    assert!(place.source().compare(&project_directory).is_none());
    fs::write(first(&place).join("compose.yaml"), "services: {}\n").expect("written");
    assert!(
        place.source().compare(&recorded(&place)).is_none(),
        "not Caravan's"
    );
    fs::rename(first(&place), place.request.cwd.with_file_name("moved")).expect("moved");
    assert!(place.source().compare(&recorded(&place)).is_none());
}

#[test]
fn files_over_the_same_directory_are_the_same_project() {
    let mut place = two("one", "one");
    place.write("caravan.yaml", "x-caravan: {topics: ['a:1:1d']}\n");
    place.request.files = vec!["compose.yaml".into(), "./caravan.yaml".into()];
    let compose = RecordedOrigin {
        origin: Origin::Files(vec![place.path("compose.yaml")]),
        state_dir: place.request.cwd.clone(),
        env_file: None,
    };
    assert!(place.source().compare(&compose).is_none());
    let link = place.request.cwd.with_file_name("link");
    std::os::unix::fs::symlink(&place.request.cwd, &link).expect("linked");
    place.request.cwd = link;
    assert!(place.source().compare(&compose).is_none());
}

#[test]
fn another_file_of_variables_is_another_origin() {
    let mut place = two("one", "two");
    place.write("staging", "PASSWORD=staging\n");
    let staging = RecordedOrigin {
        origin: Origin::Files(vec![place.path("compose.yaml")]),
        state_dir: place.request.cwd.clone(),
        env_file: Some(place.path("staging")),
    };
    let elsewhere = place.source().compare(&staging).expect("differs");
    let command = elsewhere.invocation.command("verify");
    assert!(command.contains("/staging' -p shop verify"), "{command}");
    place.request.env_file = Some("staging".into());
    assert!(place.source().compare(&staging).is_none());
}

#[test]
fn the_command_line_of_the_shipped_pipeline_has_its_state_home() {
    let place = two("one", "two");
    let state = |home: PathBuf| {
        let state = home.join("caravan/shop");
        fs::create_dir_all(&state).expect("made");
        let secrets = ["POSTGRES_PASSWORD", "REDIS_PASSWORD", "PAYMENT_TOKEN"];
        let lines: String = secrets.map(|name| format!("{name}=secret\n")).concat();
        fs::write(state.join(".env"), lines).expect("written");
        RecordedOrigin {
            origin: Origin::Embedded,
            state_dir: state,
            env_file: None,
        }
    };
    let here = state(place.home().join(".local/state"));
    let here = place.source().compare(&here).expect("differs");
    let command = here.invocation.command("up");
    assert_eq!(command, "caravan -f embedded -p shop up");
    let there = state(place.home().join("other"));
    let there = place.source().compare(&there).expect("differs");
    let home = place.home().join("other").display().to_string();
    let command = there.invocation.command("up");
    let prefix = format!("XDG_STATE_HOME={home} ");
    assert!(command.starts_with(&prefix), "{command}");
    assert!(
        command.ends_with("caravan -f embedded -p shop up"),
        "{command}"
    );
}
