//! Faults of the example: how each is brought about and put right.

use super::{deployed, each_is_found_and_healed, fresh, shop::Shop};

/// Brought about in a shop that is green.
pub(super) struct Fault {
    /// What is wrong, for the table of docs/faults.md.
    pub(super) name: &'static str,
    pub(super) seed: fn(&Shop),
    pub(super) heal: fn(&Shop),
    /// What `caravan.yaml` says (from, to) that is not so.
    pub(super) declared: &'static [(&'static str, &'static str)],
    /// The findings that name it; whatever else is red says that it follows from one of these.
    pub(super) roots: &'static [&'static str],
    /// Those others, with what each says.
    pub(super) follow: &'static [(&'static str, &'static str)],
    /// Layers of which nothing can be told for want of the root.
    pub(super) silenced: &'static [&'static str],
}

impl Fault {
    /// Whether a check is skipped for want of the root.
    pub(super) fn silences(&self, id: &str) -> bool {
        let layer = id.split('.').next().unwrap_or(id);
        self.silenced.contains(&layer) && !self.roots.contains(&id)
    }
}

const NONE: Fault = Fault {
    name: "",
    seed: |_| {},
    heal: |_| {},
    declared: &[],
    roots: &[],
    follow: &[],
    silenced: &[],
};

// What a test brings about at once: faults that do not touch one another.

#[test]
fn a_worker_that_is_not_deployed_and_an_unreadable_event() {
    let shop = &deployed();
    each_is_found_and_healed(
        shop,
        &[
            Fault {
                name: "a worker is not deployed",
                seed: |shop| drop(shop.docker(&["rm", "-fv", &shop.container("billing")])),
                heal: up,
                roots: &["containers.billing.running"],
                follow: &[
                    (
                        "containers.billing.as-declared",
                        "containers.billing.running",
                    ),
                    ("containers.billing.restarts", "containers.billing.running"),
                    ("logs.billing.started", "containers.billing.running"),
                    ("logs.billing.clean", "containers.billing.running"),
                    ("logs.billing.errors", "containers.billing.running"),
                    ("groups.billing.assigned", "containers.billing.running"),
                ],
                ..NONE
            },
            Fault {
                name: "an event is not valid JSON",
                seed: |shop| {
                    shop.node(
                        "import { Kafka } from 'kafkajs';
                 const kafka = new Kafka({brokers: ['kafka:9092'], logLevel: 0});
                 const producer = kafka.producer();
                 await producer.connect();
                 await producer.send({topic: 'orders.placed', messages: [{value: '{\"order\":'}]});
                 await producer.disconnect();",
                    );
                },
                heal: purge,
                roots: &["dead-letters.empty"],
                follow: &[],
                ..NONE
            },
        ],
    );
}

#[test]
fn a_fresh_worker_reads_the_wrong_topic() {
    let shop = &fresh();
    each_is_found_and_healed(
        shop,
        &[Fault {
            // The group has committed nothing yet.
            name: "a worker reads the wrong topic",
            seed: |shop| {
                shop.up_with("billing", &[("TOPIC", "orders.placed")]);
                shop.order("wrong-topic");
            },
            heal: up,
            roots: &["containers.billing.as-declared"],
            follow: &[
                ("groups.billing.assigned", "containers.billing.as-declared"),
                ("groups.billing.lag", "containers.billing.as-declared"),
                ("groups.billing.committed", "containers.billing.as-declared"),
            ],
            ..NONE
        }],
    );
}

#[test]
fn a_worker_with_the_wrong_group_and_nothing_in_stock() {
    let shop = &deployed();
    each_is_found_and_healed(
        shop,
        &[
            Fault {
                name: "a worker has the wrong group",
                seed: |shop| shop.up_with("mailer", &[("GROUP", "lantern.newsletter")]),
                heal: up,
                roots: &["containers.mailer.as-declared"],
                follow: &[("groups.mailer.assigned", "containers.mailer.as-declared")],
                ..NONE
            },
            Fault {
                name: "nothing is in stock",
                seed: |shop| {
                    shop.sql("UPDATE stock SET on_hand = 0 WHERE sku = 'sample'");
                    shop.order("out-of-stock");
                },
                heal: |shop| {
                    shop.sql("UPDATE stock SET on_hand = 1000 WHERE sku = 'sample'");
                    shop.sql("DELETE FROM orders WHERE customer = 'out-of-stock'");
                    purge(shop);
                },
                roots: &["dead-letters.empty"],
                follow: &[],
                ..NONE
            },
        ],
    );
}

