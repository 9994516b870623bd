use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use super::{ensure_secrets, lock, read_results, remove_files, store_results, write_files};
use declaration::{Pipeline, testing::TestDirectory};
use diagnostics::Kind;

const DECLARATION: &str = "\
x-caravan:
  secrets: [DB_PASSWORD, TOKEN]
services:
  db:
    image: db
    environment: {PASSWORD: '${DB_PASSWORD}'}
    volumes: ['data:/data']
volumes:
  data:
";

fn declared() -> TestDirectory {
    let place = TestDirectory::new();
    place.write("compose.yaml", DECLARATION);
    place
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn secrets_are_generated_once_and_only_the_owner_can_read_them() {
    let place = declared();
    let source = place.source();
    assert_eq!(source.resolve().expect_err("no secrets").kind, Kind::Usage);
    assert_eq!(
        source.volume_names().expect("known without secrets"),
        ["shop2_data"]
    );

    let made = ensure_secrets(&source, &[]).expect("written");
    assert_eq!(made, ["DB_PASSWORD", "TOKEN"]);
    assert_eq!(mode(source.env_path()), 0o600);
    let pipeline = source.resolve().expect("complete");
    let password = &pipeline.services[0].environment["PASSWORD"];
    assert_eq!(password.len(), 32);
    assert!(pipeline.secrets.contains(password) && pipeline.secrets.len() == 2);
    assert_ne!(pipeline.secrets[0], pipeline.secrets[1]);

    let text = fs::read_to_string(source.env_path()).expect("a file");
    assert!(
        ensure_secrets(&source, &["shop2_data".to_owned()])
            .expect("nothing to do")
            .is_empty()
    );
    assert_eq!(fs::read_to_string(source.env_path()).expect("a file"), text);
    let left: Vec<_> = fs::read_dir(source.state_dir())
        .expect("a directory")
        .collect();
    assert_eq!(left.len(), 2, "the declaration and .env: {left:?}");
}

#[test]
fn only_missing_secrets_are_appended_to_an_existing_file() {
    let mut place = declared();
    place.write(".env", "# mine\nDB_PASSWORD=chosen\nTOKEN=");
    let source = place.source();
    assert_eq!(ensure_secrets(&source, &[]).expect("written"), ["TOKEN"]);
    let text = fs::read_to_string(source.env_path()).expect("a file");
    assert!(
        text.starts_with("# mine\nDB_PASSWORD=chosen\nTOKEN=\n\n# Written by"),
        "{text}"
    );
    assert_eq!(source.resolve().expect("complete").secrets[0], "chosen");
    place.set("TOKEN", "");
    let error = ensure_secrets(&place.source(), &[]).expect_err("the environment goes first");
    assert_eq!(
        error.what,
        "TOKEN is set to an empty value in the environment"
    );
}

#[test]
fn a_data_volume_without_its_secret_is_an_error() {
    let place = declared();
    place.write(".env", "TOKEN=t\n");
    let error = ensure_secrets(&place.source(), &["shop2_data".to_owned()]).expect_err("lost");
    assert_eq!(error.kind, Kind::Usage);
    insta::assert_snapshot!(place.shown(&error), @r"
    error: a data volume without its secret: DB_PASSWORD is not set
      volume shop2_data exists
      /Shop 2/.env does not set it
      a new password would not open the data that the old one protects
    next: restore /Shop 2/.env, then: caravan up
    ");
    let text = fs::read_to_string(place.path(".env")).expect("a file");
    assert_eq!(text, "TOKEN=t\n");
}

#[test]
fn the_directory_of_the_embedded_pipeline_is_created_with_mode_0700() {
    let place = TestDirectory::new();
    let source = place.source();
    assert_eq!(ensure_secrets(&source, &[]).expect("written").len(), 4);
    assert_eq!(mode(source.state_dir()), 0o700);
    source.resolve().expect("complete");
}

#[tokio::test]
async fn the_lock_has_one_holder_at_a_time() {
    let place = declared();
    let source = place.source();
    let held = lock(&source, None).await.expect("free");
    let error = lock(&source, None).await.expect_err("held");
    assert_eq!(error.kind, Kind::NotRight);
    let pid = std::process::id();
    assert_eq!(error.evidence, [format!("process {pid} has the lock")]);
    let brief = Duration::from_millis(50);
    let error = lock(&source, Some(brief)).await.expect_err("still held");
    assert_eq!(error.kind, Kind::Deadline);
    let long = Some(Duration::from_secs(30));
    let (waited, ()) = tokio::join!(lock(&source, long), async {
        tokio::time::sleep(brief).await;
        drop(held);
    });
    drop(waited.expect("released in time"));
    drop(lock(&source, None).await.expect("free again"));
}

#[tokio::test]
async fn a_lock_that_is_a_link_is_refused_and_its_target_stays() {
    let place = declared();
    let source = place.source();
    place.write("victim", "precious");
    let path = source.state_dir().join(".caravan-shop2.lock");
    std::os::unix::fs::symlink(place.path("victim"), &path).expect("linked");
    let error = lock(&source, None).await.expect_err("a link");
    assert!(error.what.starts_with("cannot lock "), "{error}");
    assert_eq!(error.evidence, ["it is a symbolic link"]);
    let victim = fs::read_to_string(place.path("victim")).expect("there");
    assert_eq!(victim, "precious");
}

#[test]
fn mounted_files_are_readable_and_their_directory_is_private() {
    let mut place = TestDirectory::new();
    let declaration = "x-caravan: {}\nservices:\n  app: {image: a, secrets: [token], configs: [{source: run, mode: 0555}]}\n\
                       secrets: {token: {environment: TOKEN}}\nconfigs: {run: {content: '#!/bin/sh'}}\n";
    place.write("compose.yaml", declaration);
    for token in ["first", "second"] {
        place.set("TOKEN", token);
        let source = place.source();
        write_files(&source, &place.pipeline()).expect("written");
        let directory = source.files_dir();
        let (secret, script) = (
            directory.join("secrets/token"),
            directory.join("configs/run.x"),
        );
        assert_eq!(fs::read_to_string(&secret).expect("readable"), token);
        assert_eq!(
            (mode(&directory), mode(&secret), mode(&script)),
            (0o700, 0o444, 0o555)
        );
    }
    let source = place.source();
    remove_files(&source, true).expect("removed");
    assert!(!source.files_dir().exists());
    remove_files(&source, true).expect("removed already");
}

#[test]
fn a_declared_secret_file_is_written_from_its_variable_and_removed_with_the_volumes() {
    let mut place = TestDirectory::new();
    let declaration = "name: shop\nx-caravan: {secrets: [TOKEN]}\nservices:\n  app: {image: a, secrets: [token, other]}\n\
                       secrets:\n  token: {file: '.caravan-${COMPOSE_PROJECT_NAME}/token', x-caravan: {from: TOKEN}}\n\
                       \u{20} other: {environment: OTHER}\n";
    place.write("compose.yaml", declaration);
    place.set("TOKEN", "first");
    place.set("OTHER", "more");
    let (source, pipeline) = (place.source(), place.pipeline());
    assert_eq!(pipeline.secrets, ["first", "more"]);
    write_files(&source, &pipeline).expect("written");
    let token = place.path(".caravan-shop/token");
    assert_eq!(pipeline.services[0].secrets_and_configs[0].path, token);
    assert_eq!(fs::read_to_string(&token).expect("readable"), "first");
    assert_eq!(mode(&token), 0o444);
    let gitignore = place.path(".caravan-shop/.gitignore");
    assert_eq!(fs::read_to_string(gitignore).expect("readable"), "*\n");

    place.set("TOKEN", "second");
    let changed = place.pipeline();
    let digest = |pipeline: &Pipeline| pipeline.services[0].secrets_and_configs[0].digest;
    assert_ne!(digest(&changed), digest(&pipeline), "drift is seen");
    write_files(&source, &changed).expect("written");
    assert_eq!(fs::read_to_string(&token).expect("readable"), "second");

    remove_files(&source, true).expect("removed");
    assert!(token.exists() && !place.path(".caravan-shop/secrets").exists());
    remove_files(&source, false).expect("removed");
    assert!(!source.files_dir().exists());
}

/// The results of one rule, with a counterexample `id`.
fn results(id: &str) -> proof::checks::StoredResults {
    let counterexample = serde_json::json!({"id": id, "since": "2026-01-01T00:00:00Z"});
    let rule = serde_json::json!({
        "basis": null, "read": [], "sampled": null, "dismissed": [],
        "violated": [{"window": null, "found": [counterexample]}],
    });
    serde_json::from_value(serde_json::json!({ "rules": { "paid": rule } })).expect("results")
}

#[test]
fn results_are_kept_for_their_owner_alone_until_the_data_is_removed() {
    let place = declared();
    let source = place.source();
    let none = proof::checks::StoredResults::default();
    assert_eq!(read_results(&source), (none.clone(), None));
    store_results(&source, &none, results("first")).expect("written");
    assert_eq!(read_results(&source), (results("first"), None));
    let file = source.files_dir().join("verify.json");
    assert_eq!(mode(&file), 0o600);
    remove_files(&source, true).expect("removed");
    assert!(file.exists());
    remove_files(&source, false).expect("removed");
    assert!(!source.files_dir().exists());
}

#[test]
fn results_of_another_process_are_not_overwritten() {
    let place = declared();
    let source = place.source();
    let none = proof::checks::StoredResults::default();
    store_results(&source, &none, results("theirs")).expect("written");
    store_results(&source, &none, none.clone()).expect("written");
    let mut stored = read_results(&source).0;
    assert_eq!(stored.dismiss("paid", "theirs"), Ok(()));
    store_results(&source, &results("theirs"), none).expect("written");
    assert_eq!(
        read_results(&source).0.dismiss("paid", "theirs"),
        Err(Vec::new())
    );
}

#[test]
fn a_broken_file_of_results_counts_as_none_and_says_so() {
    let place = declared();
    let source = place.source();
    let none = proof::checks::StoredResults::default();
    store_results(&source, &none, results("lost")).expect("written");
    let file = source.files_dir().join("verify.json");
    for broken in [
        "{\"version\":1,\"rules\":{\"paid\":",
        "{\"version\":2,\"rules\":{}}",
    ] {
        fs::write(&file, broken).expect("written");
        let (read, why) = read_results(&source);
        assert_eq!(read, none);
        let why = why.expect("a reason");
        assert!(why.contains("verify.json is ignored"), "{why}");
        store_results(&source, &none, results("next")).expect("written");
        assert_eq!(read_results(&source), (results("next"), None));
    }
}
