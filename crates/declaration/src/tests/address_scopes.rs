use crate::testing::{TestDirectory, shipped};
use crate::{Needs, Pipeline};

/// A pipeline on two networks, with these addresses.
fn declared(kafka: &str, postgres: &str, http: &str) -> Pipeline {
    let place = TestDirectory::new();
    let text = format!(
        "
name: shop
x-caravan:
  kafka: {{service: kafka, bootstrap: '{kafka}'}}
  postgres: {{service: db, url: 'postgres://shop:p@{postgres}/shop'}}
services:
  kafka: {{image: k, hostname: broker, networks: [events]}}
  db: {{image: p, container_name: the-db, networks: {{data: {{aliases: [database]}}}}}}
  web: {{image: w, scale: 2, networks: [events, data], x-caravan: {{http: 'http://{http}'}}}}
  bare: {{image: b, network_mode: host}}
networks: {{events: {{}}, data: {{name: shared, external: true}}}}
"
    );
    place.write("compose.yaml", &text);
    place.pipeline()
}

#[test]
fn an_address_has_the_scope_of_its_host() {
    let cases: [(&str, &str, &str, &[&str]); 9] = [
        ("localhost:1", "127.0.0.1:2", "[::1]:3", &[]),
        ("kafka.example:1", "10.0.0.7", "shop.example", &[]),
        ("kafka:1", "db.example", "shop.example", &["shop_events"]),
        ("broker:1,Kafka:1", "db", "web", &["shop_events", "shared"]),
        (
            "a.example:1,shop-kafka:2",
            "10.0.0.7",
            "b.example",
            &["shop_events"],
        ),
        ("k.example:1", "database:5432", "w.example", &["shared"]),
        ("k.example:1", "the-db", "w.example", &["shared"]),
        (
            "k.example:1",
            "p.example",
            "shop-web-2:80",
            &["shop_events", "shared"],
        ),
        // The first has no name in any network; there is no third replica.
        ("bare:1", "shop-db", "shop-web-3", &[]),
    ];
    for (kafka, postgres, http, networks) in cases {
        let pipeline = declared(kafka, postgres, http);
        let inside = pipeline.networks_inside(Needs::Everything);
        assert_eq!(inside, networks, "{kafka} {postgres} {http}");
    }
}

#[test]
fn a_command_uses_the_networks_of_the_addresses_that_it_needs() {
    let pipeline = declared("kafka.example:1", "db", "web");
    assert!(pipeline.networks_inside(Needs::Kafka).is_empty());
    let shipped = shipped();
    assert!(shipped.networks_inside(Needs::Everything).is_empty());
    assert!(shipped.addresses().len() == 5 && !shipped.is_inside("localhost:29092"));
}

#[test]
fn a_pipeline_is_unchanged_by_serialization() {
    for pipeline in [shipped(), declared("kafka:1", "db", "web")] {
        let text = serde_json::to_string(&pipeline).expect("writes");
        let there: Pipeline = serde_json::from_str(&text).expect("reads");
        assert_eq!(format!("{there:?}"), format!("{pipeline:?}"));
    }
}
