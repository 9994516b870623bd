use std::collections::HashMap;

use rdkafka::statistics::Broker;

use super::*;

/// Statistics of a client that has brokers of these sources.
pub(crate) fn statistics(sources: &[&str]) -> Statistics {
    let broker = |source: &&str| Broker {
        source: (*source).to_owned(),
        ..Broker::default()
    };
    let brokers = sources.iter().map(|s| ((*s).to_owned(), broker(s)));
    Statistics {
        brokers: brokers.collect::<HashMap<_, _>>(),
        ..Statistics::default()
    }
}

/// What is left to a consumer's client then: librdkafka's own, and a name for one that is gone.
pub(crate) fn lose_all(brokers: &Brokers) {
    for _ in 0..LOST_AFTER {
        brokers.are_in(&statistics(&["internal", "logical"]));
    }
}

#[test]
fn a_client_without_brokers_is_lost() {
    let brokers = Brokers::default();
    for known in [&["configured"][..], &["learned", "logical"]] {
        brokers.are_in(&statistics(known));
        assert!(!brokers.are_lost());
    }
    brokers.are_in(&statistics(&["logical", "internal"]));
    assert!(!brokers.are_lost(), "new ones may be on their way");
    brokers.are_in(&statistics(&["logical"]));
    assert!(brokers.are_lost());
    brokers.are_in(&statistics(&["learned"]));
    assert!(!brokers.are_lost());
}