#[test]
fn a_worker_that_pauses() {
    let shop = &deployed();
    each_is_found_and_healed(
        shop,
        &[Fault {
            name: "a worker pauses and never resumes",
            seed: |shop| {
                shop.docker(&["kill", "-s", "USR2", &shop.container("stock")]);
                shop.order("paused");
            },
            heal: |shop| drop(shop.docker(&["kill", "-s", "USR1", &shop.container("stock")])),
            roots: &["groups.stock.lag"],
            follow: &[],
            ..NONE
        }],
    );
}

#[test]
fn a_renamed_table() {
    let shop = &deployed();
    each_is_found_and_healed(
        shop,
        &[Fault {
            name: "a table is renamed",
            seed: |shop| drop(shop.sql("ALTER TABLE mails RENAME TO letters")),
            heal: |shop| drop(shop.sql("ALTER TABLE letters RENAME TO mails")),
            roots: &["database.mails.exists"],
            follow: &[
                ("database.invoice-is-mailed.holds", "database.mails.exists"),
                ("groups.mailer.effects", "database.mails.exists"),
            ],
            ..NONE
        }],
    );
}

#[test]
fn redis_that_is_down() {
    let shop = &deployed();
    each_is_found_and_healed(
        shop,
        &[Fault {
            name: "Redis is down",
            seed: |shop| drop(shop.docker(&["stop", &shop.container("cache")])),
            heal: up,
            roots: &["containers.cache.running"],
            follow: &[
                ("containers.cache.health", "containers.cache.running"),
                ("containers.cache.restarts", "containers.cache.running"),
                ("cache.reachable", "containers.cache.running"),
                ("cache.memory", "containers.cache.running"),
                ("cache.writable", "containers.cache.running"),
                // Of the requests that `verify` makes.
                ("logs.shop-api.errors", "containers.cache.running"),
                ("services.shop-api.answers", "containers.cache.running"),
            ],
            ..NONE
        }],
    );
}

#[test]
fn a_service_that_a_worker_calls_is_down() {
    let shop = &deployed();
    each_is_found_and_healed(
        shop,
        &[Fault {
            name: "a service that a worker calls is down",
            seed: |shop| {
                shop.docker(&["stop", &shop.container("tax-service")]);
                shop.order("untaxed");
            },
            heal: up,
            roots: &["containers.tax-service.running"],
            follow: &[
                (
                    "containers.tax-service.health",
                    "containers.tax-service.running",
                ),
                (
                    "containers.tax-service.restarts",
                    "containers.tax-service.running",
                ),
                (
                    "services.tax-service.answers",
                    "containers.tax-service.running",
                ),
                (
                    "services.tax-service.ready",
                    "containers.tax-service.running",
                ),
                ("logs.tax-service.started", "containers.tax-service.running"),
                ("logs.billing.errors", "containers.tax-service.running"),
                ("groups.billing.lag", "containers.tax-service.running"),
            ],
            ..NONE
        }],
    );
}

#[test]
fn a_worker_that_logs_but_does_not_write() {
    let shop = &deployed();
    each_is_found_and_healed(
        shop,
        &[Fault {
            name: "a worker logs but does not write",
            seed: |shop| {
                shop.up_with("billing", &[("DRY_RUN", "true")]);
                // As many as are no accident.
                for _ in 0..3 {
                    let order = shop.order("unbilled");
                    shop.expect_mailed(&order);
                }
                // Older than what may be in flight.
                shop.sql(
                    "UPDATE reservations SET reserved_at = reserved_at - interval '1 hour'
                 WHERE order_id IN (SELECT id FROM orders WHERE customer = 'unbilled')",
                );
            },
            heal: |shop| {
                up(shop);
                for table in ["mails", "reservations"] {
                    shop.sql(&format!(
                    "DELETE FROM {table} WHERE order_id IN (SELECT id FROM orders WHERE customer = 'unbilled')"
                ));
                }
                shop.sql("DELETE FROM orders WHERE customer = 'unbilled'");
            },
            roots: &["containers.billing.as-declared"],
            follow: &[
                ("groups.billing.effects", "containers.billing.as-declared"),
                (
                    "database.reservation-is-billed.holds",
                    "containers.billing.as-declared",
                ),
            ],
            ..NONE
        }],
    );
}

