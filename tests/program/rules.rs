//! Rules over the database: within their budget of time, whatever the tables hold, and a counterexample
//! that was found once stays until it is repaired or dismissed.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use crate::support::{Ran, eventually, pipeline::Pipeline};

/// Payments of the last hour, each with its purchase and its allocation: more than their time suffices for.
const VOLUME: [&str; 3] = [
    "INSERT INTO payments (id, idempotency_key, student_id, course_id, amount_cents, currency, created_at)
     SELECT lpad(to_hex(n), 32, '0')::uuid, 'k' || n, gen_random_uuid(),
         '00000000-0000-4000-8000-00000000c001', 4900, 'EUR',
         now() - interval '5 min' - (200000 - n) * interval '16 ms'
     FROM generate_series(1, 200000) n",
    "INSERT INTO student_course_purchases
         (id, payment_id, student_id, course_id, amount_cents, currency, created_at)
     SELECT id, id, student_id, course_id, amount_cents, currency, created_at FROM payments",
    "INSERT INTO trainer_allocations
         (id, purchase_id, trainer_id, student_id, course_id, status, created_at)
     SELECT id, id, '00000000-0000-4000-8000-00000000a001', student_id, course_id, 'ended', created_at
     FROM student_course_purchases",
];

fn seen(ran: &Ran, rule: &str) -> (String, String) {
    let finding = Pipeline::finding(ran, &format!("database.{rule}.holds"));
    let text = |key: &str| finding[key].as_str().unwrap().to_owned();
    (text("status"), text("seen"))
}

#[tokio::test(flavor = "multi_thread")]
async fn volume_violates_no_rule_and_a_finding_says_how_far_it_came() {
    let pipeline = Pipeline::declared("rules-volume", &[]);
    pipeline.with_images(&["up", "migrate"]);
    let database = pipeline.database().await;
    // Autovacuum would summarize the index and count the rows, some time.
    for sql in VOLUME.into_iter().chain(["VACUUM ANALYZE"]) {
        sqlx::query(sql).execute(&database).await.unwrap();
    }
    // What is not deployed fails besides.
    let verify = ["verify", "--only", "database.*.holds", "-o", "json"];
    let first = pipeline.caravan(&verify);
    for rule in [
        "purchase-has-allocation",
        "allocation-has-purchase",
        "payment-has-purchase",
    ] {
        let (status, seen) = seen(&first, rule);
        assert_eq!(status, "pass", "{seen}");
        let expected = "(all rules share 75ms; --since all reads everything)";
        assert!(
            seen.starts_with("holds for the last ") && seen.ends_with(expected),
            "{seen}"
        );
    }
    let payments = "payment-has-purchase";
    let all = [&verify[..], &["--since", "all"]].concat();
    let audit = pipeline.caravan(&all);
    assert_eq!(
        seen(&audit, payments),
        ("pass".to_owned(), "holds".to_owned())
    );
    // What it has read is not read again: what came since then is soon read, on a busy machine as well.
    eventually("the rule holds for its span", || {
        let (status, seen) = seen(&pipeline.caravan(&verify), payments);
        assert_eq!(status, "pass", "{seen}");
        (seen == "holds for the last 24h").then_some(())
    });
}

/// A shop whose database is all that there is of it; `ADDRESS` is where it is reached.
const SHOP: &str = "
x-caravan:
  postgres: {service: db, url: 'postgres://shop:${DB_PASSWORD}@ADDRESS/shop'}
  secrets: [DB_PASSWORD]
  invariants:
    order-is-paid:
      says: every order is paid
      grace: 1s
      within: 1h
      # Enough for all windows on a busy machine, too.
      budget: 5s
      sql: >-
        SELECT id::text, placed_at FROM orders WHERE placed_at >= $$1 AND placed_at < $$2
        AND NOT paid ORDER BY 2 LIMIT 100
    slow:
      says: a rule that takes longer than it may
      grace: 1s
      budget: 50ms
      sql: SELECT 'x', now() FROM generate_series(1, 1) WHERE pg_sleep(2) IS NULL
    # It fails in the middle of a transaction of the connection that all rules share.
    broken:
      says: a rule whose query fails
      grace: 1s
      within: 1h
      sql: >-
        SELECT (1 / (id - id))::text, placed_at FROM orders WHERE placed_at >= $$1 AND placed_at < $$2
    shares:
      says: a rule that shares its time with the broken one
      grace: 1s
      within: 1h
      sql: SELECT id::text, placed_at FROM orders WHERE placed_at >= $$1 AND placed_at < $$2 AND id < 0
