use crate::find_service;
use crate::testing::{TestDirectory, shown};

#[test]
fn a_service_is_found_by_a_unique_part_of_its_name() {
    let place = TestDirectory::new();
    place.write(
        "compose.yaml",
        "x-caravan: {}\nservices:\n  kafka: {image: k}\n  kafka-init: {image: k}\n  \
         payment-service: {image: k}\n  admin-service: {image: k}\n  \
         purchase-worker: {image: k}\n  allocation-worker: {image: k}\n",
    );
    let pipeline = place.pipeline();
    let found = |given: &str| find_service(&pipeline, given).map(|s| s.name.clone());
    assert_eq!(found("kafka").expect("exact"), "kafka");
    assert_eq!(found("kafka-").expect("a prefix"), "kafka-init");
    assert_eq!(found("allocation").expect("a prefix"), "allocation-worker");
    assert_eq!(found("Payment").expect("a prefix"), "payment-service");
    assert_eq!(found("init").expect("a part"), "kafka-init");
    let error = |given: &str| shown(&found(given).expect_err("no service"));
    insta::assert_snapshot!(error("worker"), @r"
    error: `worker` is more than one service
      it could be purchase-worker, allocation-worker
    ");
    insta::assert_snapshot!(error("alocation"), @r"
    error: there is no service `alocation`
      there is kafka, kafka-init, payment-service, admin-service, purchase-worker, allocation-worker
    next: did you mean `allocation-worker`?
    ");
    insta::assert_snapshot!(error("nothing"), @r"
    error: there is no service `nothing`
      there is kafka, kafka-init, payment-service, admin-service, purchase-worker, allocation-worker
    ");
    insta::assert_snapshot!(error(""), @r"
    error: there is no service ``
      there is kafka, kafka-init, payment-service, admin-service, purchase-worker, allocation-worker
    ");
}
