//! `test-flow` with many payments: sent on schedule, timed, every row accounted for, cleaned up.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{
    Ran, SETTLED, eventually_async, kafka::read_all, payments::count, pipeline::Pipeline,
};

#[tokio::test(flavor = "multi_thread")]
async fn many_payments_are_sent_timed_and_accounted_for() {
    // Nothing but the load itself is to make sessions.
    let pipeline = Pipeline::up("load", &[("TOP_UP_INTERVAL", "1h")]);
    let database = pipeline.database().await;
    by_the_api(&pipeline, &database).await;
    as_events(&pipeline, &database).await;
    at_a_rate(&pipeline, &database).await;
    a_row_too_few_and_a_row_too_many_are_named(&pipeline, &database).await;
    ctrl_c_leaves_nothing_behind(&pipeline, &database).await;
    a_stopped_worker_is_named_and_its_payments_are_left(&pipeline, &database).await;
}

/// `caravan test-flow ARGS -o json`, which ends with `code`.
#[track_caller]
fn test_flow(pipeline: &Pipeline, args: &[&str], code: i32) -> Value {
    let command = [&["test-flow", "-o", "json"], args].concat();
    pipeline.caravan(&command).expect(code).json()
}

/// The places of all hops, short.
fn places(report: &Value) -> Vec<String> {
    let hops = report["hops"].as_array().unwrap().iter();
    hops.map(|hop| {
        let place = &hop["place"];
        let kind = place["kind"].as_str().unwrap();
        let name = ["service", "topic", "table"]
            .iter()
            .find_map(|k| place[k].as_str());
        format!("{kind} {}", name.unwrap())
    })
    .collect()
}

#[track_caller]
fn expect_all_seen(report: &Value, payments: u64) {
    assert_eq!(report["status"], "pass", "{report:#}");
    assert_eq!(report["sent"]["accepted"], payments);
    for hop in report["hops"].as_array().unwrap() {
        assert_eq!(hop["seen"], payments, "{hop:#}");
        let p = |name| hop["sinceDueMs"][name].as_f64().unwrap();
        assert!(
            p("p50") <= p("p95") && p("p95") <= p("p99") && p("p99") <= p("max"),
            "{hop:#}"
        );
    }
    let throughput = &report["throughput"];
    assert_eq!(throughput["by"], "commits");
    assert!(
        throughput["perSecond"].as_f64().unwrap() > 0.0,
        "{throughput}"
    );
    let effect = |name| throughput[name].as_str().unwrap();
    assert!(
        effect("firstEffectAt") < effect("lastEffectAt"),
        "{throughput}"
    );
}

async fn expect_no_rows(database: &PgPool) {
    for sql in [
        "SELECT count(*) FROM payments",
        "SELECT count(*) FROM outbox",
        "SELECT count(*) FROM student_course_purchases",
        "SELECT count(*) FROM trainer_allocations",
        "SELECT count(*) FROM tutoring_sessions",
    ] {
        assert_eq!(count(database, sql).await, 0, "{sql}");
    }
}

async fn by_the_api(pipeline: &Pipeline, database: &PgPool) {
    let report = test_flow(pipeline, &["--count", "200", "--timeout", "60s"], 0);
    expect_all_seen(&report, 200);
    assert_eq!(
        places(&report),
        [
            "entry payment-service",
            "table payments",
            "table outbox",
            "topic purchase-confirmed",
            "table student_course_purchases",
            "topic purchase-created",
            "table trainer_allocations",
            "topic trainer-allocated",
            "table tutoring_sessions",
        ]
    );
    assert_eq!(report["notWatched"], json!(["log", "cache"]));
    assert_eq!(report["cleanup"]["rows"]["tutoring_sessions"], 1400);
    assert_eq!(report["cleanup"]["rows"]["payments"], 200);
    expect_no_rows(database).await;
}

/// Without the entry service, its tables have nothing to show.
async fn as_events(pipeline: &Pipeline, database: &PgPool) {
    let args = ["--direct", "--count", "200", "--keep", "--timeout", "60s"];
    let report = test_flow(pipeline, &args, 0);
    expect_all_seen(&report, 200);
    assert_eq!(
        places(&report)[..2],
        ["topic purchase-confirmed", "table student_course_purchases"]
    );
    assert_eq!(report["cleanup"]["outcome"], "kept");
    assert_eq!(count(database, "SELECT count(*) FROM payments").await, 0);
    let complete = "SELECT count(*) FROM student_course_purchases p
        JOIN trainer_allocations a ON a.purchase_id = p.id
        WHERE p.synthetic AND (SELECT count(*) FROM tutoring_sessions t
                               WHERE t.allocation_id = a.id) = 7";
    assert_eq!(count(database, complete).await, 200);
    for sql in [
        "TRUNCATE student_course_purchases",
        "TRUNCATE trainer_allocations",
        "TRUNCATE tutoring_sessions",
    ] {
        sqlx::query(sql).execute(database).await.unwrap();
    }
}

