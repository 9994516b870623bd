//! Groups of both of Kafka's protocols, the classic one and that of KIP-848, as `groups` lists them.

use rdkafka::consumer::Consumer;
use serde_json::Value;

use crate::support::{eventually, kafka::member, pipeline::Pipeline};

const TOPIC: &str = "purchase-created";

/// With a member, without one, and not there at all.
pub(crate) fn both_protocols_are_described(pipeline: &Pipeline) {
    assert_eq!(listed(pipeline, "some-classic"), None);
    assert_eq!(listed(pipeline, "some-consumer"), None);
    for (word, instance) in [("classic", Some("some-instance")), ("consumer", None)] {
        let name = &format!("some-{word}");
        let consumer = member(pipeline, name, TOPIC, word, instance);
        let group = eventually("its member has all partitions", || {
            // What it has been given it takes when it is polled.
            drop(consumer.poll(std::time::Duration::from_millis(100)));
            let group = listed(pipeline, name)?;
            let held = group["members"][0]["partitions"].as_array();
            held.is_some_and(|held| held.len() == 3).then_some(group)
        });
        assert_eq!(group["state"], "Stable", "{group}");
        assert_eq!(group["protocol"], word, "{group}");
        let members = group["members"].as_array().unwrap();
        assert_eq!(members.len(), 1, "{group}");
        assert_eq!(members[0]["clientId"], "some-client", "{group}");
        assert_eq!(members[0]["instance"].as_str(), instance, "{group}");
        assert!(
            members[0]["host"].as_str().unwrap().contains('.'),
            "{group}"
        );
        // So a static member leaves, too.
        consumer.unsubscribe();
        let group = eventually("its member has left", || {
            drop(consumer.poll(std::time::Duration::from_millis(100)));
            listed(pipeline, name).filter(|group| group["members"] == Value::Array(vec![]))
        });
        assert_eq!(group["state"], "Empty", "{group}");
        assert_eq!(group["protocol"], word, "{group}");
    }
}

/// The group of this name in `groups -o json`, if it exists.
fn listed(pipeline: &Pipeline, name: &str) -> Option<Value> {
    let document = pipeline.caravan(&["groups", "-o", "json"]).expect(0).json();
    let groups = document["groups"].as_array().unwrap();
    groups.iter().find(|g| g["group"] == name).cloned()
}