services:
  db:
    image: postgres:15
    environment: {POSTGRES_USER: shop, POSTGRES_PASSWORD: '${DB_PASSWORD}', POSTGRES_DB: shop}
    ports: [PORTS]
    x-caravan: {image-from: postgres, ready: postgres}
";

const PAID: &str = "order-is-paid";

struct Shop(Pipeline);

impl Shop {
    /// `inside`: its database is reached from its network alone.
    fn up(name: &str, inside: bool) -> Self {
        let pipeline = Pipeline::declared(name, &[]);
        let port = pipeline.port("POSTGRES_PORT");
        let (address, ports) = match inside {
            true => ("db:5432".to_owned(), String::new()),
            false => (
                format!("127.0.0.1:{port}"),
                format!("'127.0.0.1:{port}:5432'"),
            ),
        };
        let declaration = SHOP.replace("ADDRESS", &address).replace("PORTS", &ports);
        fs::write(pipeline.directory().join("compose.yaml"), declaration).unwrap();
        pipeline.with_images(&["up"]);
        let shop = Self(pipeline);
        shop.sql(
            "CREATE TABLE orders (id int PRIMARY KEY, paid boolean DEFAULT false,
             placed_at timestamptz DEFAULT now())",
        );
        shop
    }

    #[track_caller]
    fn sql(&self, sql: &str) -> String {
        let db = format!("{}-db-1", self.0.project);
        let db = match self.0.runs("db") {
            true => self.0.container("db"),
            false => db,
        };
        let psql = ["psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-U", "shop", "-c"];
        let command = [&["exec", &db][..], &psql, &[sql]].concat();
        self.0.docker(&command)
    }

    /// Orders that are not paid, as old as `age`.
    fn unpaid(&self, ids: &[i32], age: &str) {
        for id in ids {
            let sql = format!("INSERT INTO orders VALUES ({id}, false, now() - interval '{age}')");
            self.sql(&sql);
        }
    }

    /// The status of the rule, and all that is said of it.
    fn verify(&self, more: &[&str]) -> (String, String) {
        let rule = format!("database.{PAID}.holds");
        let ran = self
            .0
            .caravan(&[&["verify", "--only", &rule, "-o", "json"], more].concat());
        let finding = Pipeline::finding(&ran, &rule);
        (
            finding["status"].as_str().unwrap().to_owned(),
            finding.to_string(),
        )
    }

    #[track_caller]
    fn expect(&self, status: &str, parts: &[&str]) {
        let (is, said) = self.verify(&[]);
        assert_eq!(is, status, "{said}");
        for part in parts {
            assert!(said.contains(part), "{part:?} in {said}");
        }
    }

    fn results(&self) -> PathBuf {
        let directory = format!(".caravan-{}", self.0.project);
        self.0.directory().join(directory).join("verify.json")
    }
}

/// Among rows that earlier runs have read; one of them gets another time.
fn two_orders_are_not_paid(shop: &Shop) {
    shop.unpaid(&[1, 2], "10 min");
    shop.sql("UPDATE orders SET paid = true");
    shop.expect("pass", &["holds for the last 1h"]);
    shop.sql("UPDATE orders SET paid = false");
    shop.expect("fail", &["2 rows violate the rule", "1 for ", "2 for "]);
    shop.sql("UPDATE orders SET placed_at = placed_at - interval '3 min' WHERE id = 1");
    shop.expect("fail", &["2 rows violate the rule"]);
}