async fn at_a_rate(pipeline: &Pipeline, database: &PgPool) {
    let before = read_all(pipeline, "purchase-confirmed").len();
    let args = [
        "--direct",
        "--count",
        "101",
        "--rate",
        "100",
        "--timeout",
        "60s",
    ];
    let report = test_flow(pipeline, &args, 0);
    expect_all_seen(&report, 101);
    let sent = &report["sent"];
    assert_eq!(sent["rate"], 100.0);
    // The last one is due a second after the first; how late a busy machine may be is not tested.
    assert!(sent["tookMs"].as_f64().unwrap() >= 1000.0, "{sent}");
    assert!(sent["late"].as_u64().unwrap() <= 101, "{sent}");
    assert!(sent["latestMs"].as_f64().is_some(), "{sent}");
    assert_eq!(read_all(pipeline, "purchase-confirmed").len(), before + 101);
    expect_no_rows(database).await;
    let wrong = pipeline
        .caravan(&["test-flow", "--count", "5", "--rate", "0"])
        .expect(2);
    assert!(wrong.stderr.contains("above 0"), "{}", wrong.stderr);
}

/// The database swallows a session of one allocation and doubles one of another.
const MISCHIEF: [&str; 3] = [
    "CREATE TABLE mischief (kind text PRIMARY KEY, allocation_id uuid NOT NULL UNIQUE)",
    "CREATE FUNCTION mischief() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
     DECLARE chosen text;
     BEGIN
         IF NEW.seq <> 7 THEN RETURN NEW; END IF;
         INSERT INTO mischief VALUES ('swallow', NEW.allocation_id) ON CONFLICT DO NOTHING;
         INSERT INTO mischief VALUES ('double', NEW.allocation_id) ON CONFLICT DO NOTHING;
         SELECT kind INTO chosen FROM mischief WHERE allocation_id = NEW.allocation_id;
         IF chosen = 'swallow' THEN RETURN NULL; END IF;
         IF chosen = 'double' THEN
             INSERT INTO tutoring_sessions (allocation_id, seq, starts_at, synthetic)
             VALUES (NEW.allocation_id, 8, NEW.starts_at, NEW.synthetic);
         END IF;
         RETURN NEW;
     END $$",
    "CREATE TRIGGER mischief BEFORE INSERT ON tutoring_sessions
     FOR EACH ROW EXECUTE FUNCTION mischief()",
];

async fn a_row_too_few_and_a_row_too_many_are_named(pipeline: &Pipeline, database: &PgPool) {
    for sql in MISCHIEF {
        sqlx::query(sql).execute(database).await.unwrap();
    }
    let args = ["--direct", "--count", "50", "--timeout", "60s"];
    let report = test_flow(pipeline, &args, 1);
    sqlx::query("DROP TRIGGER mischief ON tutoring_sessions")
        .execute(database)
        .await
        .unwrap();
    assert_eq!(report["status"], "fail");
    for (list, rows) in [("missing", 6), ("surplus", 8)] {
        let list = &report[list];
        assert_eq!(list["count"], 1, "{report:#}");
        assert_eq!(list["first"][0]["place"]["table"], "tutoring_sessions");
        assert_eq!(list["first"][0]["rows"], rows);
    }
    let ids = ["missing", "surplus"].map(|list| &report[list]["first"][0]["correlationId"]);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(report["pending"], Value::Null);
    expect_no_rows(database).await;
}

async fn ctrl_c_leaves_nothing_behind(pipeline: &Pipeline, database: &PgPool) {
    let child = pipeline
        .command(&["test-flow", "--direct", "--count", "100000", "--rate", "50"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually_async("payments are under way", async || {
        let rows = count(database, "SELECT count(*) FROM student_course_purchases").await;
        (rows > 20).then_some(())
    })
    .await;
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let Ran { stderr, .. } = Ran::of(child.wait_with_output().unwrap()).expect(130);
    assert!(stderr.contains("of 100000 payments were sent"), "{stderr}");
    assert!(stderr.contains("rows were deleted"), "{stderr}");
    expect_no_rows(database).await;
}

/// Last, because its rows stay.
async fn a_stopped_worker_is_named_and_its_payments_are_left(
    pipeline: &Pipeline,
    database: &PgPool,
) {
    pipeline.docker(&["stop", &pipeline.container("session-worker")]);
    let report = test_flow(
        pipeline,
        &["--direct", "--count", "20", "--timeout", SETTLED],
        1,
    );
    let pending = "session-worker has not consumed 20 of its events on trainer-allocated";
    assert_eq!(report["pending"], pending);
    assert_eq!(report["missing"]["count"], 20, "{report:#}");
    let named = report["missing"]["first"].as_array().unwrap();
    assert_eq!(named.len(), 20);
    for payment in named {
        assert_eq!(payment["place"]["table"], "tutoring_sessions");
        assert_eq!(payment["rows"], 0);
    }
    assert_eq!(report["cleanup"]["outcome"], "failed");
    let why = report["cleanup"]["why"].as_str().unwrap();
    assert!(why.contains("all 20 payments"), "{why}");
    let late = pipeline
        .caravan(&["test-flow", "--collect=0s", "--timeout", "1s"])
        .expect(4);
    assert!(
        late.stderr.contains("session-worker has not consumed 20"),
        "{}",
        late.stderr
    );
    pipeline.docker(&["start", &pipeline.container("session-worker")]);
    eventually_async("they go through", async || {
        let rows = count(database, "SELECT count(*) FROM tutoring_sessions").await;
        (rows == 140).then_some(())
    })
    .await;
    // Too young, by default: they might be of a run that is under way.
    let collected = test_flow(pipeline, &["--collect"], 0);
    assert_eq!(collected["cleanup"]["rows"]["tutoring_sessions"], 0);
    let collected = test_flow(pipeline, &["--collect=0s"], 0);
    assert_eq!(collected["cleanup"]["rows"]["tutoring_sessions"], 140);
    expect_no_rows(database).await;
}
