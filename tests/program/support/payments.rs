//! Payments, made and counted.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::{eventually_async, pipeline::Pipeline};

/// The course that most trainers teach; one that nobody does.
pub(crate) const COURSE: &str = "00000000-0000-4000-8000-00000000c001";
pub(crate) const COURSE_WITHOUT_TRAINER: &str = "00000000-0000-4000-8000-00000000c004";

/// Posts a payment; the status and the answer.
pub(crate) async fn post(pipeline: &Pipeline, key: &str, course: &str) -> (u16, Value) {
    post_with(&reqwest::Client::new(), pipeline, key, course).await
}

async fn post_with(
    client: &reqwest::Client,
    pipeline: &Pipeline,
    key: &str,
    course: &str,
) -> (u16, Value) {
    let body = json!({
        "studentId": Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes()),
        "courseId": course, "amountCents": 4900, "currency": "EUR",
    });
    let url = format!(
        "http://127.0.0.1:{}/payments",
        pipeline.port("PAYMENT_PORT")
    );
    let request = client
        .post(url)
        .bearer_auth(pipeline.secret("PAYMENT_TOKEN"))
        .header("Idempotency-Key", key)
        .timeout(Duration::from_secs(30))
        .json(&body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Posts `count` payments at once; their ids.
pub(crate) async fn post_many(pipeline: &Pipeline, prefix: &str, count: usize) -> BTreeSet<Uuid> {
    let keys: Vec<_> = (0..count).map(|n| format!("{prefix}-{n}")).collect();
    let client = reqwest::Client::new();
    stream::iter(keys)
        .map(async |key| {
            let (status, answer) = post_with(&client, pipeline, &key, COURSE).await;
            assert_eq!(status, 201, "{answer}");
            answer["paymentId"]
                .as_str()
                .unwrap()
                .parse::<Uuid>()
                .unwrap()
        })
        .buffer_unordered(count)
        .collect()
        .await
}

/// One number out of the database.
pub(crate) async fn count(database: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(database).await.unwrap()
}

/// Waits until `payments` payments have become their lessons, then asserts that nothing is there
/// twice, half or without its cause.
pub(crate) async fn expect_lessons(database: &PgPool, payments: i64) {
    let done = "SELECT count(*) FROM (SELECT allocation_id FROM tutoring_sessions
        GROUP BY 1 HAVING count(*) >= 7) a";
    eventually_async("a window of sessions for each payment", async || {
        (count(database, done).await >= payments).then_some(())
    })
    .await;
    let exact = "SELECT count(*) FROM payments p
        JOIN student_course_purchases s ON s.payment_id = p.id
        JOIN trainer_allocations a ON a.purchase_id = s.id
        WHERE (SELECT count(*) FROM tutoring_sessions t WHERE t.allocation_id = a.id) = 7";
    assert_eq!(count(database, exact).await, payments, "complete chains");
    for (table, rows) in [
        ("SELECT count(*) FROM payments", payments),
        ("SELECT count(*) FROM student_course_purchases", payments),
        ("SELECT count(*) FROM trainer_allocations", payments),
        ("SELECT count(*) FROM tutoring_sessions", payments * 7),
    ] {
        assert_eq!(count(database, table).await, rows, "{table}");
    }
}

/// One checksum over every row that payments lead to.
pub(crate) async fn checksum(database: &PgPool) -> String {
    let sql = "SELECT md5(string_agg(row, ',' ORDER BY row)) FROM (
        SELECT p::text AS row FROM student_course_purchases p
        UNION ALL SELECT a::text FROM trainer_allocations a
        UNION ALL SELECT s::text FROM tutoring_sessions s) rows";
    sqlx::query_scalar(sql).fetch_one(database).await.unwrap()
}
