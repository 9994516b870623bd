//! Volumes that are too small, or that the engine cannot make: said at once, with the place where it
//! is put right.

use crate::support::{Ran, pipeline::Pipeline};

/// The shipped pipeline as a file, with something else laid over it.
fn laid_over(name: &str, overlay: &str) -> Pipeline {
    let pipeline = Pipeline::declared(name, &[]);
    pipeline.with_images(&["images", "build"]);
    pipeline.caravan(&["init", "--default"]).expect(0);
    std::fs::write(pipeline.directory().join("overlay.yaml"), overlay).unwrap();
    pipeline
}

const OVER: [&str; 4] = ["-f", "compose.yaml", "-f", "overlay.yaml"];

#[test]
fn a_database_without_room_fails_at_once_and_names_its_volume() {
    let small = "volumes:\n  postgres-data:\n    driver: local\n    driver_opts: {type: tmpfs, \
                 device: tmpfs, o: size=8m}\n";
    let pipeline = laid_over("disk-small", small);
    let Ran { stderr, .. } = pipeline
        .caravan(&[&OVER[..], &["up", "postgres"]].concat())
        .expect(1);
    // Docker would have gone on restarting it, for ever.
    let restarts = pipeline.inspect("postgres", "{{.RestartCount}}");
    let state = pipeline.inspect("postgres", "{{.State.Status}}");
    assert!(
        restarts.parse::<u32>().unwrap() < 5,
        "{restarts}, {state}\n{stderr}"
    );
    let volume = format!("{}_postgres-data", pipeline.project);
    for expected in [
        "error: postgres has no room for its data".to_owned(),
        "No space left on device".to_owned(),
        format!("the volume {volume} was created with size=8m"),
        "next: raise that volume's size in ".to_owned(),
    ] {
        assert!(stderr.contains(&expected), "{expected:?} in:\n{stderr}");
    }
    // As it says, for who has nothing to lose.
    pipeline.docker(&["rm", "-fv", &pipeline.container("postgres")]);
    pipeline.docker(&["volume", "rm", &volume]);
    pipeline.caravan(&["up", "postgres"]).expect(0);
}

/// Its volume was large enough, once.
const SMALL: &str = r#"
x-caravan:
  postgres: {service: db, url: "postgres://app:app@localhost:DB_PORT/app"}
  tables: {orders: {columns: [id]}}
services:
  db:
    image: postgres:15
    environment: {POSTGRES_USER: app, POSTGRES_PASSWORD: app, POSTGRES_DB: app}
    ports: ["127.0.0.1:DB_PORT:5432"]
    volumes: ["data:/var/lib/postgresql/data"]
    healthcheck: {test: [CMD, pg_isready, -U, app, -h, 127.0.0.1], interval: 1s}
    x-caravan: {image-from: postgres, ready: postgres}
volumes:
  data: {driver_opts: {type: tmpfs, device: tmpfs, o: "size=100m"}}
"#;

#[test]
fn a_database_whose_disk_is_full_is_not_writable() {
    let pipeline = Pipeline::declared("disk-full", &[]);
    pipeline.write(
        "compose.yaml",
        &SMALL.replace("DB_PORT", pipeline.port("POSTGRES_PORT")),
    );
    pipeline.with_images(&["up"]);
    let inside = |command: &str| {
        let db = pipeline.container("db");
        pipeline.docker(&["exec", &db, "sh", "-c", command]);
    };
    inside("psql -U app -c 'CREATE TABLE orders (id integer)'");
    pipeline.expect_green();
    inside("cat /dev/zero > /var/lib/postgresql/data/filled 2>/dev/null || true");
    let (ran, not_passing) = pipeline.not_passing();
    assert_eq!(
        (ran.code, not_passing),
        (1, vec!["database.writable".to_owned()])
    );
    let finding = Pipeline::finding(&ran, "database.writable");
    assert_eq!(finding["seen"], "its disk is full: no row can be stored");
    let evidence = finding["evidence"].to_string();
    assert!(evidence.contains("No space left on device"), "{finding:#}");
    inside("rm /var/lib/postgresql/data/filled");
    pipeline.expect_green();
}

#[test]
fn a_driver_that_is_not_there_is_named_with_its_place() {
    let pipeline = laid_over(
        "disk-driver",
        "volumes:\n  postgres-data: {driver: nosuch}\n",
    );
    let Ran { stderr, .. } = pipeline
        .caravan(&[&OVER[..], &["up", "postgres"]].concat())
        .expect(1);
    let place = format!(
        "{}:2:27",
        pipeline.directory().join("overlay.yaml").display()
    );
    for expected in ["this engine has no driver nosuch", &place, "up postgres"] {
        assert!(stderr.contains(expected), "{expected:?} in:\n{stderr}");
    }
}