#[test]
fn what_is_declared_and_is_not_so() {
    let shop = &deployed();
    each_is_found_and_healed(
        shop,
        &[
            Fault {
                name: "no group has the declared name",
                seed: |shop| {
                    let order = shop.order("another-group");
                    shop.expect_mailed(&order);
                },
                declared: &[("group: lantern.stock", "group: lantern.stocks")],
                roots: &["groups.stock.exists"],
                follow: &[
                    ("groups.stock.stable", "groups.stock.exists"),
                    ("groups.stock.assigned", "groups.stock.exists"),
                    ("groups.stock.lag", "groups.stock.exists"),
                    ("groups.stock.committed", "groups.stock.exists"),
                    ("groups.stock.effects", "groups.stock.exists"),
                ],
                ..NONE
            },
            Fault {
                name: "a topic has fewer partitions than declared",
                declared: &[(
                    "name: orders.placed, partitions: 3",
                    "name: orders.placed, partitions: 4",
                )],
                roots: &["topics.orders.placed.partitions"],
                ..NONE
            },
            Fault {
                name: "a topic has a shorter retention than declared",
                declared: &[(
                    "name: orders.reserved, partitions: 3",
                    "name: orders.reserved, partitions: 3, retention: 30d",
                )],
                roots: &["topics.orders.reserved.retention"],
                ..NONE
            },
            Fault {
                name: "a topic has fewer replicas than declared",
                declared: &[(
                    "name: orders.billed, partitions: 3",
                    "name: orders.billed, partitions: 3, replication: 3, min-insync: 2",
                )],
                roots: &[
                    "topics.orders.billed.replicated",
                    "topics.orders.billed.min-insync",
                ],
                ..NONE
            },
            Fault {
                name: "a table lacks a column",
                seed: |shop| drop(shop.sql("ALTER TABLE stock RENAME COLUMN on_hand TO in_hand")),
                heal: |shop| drop(shop.sql("ALTER TABLE stock RENAME COLUMN in_hand TO on_hand")),
                roots: &["database.stock.columns"],
                ..NONE
            },
            Fault {
                name: "a table lacks an index",
                seed: |shop| drop(shop.sql("DROP INDEX reservations_sku")),
                heal: |shop| drop(shop.sql("CREATE INDEX reservations_sku ON reservations (sku)")),
                roots: &["database.reservations.indexes"],
                ..NONE
            },
            Fault {
                name: "a service is not ready at its declared path",
                declared: &[(
                    "http://tax-service:3000\", ready: /healthz",
                    "http://tax-service:3000\", ready: /readyz",
                )],
                roots: &["services.tax-service.ready"],
                ..NONE
            },
            Fault {
                name: "a service does not answer a request as declared",
                declared: &[("/orders?customer=nobody", "/baskets?customer=nobody")],
                roots: &["services.shop-api.answers"],
                ..NONE
            },
            Fault {
                name: "a worker prints a different startup line",
                declared: &[(
                    "worker ready\"'\n      # The number",
                    "worker started\"'\n      # The number",
                )],
                roots: &["logs.mailer.started"],
                ..NONE
            },
        ],
    );
}

#[test]
fn stores_that_are_not_where_they_are_declared_to_be() {
    let shop = &deployed();
    each_is_found_and_healed(
        shop,
        &[
            Fault {
                name: "Kafka is not at its declared address",
                declared: &[("bootstrap: \"kafka:9092\"", "bootstrap: \"kafka:19092\"")],
                roots: &["kafka.reachable"],
                silenced: &["topics", "groups", "dead-letters"],
                ..NONE
            },
            Fault {
                name: "Postgres is not at its declared address",
                declared: &[("@db:5432/shop", "@db:15432/shop")],
                roots: &["database.reachable"],
                silenced: &["database"],
                ..NONE
            },
            Fault {
                name: "Redis is not at its declared address",
                declared: &[("redis://cache:6379/0", "redis://cache:16379/0")],
                roots: &["cache.reachable"],
                follow: &[
                    ("cache.memory", "cache.reachable"),
                    ("cache.writable", "cache.reachable"),
                ],
                ..NONE
            },
        ],
    );
}

fn up(shop: &Shop) {
    shop.caravan(&["up"]).expect(0);
}

fn purge(shop: &Shop) {
    shop.caravan(&["dlq", "purge", "--all", "--yes"]).expect(0);
}
