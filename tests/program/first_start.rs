//! The stand-in for Postgres on an empty volume: what its variables say is what there is, whether the
//! cluster is copied or made.

use std::fs;

use crate::support::{eventually, pipeline::Pipeline};

const DECLARATION: &str = r#"
x-caravan: {}
x-database: &database
  image: caravan.local/postgres:15
  stop_grace_period: 5s
  secrets: [password]
  x-caravan: {image-from: postgres, startup: listening on IPv4 address}
services:
  odd:
    <<: *database
    environment: &odd
      POSTGRES_USER: 'o"dd'
      POSTGRES_DB: "it's"
      POSTGRES_PASSWORD_FILE: /run/secrets/password
  twin:
    <<: *database
    environment: *odd
  plain:
    <<: *database
    environment: {POSTGRES_PASSWORD_FILE: /run/secrets/password}
  made:
    <<: *database
    environment:
      POSTGRES_USER: me
      POSTGRES_PASSWORD_FILE: /run/secrets/password
      POSTGRES_INITDB_ARGS: --data-checksums
    configs: [{source: rows, target: /docker-entrypoint-initdb.d/rows.sql}]
secrets:
  password: {environment: PASSWORD}
configs:
  rows: {content: "CREATE TABLE rows AS SELECT 7 AS x;"}
"#;

const PASSWORD: &str = "pa\"s's wörd$";

/// Its startup line comes a little before it answers.
fn wait(pipeline: &Pipeline, service: &str) {
    let container = pipeline.container(service);
    let ready = format!("docker exec {container} pg_isready -h 127.0.0.1");
    eventually("it answers", || {
        (pipeline.shell(&ready).code == 0).then_some(())
    });
}

/// One line of `psql`, over TCP with a password, else over the socket without.
fn psql(pipeline: &Pipeline, service: &str, user: &str, over: Option<&str>, sql: &str) -> String {
    let password = format!("PGPASSWORD={}", over.unwrap_or_default());
    let host = over.map_or("/var/run/postgresql", |_| "127.0.0.1");
    let container = pipeline.container(service);
    let line = [
        "psql", "-Atq", "-h", host, "-U", user, "-c", sql, "postgres",
    ];
    let args = [&["exec", "-e", &password, &container][..], &line].concat();
    pipeline.docker(&args).trim().to_owned()
}

#[test]
fn user_password_database_and_number_are_the_volumes_own() {
    let pipeline = Pipeline::declared("first-start", &[("PASSWORD", PASSWORD)]);
    fs::write(pipeline.directory().join("compose.yaml"), DECLARATION).unwrap();
    pipeline.with_images(&["up"]);
    let databases = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database";
    let owner = "SELECT DISTINCT rolname FROM pg_database JOIN pg_roles r ON r.oid = datdba";
    let logins = "SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolcanlogin";
    for (service, user, expected) in [
        ("odd", "o\"dd", "it's postgres template0 template1"),
        ("twin", "o\"dd", "it's postgres template0 template1"),
        ("plain", "postgres", "postgres template0 template1"),
        ("made", "me", "me postgres template0 template1"),
    ] {
        wait(&pipeline, service);
        let ask = |sql: &str| psql(&pipeline, service, user, None, sql);
        assert_eq!(ask(databases), expected, "{service}");
        assert_eq!(ask(owner), user, "{service}");
        assert_eq!(ask(logins), user, "{service}");
        assert_eq!(
            psql(&pipeline, service, user, Some(PASSWORD), "SELECT 1"),
            "1"
        );
        let container = pipeline.container(service);
        let wrong = format!(
            "docker exec -e PGPASSWORD=wrong {container} psql -h 127.0.0.1 -U '{user}' postgres"
        );
        let refused = pipeline.shell(&wrong).expect(2).stderr;
        assert!(
            refused.contains("password authentication failed"),
            "{refused}"
        );
    }
    let number = "SELECT system_identifier FROM pg_control_system()";
    let (one, other) = ("odd", "twin");
    let [one, other] = [one, other].map(|s| psql(&pipeline, s, "o\"dd", None, number));
    assert_ne!(one, other, "two volumes of one image are two clusters");
    let checksums = |service, user| psql(&pipeline, service, user, None, "SHOW data_checksums");
    assert_eq!(checksums("made", "me"), "on");
    assert_eq!(checksums("plain", "postgres"), "off");
    let rows = [
        "exec",
        &pipeline.container("made"),
        "psql",
        "-Atq",
        "-h",
        "/var/run/postgresql",
    ];
    let rows =
        pipeline.docker(&[&rows[..], &["-U", "me", "-c", "SELECT x FROM rows", "me"]].concat());
    assert_eq!(rows.trim(), "7");

    // What is there stays, over a crash of the first server as well.
    let keep = "CREATE TABLE kept AS SELECT 8 AS x";
    psql(&pipeline, "odd", "o\"dd", None, keep);
    pipeline.docker(&["kill", "-s", "KILL", &pipeline.container("odd")]);
    pipeline.caravan(&["up"]).expect(0);
    wait(&pipeline, "odd");
    assert_eq!(
        psql(&pipeline, "odd", "o\"dd", None, "SELECT x FROM kept"),
        "8"
    );
    assert_eq!(psql(&pipeline, "odd", "o\"dd", None, number), one);
}
