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
