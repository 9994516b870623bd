//! What `test-flow` proves, and what it deletes, of a pipeline with an outbox relay and an aggregate:
//! real Kafka and Postgres; the services are tasks of the test, so that each can be stopped.

mod harbor;

use std::{process::Command, time::Duration};

use serde_json::{Value, json};

use crate::support::{Ran, SETTLED, eventually, eventually_async, pipeline::Pipeline};
use harbor::{Harbor, Worker};

const RELAY_UNKNOWN: (&str, &str) = ("emits: [shipments], writes", "writes");
const STATS_UNKNOWN: (&str, &str) = ("writes: [quotes], emits: [quotes]", "writes: [quotes]");

const STATS_TABLE: &str = "find: customer = (SELECT s.customer FROM shipments s WHERE s.no = $$1)
      rows: 1
      cleanup: find";

/// The hops that were not seen, by their topics, tables or services.
fn unseen(flow: &Value) -> Vec<&str> {
    let hops = flow["hops"].as_array().unwrap().iter();
    let unseen = hops.filter(|hop| hop["status"] != "seen");
    unseen
        .filter_map(|hop| {
            let names = ["topic", "table", "service"].map(|key| hop["place"][key].as_str());
            names.into_iter().flatten().next()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_that_was_there_before_is_neither_proof_nor_deleted() {
    let harbor = Harbor::up("flow-rows").await;
    let acme = "SELECT count(*) FROM customer_stats WHERE customer = 'ACME' AND shipments >= 12";
    harbor
        .sql("INSERT INTO customer_stats (customer, shipments) VALUES ('ACME', 12)")
        .await;

    let flow = harbor.test_flow(&[], &[]).expect(0).json();
    assert_eq!(flow["status"], "pass", "{flow:#}");
    assert_eq!(harbor.number(acme).await, 1, "ACME's own row stays");
    let left = json!([{
        "table": "customer_stats", "rows": 1, "why": "it existed before the test began",
    }]);
    assert_eq!(flow["cleanup"]["left"], left, "{flow:#}");
    assert_eq!(flow["cleanup"]["rows"]["shipments"], 1, "{flow:#}");
    let text = harbor.text(&[], &[]).expect(0).stdout;
    let says = "left: customer_stats 1 (it existed before the test began)";
    assert!(text.contains(says), "{text}");
    let many = harbor.test_flow(&["--count", "5"], &[]).expect(0).json();
    assert_eq!(many["cleanup"]["left"], left, "{many:#}");
    assert_eq!(many["cleanup"]["rows"]["shipments"], 5, "{many:#}");
    assert_eq!(harbor.number(acme).await, 1, "ACME's own row stays");

    // A customer that nobody had: the aggregate is the test's own.
    let new_customer = [("customer: ACME", "customer: uuid")];
    let flow = harbor.test_flow(&[], &new_customer).expect(0).json();
    assert_eq!(flow["cleanup"]["rows"]["customer_stats"], 1, "{flow:#}");
    assert_eq!(flow["cleanup"]["left"], json!([]), "{flow:#}");
    let all = "SELECT count(*) FROM customer_stats";
    assert_eq!(harbor.number(all).await, 1);

    // Rows whose number grew past what is declared are left, all of them.
    let loose = [(
        "\"no = $$1\"",
        "customer = (SELECT s.customer FROM shipments s WHERE s.no = $$1)",
    )];
    harbor.sql("UPDATE behaviour SET doubled = true").await;
    let flow = harbor
        .test_flow(&["--timeout", SETTLED], &loose)
        .expect(1)
        .json();
    assert_eq!(flow["cleanup"]["outcome"], "failed", "{flow:#}");
    harbor.sql("UPDATE behaviour SET doubled = false").await;
    let shipments = harbor.number("SELECT count(*) FROM shipments").await;
    assert_eq!(
        shipments, 2,
        "the payment's and the one beside it: {flow:#}"
    );
    harbor
        .sql("DELETE FROM shipments; DELETE FROM quotes")
        .await;

    // What is sent twice is counted twice; ACME's row stays all the same.
    let again = harbor.test_flow(&["--count", "2", "--redeliver"], &[]);
    let again = again.expect(1).json();
    assert_eq!(again["redelivery"]["changed"], 2, "{again:#}");
    assert_eq!(again["cleanup"]["left"], left, "{again:#}");
    assert_eq!(harbor.number(acme).await, 1, "ACME's own row stays");

    // Stats that write nothing: the row is there, and no proof.
    harbor.sql("UPDATE behaviour SET stats_write = false").await;
    let flow = harbor
        .test_flow(&["--timeout", SETTLED], &[])
        .expect(1)
        .json();
    assert_eq!(unseen(&flow), ["customer_stats"], "{flow:#}");
    let many = harbor.test_flow(&["--count", "3", "--timeout", SETTLED], &[]);
    let many = many.expect(1).json();
    assert_eq!(many["missing"]["count"], 3, "{many:#}");
    assert_eq!(many["missing"]["first"][0]["unchanged"], 1, "{many:#}");
    assert_eq!(harbor.number(acme).await, 1, "ACME's own row stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deletion_that_cannot_be_whole_deletes_nothing() {
    let harbor = Harbor::up("flow-whole").await;
    harbor
        .sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER refuse BEFORE DELETE ON shipments
             FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let quotes = "SELECT count(*) FROM quotes";
    for (args, all) in [(&[][..], 1), (&["--count", "3"][..], 4)] {
        let flow = harbor.test_flow(args, &[]).expect(1).json();
        let why = flow["cleanup"]["why"].as_str().unwrap();
        let says = "rows could be deleted; nothing is deleted";
        assert!(why.contains(says), "{why}");
        assert_eq!(harbor.number(quotes).await, all, "{flow:#}");
    }

    // Of rows without a key nobody can prove that they are new.
    harbor
        .sql(
            "DROP TRIGGER refuse ON shipments; TRUNCATE shipments, quotes, customer_stats;
             ALTER TABLE quotes DROP CONSTRAINT quotes_pkey",
        )
        .await;
    let flow = harbor.test_flow(&[], &[]).expect(0).json();
    let left = json!([{
        "table": "quotes", "rows": 1,
        "why": "it has no unique key by which new rows differ from old ones",
    }]);
    assert_eq!(flow["cleanup"]["left"], left, "{flow:#}");
    assert_eq!(harbor.number(quotes).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_exists_is_neither_overwritten_nor_deleted() {
    let harbor = Harbor::up("flow-keys").await;
    let gone = "  gone-keys: {service: stats, keys: ['harbor:{{customer}}', 'harbor:{{no}}']}\n    values:";
    harbor.redis(&["SET", "harbor:ACME", "a real one"]);
    let args = ["--timeout", SETTLED];
    let flow = harbor.test_flow(&args, &[("  values:", gone)]);
    let flow = flow.expect(1).json();
    assert_eq!(unseen(&flow), ["stats"], "{flow:#}");
    assert_eq!(harbor.redis(&["GET", "harbor:ACME"]), "a real one\n");
    assert_eq!(harbor.redis(&["KEYS", "*"]), "harbor:ACME\n");
}

/// What `test-flow ARGS` wrote when a signal ended it, once `hop` was there.
async fn interrupted(harbor: &Harbor, args: &[&str], signal: &str, hop: &'static str) -> Ran {
    let flow = harbor.start_test_flow(&[args, &["--timeout", "60s"]].concat());
    eventually_async(hop, async || (harbor.number(hop).await > 0).then_some(())).await;
    let pid = flow.id().to_string();
    let kill = Command::new("kill").args([signal, &pid]).status();
    assert!(kill.unwrap().success());
    // docs/cli.md: every signal that ends a command is an interruption.
    Ran::of(flow.wait_with_output().unwrap()).expect(130)
}

const ROWS: &str = "SELECT (SELECT count(*) FROM shipments) + (SELECT count(*) FROM quotes)";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sigterm_and_sighup_delete_the_rows_as_ctrl_c_does() {
    let harbor = Harbor::up("flow-signals").await;
    // The last hop never comes, so the flow goes on until the signal.
    harbor.sql("UPDATE behaviour SET stats_write = false").await;
    let quoted = "SELECT count(*) FROM quotes";
    for (args, signal) in [
        (&[][..], "-INT"),
        (&[], "-TERM"),
        (&[], "-HUP"),
        (&["--count", "3"], "-TERM"),
        (&["--count", "3"], "-HUP"),
    ] {
        let ran = interrupted(&harbor, args, signal, quoted).await;
        let says = "rows were deleted";
        assert!(ran.stderr.contains(says), "{args:?} {signal}: {ran:?}");
        assert_eq!(harbor.number(ROWS).await, 0, "{args:?} {signal}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_that_a_signal_leaves_are_named() {
    let harbor = Harbor::up("flow-signals-left").await;
    harbor.stop(Worker::Stats);
    let quoted = "SELECT count(*) FROM quotes";
    for (args, signal) in [(&[][..], "-TERM"), (&["--count", "1"], "-HUP")] {
        let ran = interrupted(&harbor, args, signal, quoted).await;
        let says = "stats has not consumed its event";
        assert!(ran.stderr.contains(says), "{args:?} {signal}: {ran:?}");
        assert_eq!(harbor.number(ROWS).await, 2, "{args:?} {signal}: {ran:?}");
        harbor
            .sql("DELETE FROM shipments; DELETE FROM quotes")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_nothing_marks_is_not_collected() {
    let harbor = Harbor::up("flow-collect").await;
    harbor.stop(Worker::Stats);
    let flow = harbor
        .test_flow(&["--timeout", SETTLED], &[])
        .expect(1)
        .json();
    let why = flow["cleanup"]["why"].as_str().unwrap();
    assert!(why.contains("stats has not consumed"), "{why}");
    assert!(!why.contains("--collect"), "{why}");
    harbor.start(Worker::Stats).await;
    let collected = harbor.test_flow(&["--collect=0s"], &[]).expect(0).json();
    let left = collected["cleanup"]["left"].as_array().unwrap();
    assert_eq!(left.len(), 3, "{collected:#}");
    assert_eq!(harbor.number("SELECT count(*) FROM shipments").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_no_emits_leads_to_is_named_and_no_pass() {
    let harbor = Harbor::up("flow-reach").await;
    harbor.stop(Worker::Pricing);
    harbor.stop(Worker::Stats);

    // The relay is a process of its own, and `api` is not said to emit.
    let flow = harbor.test_flow(&[], &[RELAY_UNKNOWN]).expect(1).json();
    assert_eq!(flow["status"], "fail", "{flow:#}");
    let expected = json!({
        "topics": ["shipments", "quotes"],
        "services": ["pricing", "stats"],
        "tables": ["quotes", "customer_stats"],
        "hints": [
            "`relay` emits shipments, and nothing says that what `api` accepts gets there: \
             declare `emits: [shipments]` on `api`, or exclude the topic in `x-caravan.flow.excludes`",
        ],
    });
    assert_eq!(flow["notFollowed"], expected, "{flow:#}");
    assert_eq!(flow["cleanup"]["outcome"], "failed", "{flow:#}");
    let text = harbor.text(&[], &[RELAY_UNKNOWN]).expect(1).stdout;
    assert!(text.contains("not followed"), "{text}");

    harbor.start(Worker::Pricing).await;
    let flow = harbor.test_flow(&[], &[STATS_UNKNOWN]).expect(1).json();
    assert_eq!(
        flow["notFollowed"]["services"],
        json!(["stats"]),
        "{flow:#}"
    );
    let many = harbor.test_flow(&["--count", "3"], &[STATS_UNKNOWN]);
    let many = many.expect(1).json();
    assert_eq!(
        many["notFollowed"]["services"],
        json!(["stats"]),
        "{many:#}"
    );
    assert_eq!(many["status"], "fail", "{many:#}");

    // A consumer of which no hop tells still has to consume.
    let no_hop = [
        ("writes: [customer_stats]", "stages: []"),
        (STATS_TABLE, "columns: [customer]"),
    ];
    let flow = harbor.test_flow(&["--keep"], &no_hop).expect(1).json();
    assert_eq!(flow["notFollowed"], Value::Null, "{flow:#}");
    let pending = flow["pending"].as_str().unwrap();
    assert!(pending.starts_with("stats has not consumed"), "{pending}");
    assert_eq!(flow["status"], "fail", "{flow:#}");

    // As declared, with everything running, it is complete.
    harbor.start(Worker::Stats).await;
    let flow = harbor.test_flow(&[], &[]).expect(0).json();
    assert_eq!(flow["notFollowed"], Value::Null, "{flow:#}");
    assert_eq!(unseen(&flow), [""; 0], "{flow:#}");
    // A topic that is not of this flow may be excluded, with whatever follows it.
    let excluded = [
        STATS_UNKNOWN,
        ("  values:", "  excludes: [quotes]\n    values:"),
    ];
    let flow = harbor.test_flow(&[], &excluded).expect(0).json();
    assert_eq!(flow["excluded"], json!(["quotes"]), "{flow:#}");
}

/// A row that earlier events left is no effect of the last ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_of_several_events_is_judged_by_when_it_was_written() {
    let harbor = Harbor::up("flow-shared").await;
    let effects = || {
        let only = ["verify", "--only", "groups.stats.effects", "-o", "json"];
        let ran = harbor.caravan(&only, &[]);
        Pipeline::finding(&ran, "groups.stats.effects")
    };
    let minute = Duration::from_secs(60);
    harbor.quoted("first", 3, minute).await;
    let counted = "SELECT count(*) FROM customer_stats WHERE shipments >= 3";
    eventually_async("all are counted", async || {
        (harbor.number(counted).await == 1).then_some(())
    })
    .await;
    // Whether the row was written since the events, Postgres does not know.
    let inconclusive = "inconclusive: events share a row of customer_stats";
    eventually("they are committed", || {
        let finding = effects();
        (finding["status"] == "pass" && finding["seen"] == inconclusive).then_some(())
    });
    harbor.keep_commit_times().await;
    harbor.quoted("second", 3, minute).await;
    eventually("they are judged", || {
        let finding = effects();
        let seen = "rows of the last event exist";
        (finding["status"] == "pass" && finding["seen"] == seen).then_some(())
    });
    // A worker that reads, commits and writes nothing.
    harbor.sql("UPDATE behaviour SET stats_write = false").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    harbor.quoted("third", 3, Duration::ZERO).await;
    let finding = eventually("the old row is no proof", || {
        let finding = effects();
        (finding["status"] == "warn").then_some(finding)
    });
    let seen = "the last 3 events share a row of customer_stats, which was written before them";
    assert_eq!(finding["seen"], seen, "{finding:#}");
}

/// The relay's clock is two hours slow.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_with_a_wrong_time_is_named() {
    let harbor = Harbor::up("flow-clock").await;
    let flow = harbor.test_flow(&[], &[]).expect(0).json();
    assert_eq!(flow["misdated"], json!([]), "{flow:#}");
    harbor.sql("UPDATE behaviour SET ahead = '-125 min'").await;
    let flow = harbor.test_flow(&["--keep"], &[]).expect(0).json();
    let misdated = json!(["shipments: its record is dated 2h early"]);
    assert_eq!(flow["misdated"], misdated, "{flow:#}");
    let text = harbor.text(&["--keep"], &[]).expect(0).stdout;
    assert!(text.contains("! clock: shipments: its record"), "{text}");
}

/// The entry service fails after it has stored the message: that is said, with what deletes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_that_a_failing_entry_may_have_stored_is_mentioned() {
    let harbor = Harbor::up("flow-entry").await;
    harbor.sql("UPDATE behaviour SET fails = true").await;
    let ran = harbor.text(&[], &[]).expect(1);
    let says = "it may have stored the message all the same";
    assert!(ran.stderr.contains(says), "{}", ran.stderr);
    let stored = "SELECT count(*) FROM shipments";
    assert_eq!(harbor.number(stored).await, 1);
}
