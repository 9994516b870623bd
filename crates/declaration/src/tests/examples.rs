use crate::testing::TestDirectory;

/// Its end-to-end test is `tests/program/foreign.rs`.
#[test]
fn the_foreign_example_is_read_without_a_warning_and_publishes_nothing() {
    let mut place = TestDirectory::new();
    place.request.cwd = crate::testing::repository().join("examples/orders");
    place.request.files = vec!["compose.yaml".into(), "caravan.yaml".into()];
    let pipeline = place.pipeline();
    assert_eq!(pipeline.warnings, Vec::<String>::new());
    assert!(pipeline.services.iter().all(|s| s.ports.is_empty()));
    let builds: Vec<_> = pipeline
        .services
        .iter()
        .filter_map(|s| s.build.as_ref())
        .collect();
    assert_eq!(builds.len(), 6);
    for build in builds {
        assert_eq!(build.ca_bundle.as_deref(), Some("ca-bundle.crt"));
    }
    assert_eq!(pipeline.noun().many(), "orders");
    assert_eq!(pipeline.dead_letter_headers.reason, "x-reason");
}
