//! `trace`, `test-flow --redeliver` and `--poison`: on good days and on bad ones, and while real
//! payments flow.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{
    Ran, eventually, eventually_async,
    kafka::{Message, lag, read_all, send},
    payments::{COURSE, expect_lessons, post},
    pipeline::Pipeline,
};

#[tokio::test(flavor = "multi_thread")]
async fn earlier_payments_are_traced_and_missing_steps_explained() {
    let pipeline = Pipeline::up("trace", &[("TOP_UP_INTERVAL", "1h")]);
    let database = pipeline.database().await;
    a_payment_that_went_through_is_seen_everywhere(&pipeline, &database).await;
    an_id_that_nothing_knows_is_said_to_be_unknown(&pipeline);
    a_cleaned_up_test_payment_lacks_nothing(&pipeline);
    every_replica_is_searched(&pipeline).await;
    a_worker_that_does_not_run_is_named_with_its_lag(&pipeline).await;
    a_dead_letter_is_the_reason(&pipeline).await;
    a_source_that_is_down_leaves_the_others_to_tell(&pipeline, &database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_and_real_payments_do_not_disturb_each_other() {
    let pipeline = Arc::new(Pipeline::up("proofs", &[("TOP_UP_INTERVAL", "1h")]));
    let database = pipeline.database().await;
    repeated_events_change_nothing(&pipeline);
    an_invalid_event_becomes_a_dead_letter_and_its_neighbours_pass(&pipeline);
    a_row_that_changes_is_shown(&pipeline, &database).await;
    all_at_once(&pipeline, &database).await;
    pipeline.expect_green();
}

/// `caravan ARGS -o json`, which ends with `code`.
#[track_caller]
fn json(pipeline: &Pipeline, args: &[&str], code: i32) -> Value {
    let command = [args, &["-o", "json"]].concat();
    pipeline.caravan(&command).expect(code).json()
}

async fn pay(pipeline: &Pipeline, key: &str) -> String {
    let (status, answer) = post(pipeline, key, COURSE).await;
    assert_eq!(status, 201, "{answer}");
    answer["paymentId"].as_str().unwrap().to_owned()
}

/// The hops with another status than `seen`, as `service kind: status`.
fn others(traced: &Value) -> Vec<String> {
    let hops = traced["hops"].as_array().unwrap().iter();
    let others = hops.filter(|hop| hop["status"] != "seen");
    others
        .map(|hop| {
            let (service, kind) = (&hop["service"], &hop["place"]["kind"]);
            format!("{service} {kind}: {}", hop["status"]).replace('"', "")
        })
        .collect()
}

async fn a_payment_that_went_through_is_seen_everywhere(pipeline: &Pipeline, database: &PgPool) {
    let id = pay(pipeline, "through").await;
    expect_lessons(database, 1).await;
    // What was logged before a restart is still told.
    pipeline.docker(&["restart", &pipeline.container("purchase-worker")]);
    let traced = json(pipeline, &["trace", &id], 0);
    assert_eq!(others(&traced), Vec::<String>::new(), "{traced:#}");
    assert_eq!(traced["status"], "pass");
    assert_eq!(traced["synthetic"], false);
    let hops = traced["hops"].as_array().unwrap();
    assert_eq!(hops.len(), 25);
    for hop in hops {
        let seen = &hop["sightings"][0];
        assert!(seen["at"].as_str().is_some(), "{hop:#}");
        assert!(seen["afterMs"].as_f64().unwrap() < 60_000.0, "{hop:#}");
    }
    let event = read_all(pipeline, "trainer-allocated").pop().unwrap();
    let place = format!("trainer-allocated/{}/{}", event.partition, event.offset);
    let of_topic = |hop: &&Value| hop["place"]["topic"] == "trainer-allocated";
    let hop = hops.iter().find(of_topic).unwrap();
    assert_eq!(hop["sightings"][0]["detail"], place);
    let text = pipeline.caravan(&["trace", &id]).expect(0).stdout;
    assert!(text.contains("25 of 25 steps seen"), "{text}");
    // Nothing of it is that young, and nobody can tell what was before.
    let young = pipeline
        .caravan(&["trace", &id, "--since", "1ms"])
        .expect(0);
    assert!(young.stdout.contains(" unknown"), "{}", young.stdout);
}

fn an_id_that_nothing_knows_is_said_to_be_unknown(pipeline: &Pipeline) {
    for id in [&*Uuid::new_v4().to_string(), "no-uuid"] {
        let Ran { stderr, .. } = pipeline.caravan(&["trace", id]).expect(1);
        for expected in [
            &*format!("no source knows {id}"),
            "read: topic purchase-confirmed: ",
            "read: topic dead-letter-queue: ",
            "read: logs of session-worker: since ",
        ] {
            assert!(stderr.contains(expected), "{expected:?} in:\n{stderr}");
        }
        let table = match Uuid::parse_str(id) {
            Ok(_) => "read: table tutoring_sessions",
            Err(_) => "not searched: table tutoring_sessions: it is not a valid id for this table",
        };
        assert!(stderr.contains(table), "{table:?} in:\n{stderr}");
        let error = json(pipeline, &["trace", id], 1);
        assert_eq!(error["error"]["kind"], "not-right");
    }
}

fn a_cleaned_up_test_payment_lacks_nothing(pipeline: &Pipeline) {
    let flow = json(pipeline, &["test-flow"], 0);
    let id = flow["correlationId"].as_str().unwrap();
    let traced = json(pipeline, &["trace", id], 0);
    assert_eq!(traced["synthetic"], true);
    let tables = [
        "payment-service",
        "payment-service",
        "purchase-worker",
        "admin-service",
        "session-worker",
    ];
    let tables = tables.map(|service| format!("{service} table: unknown"));
    assert_eq!(others(&traced), tables, "{traced:#}");
}

/// Payments land on the partitions of either replica.
async fn every_replica_is_searched(pipeline: &Pipeline) {
    pipeline.caravan(&["scale", "purchase-worker=2"]).expect(0);
    let mut made = 0;
    let mut logged = BTreeSet::new();
    eventually_async("both replicas", async || {
        made += 1;
        let id = pay(pipeline, &format!("replica-{made}")).await;
        let traced = eventually_async("it is complete", async || {
            let ran = pipeline.caravan(&["trace", &id, "-o", "json"]);
            (ran.code == 0).then(|| ran.json())
        })
        .await;
        let hops = traced["hops"].as_array().unwrap().iter();
        let own =
            hops.filter(|hop| hop["service"] == "purchase-worker" && hop["place"]["kind"] == "log");
        logged.extend(own.map(|hop| hop["sightings"][0]["detail"].to_string()));
        (logged.len() == 2).then_some(())
    })
    .await;
    pipeline.caravan(&["scale", "purchase-worker=1"]).expect(0);
}

async fn a_worker_that_does_not_run_is_named_with_its_lag(pipeline: &Pipeline) {
    pipeline.docker(&["stop", &pipeline.container("session-worker")]);
    let id = pay(pipeline, "stopped").await;
    eventually("the last event is there", || {
        (lag(pipeline, "session-worker", "trainer-allocated") == 1).then_some(())
    });
    eventually("the others are done", || {
        (lag(pipeline, "cache-worker", "purchase-created") == 0).then_some(())
    });
    let traced = json(pipeline, &["trace", &id], 1);
    let missing = &traced["firstMissing"];
    assert_eq!(missing["service"], "session-worker", "{traced:#}");
    let why = missing["why"].to_string();
    assert!(why.contains("session-worker: exited"), "{why}");
    assert!(why.contains("has not consumed trainer-allocated/"), "{why}");
    assert!(
        others(&traced)
            .iter()
            .all(|hop| hop.starts_with("session-worker "))
    );
    let next = missing["next"].as_str().unwrap();
    assert!(next.ends_with("up session-worker"), "{next}");
    pipeline.shell(next).expect(0);
    eventually("it is complete", || {
        (pipeline.caravan(&["trace", &id]).code == 0).then_some(())
    });
}

async fn a_dead_letter_is_the_reason(pipeline: &Pipeline) {
    let id = Uuid::new_v4().to_string();
    let event = Message::to("purchase-confirmed", 1)
        .key(id.as_bytes())
        .value(br#"{"eventType":"NONE"}"#);
    send(pipeline, &[event]).await;
    eventually("its dead letter is there", || {
        (read_all(pipeline, "dead-letter-queue").len() == 1).then_some(())
    });
    let traced = json(pipeline, &["trace", &id], 1);
    let why = traced["firstMissing"]["why"].to_string();
    assert!(
        why.contains("purchase-worker dead-lettered its event purchase-confirmed/1/"),
        "{why}"
    );
    let next = traced["firstMissing"]["next"].as_str().unwrap();
    assert!(next.contains("dlq show purchase-confirmed/1/"), "{next}");
    pipeline.shell(next).expect(0);
}

async fn a_source_that_is_down_leaves_the_others_to_tell(pipeline: &Pipeline, database: &PgPool) {
    let id: Uuid = sqlx::query_scalar("SELECT id FROM payments WHERE NOT synthetic LIMIT 1")
        .fetch_one(database)
        .await
        .unwrap();
    pipeline.docker(&["stop", &pipeline.container("kafka")]);
    let traced = json(pipeline, &["trace", &id.to_string()], 3);
    let unreachable = traced["unreachable"].to_string();
    assert!(unreachable.contains("kafka at "), "{unreachable}");
    let topics = ["payment-service", "purchase-worker", "allocation-worker"];
    let topics = topics.map(|service| format!("{service} topic: unknown"));
    assert_eq!(others(&traced), topics);
}

fn repeated_events_change_nothing(pipeline: &Pipeline) {
    let args = [
        "test-flow",
        "--redeliver",
        "--count",
        "20",
        "--timeout",
        "60s",
    ];
    let report = json(pipeline, &args, 0);
    let redelivery = &report["redelivery"];
    assert_eq!(redelivery["status"], "pass", "{redelivery:#}");
    for topic in [
        "purchase-confirmed",
        "purchase-created",
        "trainer-allocated",
    ] {
        assert_eq!(redelivery["sent"][topic], 20);
        // As it was, as it was sent again, and what the others answered to that.
        assert!(read_all(pipeline, topic).len() >= 40, "{topic}");
    }
    assert_eq!(redelivery["underNewIds"], 20);
    assert_eq!(redelivery["compared"]["tutoring_sessions"], 140);
    assert_eq!(redelivery["compared"]["payments"], 20);
    assert_eq!(report["cleanup"]["rows"]["tutoring_sessions"], 140);
}

fn an_invalid_event_becomes_a_dead_letter_and_its_neighbours_pass(pipeline: &Pipeline) {
    let report = json(pipeline, &["test-flow", "--poison"], 0);
    let poison = &report["poison"];
    assert_eq!(poison["status"], "pass", "{poison:#}");
    assert_eq!(poison["deadLetters"][0]["group"], "purchase-worker");
    assert_eq!(poison["deadLetters"][0]["reason"], "not-json");
    assert_eq!(poison["dismissed"], true);
    assert_eq!(report["count"], 4);
    assert_eq!(report["missing"]["count"], 0);
    assert_eq!(report["cleanup"]["rows"]["tutoring_sessions"], 28);
    // It stood between them.
    let stored = read_all(pipeline, "purchase-confirmed");
    let bad = poison["record"].as_str().unwrap();
    let at = |n: i64| {
        let mut parts = bad.rsplit('/').map(|part| part.parse::<i64>());
        let (offset, partition) = (
            parts.next().unwrap().unwrap(),
            parts.next().unwrap().unwrap(),
        );
        let is = |m: &&crate::support::kafka::Stored| {
            i64::from(m.partition) == partition && m.offset == offset + n
        };
        stored.iter().find(is).unwrap()
    };
    for n in [-2, -1, 1, 2] {
        assert_eq!(at(n).json()["eventType"], "PURCHASE_CONFIRMED");
    }
    assert!(serde_json::from_slice::<Value>(at(0).value.as_deref().unwrap()).is_err());
    let (ran, ids) = pipeline.not_passing();
    assert_eq!(ids, Vec::<String>::new());
    let finding = Pipeline::finding(&ran, "dead-letters.empty");
    assert_eq!(finding["seen"], "none waiting (1 from tests)");
    let replay = pipeline
        .caravan(&["dlq", "replay", "--all", "--dry-run"])
        .expect(0);
    assert!(
        replay.stdout.contains("caused by a test"),
        "{}",
        replay.stdout
    );
    assert_eq!(read_all(pipeline, "dead-letter-queue").len(), 1);
}

/// An event that comes under another id raises the price of what was bought.
const MISCHIEF: [&str; 2] = [
    "CREATE FUNCTION mischief() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
     BEGIN
         UPDATE student_course_purchases SET amount_cents = amount_cents + 1 WHERE synthetic;
         RETURN NEW;
     END $$",
    "CREATE TRIGGER mischief AFTER INSERT ON processed_events FOR EACH ROW
     WHEN (NEW.consumer = 'purchase-worker') EXECUTE FUNCTION mischief()",
];

async fn a_row_that_changes_is_shown(pipeline: &Pipeline, database: &PgPool) {
    for sql in MISCHIEF {
        sqlx::query(sql).execute(database).await.unwrap();
    }
    let ran = pipeline.caravan(&["test-flow", "--redeliver"]).expect(1);
    sqlx::query("DROP TRIGGER mischief ON processed_events")
        .execute(database)
        .await
        .unwrap();
    for expected in [
        "rows changed: 1",
        "student_course_purchases: 1 row, then 1",
        "- {\"id\":",
        "\"amount_cents\":4901",
    ] {
        assert!(
            ran.stdout.contains(expected),
            "{expected:?} in:\n{}",
            ran.stdout
        );
    }
}

/// Every row of real payments, and of none other.
async fn real_rows(database: &PgPool, before: &[String]) -> String {
    let sql = "SELECT coalesce(md5(string_agg(row, ',' ORDER BY row)), '') FROM (
        SELECT p::text AS row FROM payments p WHERE id::text = ANY($1)
        UNION ALL SELECT s::text FROM student_course_purchases s WHERE payment_id::text = ANY($1)
        UNION ALL SELECT a::text FROM trainer_allocations a
            JOIN student_course_purchases s ON s.id = a.purchase_id WHERE payment_id::text = ANY($1)
        UNION ALL SELECT t::text FROM tutoring_sessions t
            JOIN trainer_allocations a ON a.id = t.allocation_id
            JOIN student_course_purchases s ON s.id = a.purchase_id
            WHERE payment_id::text = ANY($1)) rows";
    sqlx::query_scalar(sql)
        .bind(before)
        .fetch_one(database)
        .await
        .unwrap()
}

async fn all_at_once(pipeline: &Arc<Pipeline>, database: &PgPool) {
    let mut early = Vec::new();
    for n in 0..20 {
        early.push(pay(pipeline, &format!("early-{n}")).await);
    }
    expect_lessons(database, 20).await;
    let before = real_rows(database, &early).await;

    let stop = Arc::new(AtomicBool::new(false));
    let traffic = {
        let (pipeline, stop) = (Arc::clone(pipeline), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut made = 0;
            while !stop.load(Ordering::Relaxed) {
                pay(&pipeline, &format!("real-{made}")).await;
                made += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            made
        })
    };
    let runs = [
        vec!["test-flow", "--timeout", "60s"],
        vec![
            "test-flow",
            "--count",
            "30",
            "--redeliver",
            "--timeout",
            "60s",
        ],
        vec!["test-flow", "--poison", "--timeout", "60s"],
        vec!["trace", &early[7]],
    ];
    let runs = runs.map(|args| {
        let mut command = pipeline.command(&args);
        command.args(["-o", "json"]);
        tokio::task::spawn_blocking(move || Ran::of(command.output().unwrap()))
    });
    for run in runs {
        let report = run.await.unwrap().expect(0).json();
        assert_eq!(report["status"], "pass", "{report:#}");
    }
    stop.store(true, Ordering::Relaxed);
    let made: i64 = traffic.await.unwrap();
    assert!(made > 20, "{made} real payments flowed meanwhile");
    let synthetic = "SELECT count(*) FROM payments WHERE synthetic";
    eventually_async("no test is left", async || {
        let left: i64 = sqlx::query_scalar(synthetic)
            .fetch_one(database)
            .await
            .unwrap();
        (left == 0).then_some(())
    })
    .await;
    expect_lessons(database, 20 + made).await;
    assert_eq!(
        real_rows(database, &early).await,
        before,
        "real rows changed"
    );
}