#[test]
fn a_counterexample_stays_until_it_is_repaired_or_dismissed() {
    let shop = Shop::up("rules", false);
    two_orders_are_not_paid(&shop);
    let mode = fs::metadata(shop.results()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // As if hours had passed: they are older than what the rule looks at.
    let declaration = shop.0.directory().join("compose.yaml");
    let text = fs::read_to_string(&declaration).unwrap();
    fs::write(&declaration, text.replace("within: 1h", "within: 1m")).unwrap();
    shop.expect(
        "fail",
        &[
            "2 rows violate the rule",
            "verify --dismiss order-is-paid 1",
        ],
    );
    shop.sql("UPDATE orders SET paid = true WHERE id = 2");
    shop.expect("fail", &["1 row violates the rule", "1 for "]);

    let wrong = ["verify", "--dismiss", PAID, "17"];
    let ran = shop.0.caravan(&wrong).expect(1);
    assert!(ran.stderr.contains("known: 1"), "{}", ran.stderr);
    let (status, said) = shop.verify(&["--dismiss", PAID, "1"]);
    assert_eq!(status, "pass", "{said}");
    shop.expect("pass", &[]);
    assert_eq!(shop.verify(&["--since", "all"]).0, "pass", "dismissed");
    shop.unpaid(&[3], "20 min");
    shop.expect("pass", &["holds for the last 1m"]);
    assert_eq!(shop.verify(&["--since", "all"]).0, "fail");
    shop.expect("fail", &["3 for "]);
    shop.sql("DELETE FROM orders WHERE id = 3");
    shop.expect("pass", &[]);

    fs::write(shop.results(), "{").unwrap();
    let rule = format!("database.{PAID}.holds");
    let ran = shop.0.caravan(&["verify", "--only", &rule]).expect(0);
    assert!(
        ran.stderr.contains("verify.json is ignored"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_rule_that_reads_nothing_in_its_budget_is_unknown() {
    let shop = Shop::up("rules-slow", false);
    let slow = ["verify", "--only", "database.slow.holds", "-o", "json"];
    let ran = shop.0.caravan(&slow).expect(0);
    let (status, seen) = seen(&ran, "slow");
    assert_eq!(status, "warn");
    let expected = "unknown: its budget of 50ms was used up before its newest rows were read";
    assert_eq!(seen, expected);
    let hint = Pipeline::finding(&ran, "database.slow.holds")["hint"].clone();
    let audited = shop.0.shell(hint.as_str().unwrap()).expect(0);
    assert!(audited.stdout.contains("holds"), "{}", audited.stdout);
}

#[test]
fn a_query_that_fails_fails_its_rule_alone() {
    let shop = Shop::up("rules-broken", false);
    shop.unpaid(&[1], "10 min");
    shop.sql("UPDATE orders SET paid = true");
    let ran = (shop.0).caravan(&["verify", "--only", "database.*.holds", "-o", "json"]);
    let (status, said) = seen(&ran, "broken");
    assert_eq!(status, "fail", "{said}");
    assert!(said.contains("division by zero"), "{said}");
    for rule in ["shares", PAID] {
        let expected = ("pass".to_owned(), "holds for the last 1h".to_owned());
        assert_eq!(seen(&ran, rule), expected);
    }
}

#[test]
fn results_of_a_verify_inside_the_network_are_stored_on_the_host() {
    let shop = Shop::up("rules-inside", true);
    two_orders_are_not_paid(&shop);
    let stored = fs::read_to_string(shop.results()).unwrap();
    assert!(stored.contains("order-is-paid"), "{stored}");
    shop.sql("UPDATE orders SET placed_at = now() - interval '2 days' WHERE id = 2");
    shop.sql("DELETE FROM orders WHERE id = 1");
    shop.expect("fail", &["1 row violates the rule", "2 for "]);
    shop.sql("UPDATE orders SET paid = true");
    shop.expect("pass", &[]);
    shop.unpaid(&[3], "30 min");
    shop.expect("fail", &["3 for "]);
    let (status, said) = shop.verify(&["--dismiss", PAID, "3"]);
    assert_eq!(status, "pass", "{said}");
    shop.expect("pass", &[]);
}
