//! Active services of a pipeline.

use crate::Pipeline;
use crate::testing::TestDirectory;

fn place() -> TestDirectory {
    let place = TestDirectory::new();
    place.write(
        "compose.yaml",
        "x-caravan: {}\nservices:\n  app: {image: a}\n  debug: {image: a, profiles: [debug]}\n  \
         load: {image: a, profiles: [load, test]}\n",
    );
    place
}

fn active(pipeline: &Pipeline) -> Vec<&str> {
    pipeline.services.iter().map(|s| s.name.as_str()).collect()
}

#[test]
fn flags_override_the_variable_and_a_star_activates_all() {
    let mut place = place();
    assert_eq!(active(&place.pipeline()), ["app"]);
    place.write(".env", "COMPOSE_PROFILES=debug, test\n");
    assert_eq!(active(&place.pipeline()), ["app", "debug", "load"]);
    place.set("COMPOSE_PROFILES", "debug");
    assert_eq!(active(&place.pipeline()), ["app", "debug"]);
    place.request.profiles = vec![String::new()];
    assert_eq!(active(&place.pipeline()), ["app", "debug"]);
    place.request.profiles = vec!["load".to_owned()];
    assert_eq!(active(&place.pipeline()), ["app", "load"]);
    assert_eq!(
        place.source().invocation().command("up"),
        "caravan --profile load up"
    );
    place.request.profiles = vec!["*".to_owned()];
    assert_eq!(active(&place.pipeline()), ["app", "debug", "load"]);
}

#[test]
fn a_service_named_in_full_is_activated() {
    let mut place = place();
    place.request.services = vec!["app".to_owned()];
    assert_eq!(active(&place.pipeline()), ["app"]);
    place.request.services = vec!["load".to_owned()];
    let pipeline = place.pipeline();
    assert_eq!(active(&pipeline), ["app", "load"]);
    assert_eq!(pipeline.inactive[0].name, "debug");
}
