//! The workers' promises on real infrastructure: read back before marking, the rolling window,
//! dead letters, a cache that may be dead.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use caravan_events::{Event, PurchaseCreated, ids};
use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    eventually, eventually_async,
    kafka::{KeyAndValue, lag, produce, read_all},
    payments::{self, count, expect_lessons, post_many},
    pipeline::Pipeline,
    role::Role,
};

#[tokio::test(flavor = "multi_thread")]
async fn workers_keep_their_promises() {
    let pipeline = Pipeline::up("workers", &[("TOP_UP_INTERVAL", "1s")]);
    post_many(&pipeline, "first", 10).await;
    let database = pipeline.database().await;
    expect_lessons(&database, 10).await;

    payments_are_idempotent(&pipeline).await;
    the_window_rolls(&pipeline, &database).await;
    poison_is_dead_lettered(&pipeline).await;
    a_course_without_trainer_is_dead_lettered(&pipeline).await;
    an_allocation_without_its_row_is_not_believed(&pipeline, &database).await;
    a_dead_redis_blocks_nothing(&pipeline).await;
}

async fn payments_are_idempotent(pipeline: &Pipeline) {
    let (first, payment) = payments::post(pipeline, "same", payments::COURSE).await;
    let (second, same) = payments::post(pipeline, "same", payments::COURSE).await;
    assert_eq!((first, second), (201, 200));
    assert_eq!(payment["paymentId"], same["paymentId"]);
    let (third, error) = payments::post(pipeline, "same", payments::COURSE_WITHOUT_TRAINER).await;
    assert_eq!(third, 409, "{error}");

    let url = format!(
        "http://127.0.0.1:{}/payments",
        pipeline.port("PAYMENT_PORT")
    );
    let http = reqwest::Client::new();
    let unauthorised = http.post(&url).json(&json!({})).send().await.unwrap();
    assert_eq!(unauthorised.status(), 401);
    let id = payment["paymentId"].as_str().unwrap();
    let token = pipeline.secret("PAYMENT_TOKEN");
    let read = http.get(format!("{url}/{id}")).bearer_auth(token).send();
    let read = read.await.unwrap();
    assert_eq!(read.status(), 200);
    assert_eq!(read.json::<Value>().await.unwrap()["paymentId"], id);
}

/// Three sessions pass; two replicas top up at once.
async fn the_window_rolls(pipeline: &Pipeline, database: &sqlx::PgPool) {
    let second = Role::start(pipeline, "session-worker", &[("TOP_UP_INTERVAL", "200ms")]);
    let allocation: Uuid =
        sqlx::query_scalar("SELECT id FROM trainer_allocations ORDER BY id LIMIT 1")
            .fetch_one(database)
            .await
            .unwrap();
    sqlx::query(
        "UPDATE tutoring_sessions SET starts_at = now() + make_interval(days => seq - 4, mins => 30)
         WHERE allocation_id = $1",
    )
    .bind(allocation)
    .execute(database)
    .await
    .unwrap();
    let window = async || -> Vec<i32> {
        let sql = "SELECT seq FROM tutoring_sessions
             WHERE allocation_id = $1 AND starts_at > now() ORDER BY seq";
        sqlx::query_scalar(sql)
            .bind(allocation)
            .fetch_all(database)
            .await
            .unwrap()
    };
    eventually_async("seven upcoming again", async || {
        (window().await.len() >= 7).then_some(())
    })
    .await;
    assert_eq!(window().await, [4, 5, 6, 7, 8, 9, 10]);
    drop(second);
    let others = "SELECT count(*) FROM (SELECT 1 FROM tutoring_sessions
        GROUP BY allocation_id HAVING count(*) NOT IN (7, 10)) x";
    assert_eq!(count(database, others).await, 0, "no other window grew");
}

async fn poison_is_dead_lettered(pipeline: &Pipeline) {
    let good = PurchaseCreated {
        purchase_id: Uuid::new_v4(),
        payment_id: Uuid::new_v4(),
        student_id: Uuid::new_v4(),
        course_id: payments::COURSE.parse().unwrap(),
    };
    let mut newer = serde_json::to_value(Event::about(good, Uuid::new_v4(), Utc::now())).unwrap();
    newer["version"] = 2.into();
    let poison: Vec<KeyAndValue> = vec![
        (Some(b"k1".to_vec()), Some(b"not json".to_vec())),
        (Some(vec![0xff, 0xfe]), Some(vec![0xff, 0x00, 0x80])),
        (None, Some(b"[1,2]".to_vec())),
        (Some(b"k4".to_vec()), None),
        (Some(b"k5".to_vec()), Some(newer.to_string().into_bytes())),
        (
            Some(b"k6".to_vec()),
            Some(b"{\"eventType\":\"OTHER\"}".to_vec()),
        ),
    ];
    let places = produce(pipeline, "purchase-confirmed", &poison).await;
    let (status, _) = payments::post(pipeline, "behind-poison", payments::COURSE).await;
    assert_eq!(status, 201);
    let letters = eventually("all poison dead-lettered", || {
        let letters = read_all(pipeline, "dead-letter-queue");
        (letters.len() >= poison.len()).then_some(letters)
    });
    assert_eq!(letters.len(), poison.len());
    let kinds = [
        "not-json",
        "not-utf8",
        "not-json",
        "empty",
        "unknown-version",
        "unknown-event-type",
    ];
    // Some of these are not of PURCHASE_CONFIRMED's type at all; the type is looked at first.
    for (n, ((key, value), (partition, offset))) in poison.iter().zip(&places).enumerate() {
        let place = (partition.to_string(), offset.to_string());
        let letter = letters.iter().find(|l| {
            (&l.headers["dlq-partition"], &l.headers["dlq-offset"]) == (&place.0, &place.1)
        });
        let letter = letter.unwrap_or_else(|| panic!("no letter for message {n}"));
        assert_eq!((&letter.key, &letter.value), (key, value), "byte for byte");
        assert_eq!(letter.headers["dlq-topic"], "purchase-confirmed");
        assert_eq!(letter.headers["dlq-group"], "purchase-worker");
        let kind = &letter.headers["dlq-error-kind"];
        assert!(
            kind == kinds[n] || (n == 4 && kind == "unknown-event-type"),
            "{n}: {kind}"
        );
        assert_ne!(letter.headers["dlq-error"], "");
        assert_eq!(letter.headers["dlq-attempts"], "1");
        chrono::DateTime::parse_from_rfc3339(&letter.headers["dlq-failed-at"]).unwrap();
    }
    eventually("the messages behind are processed", || {
        (lag(pipeline, "purchase-worker", "purchase-confirmed") == 0).then_some(())
    });
    // The other workers may still be joining their groups.
    let ran = eventually("only dead letters are left", || {
        let (ran, ids) = pipeline.not_passing();
        (ran.code == 0 && ids == ["dead-letters.empty"]).then_some(ran)
    });
    let finding = Pipeline::finding(&ran, "dead-letters.empty");
    assert_eq!(finding["status"], "warn");
    assert!(finding.to_string().contains("not-json"), "{finding}");
}

async fn a_course_without_trainer_is_dead_lettered(pipeline: &Pipeline) {
    let key = "nobody-teaches-it";
    let (status, payment) = payments::post(pipeline, key, payments::COURSE_WITHOUT_TRAINER).await;
    assert_eq!(status, 201, "{payment}");
    let id = payment["paymentId"].as_str().unwrap().as_bytes().to_vec();
    let letter = eventually("its letter", || {
        let letters = read_all(pipeline, "dead-letter-queue");
        letters.into_iter().find(|l| l.key.as_ref() == Some(&id))
    });
    assert_eq!(letter.headers["dlq-error-kind"], "no-trainer-available");
    assert!(
        letter.headers["dlq-attempts"].parse::<u32>().unwrap() > 1,
        "{letter:?}"
    );
}

/// A stub admin-service answers 200 for everything, and writes a row for all but one purchase.
async fn an_allocation_without_its_row_is_not_believed(
    pipeline: &Pipeline,
    database: &sqlx::PgPool,
) {
    pipeline.docker(&["stop", &pipeline.container("allocation-worker")]);
    let stub = Arc::new(Stub {
        database: database.clone(),
        trainer: "00000000-0000-4000-8000-00000000a001".parse().unwrap(),
        refused: Mutex::new(None),
    });
    let address = stub.clone().serve().await;
    let admin = format!("http://{address}");
    let variables = [("ADMIN_URL", admin.as_str()), ("ADMIN_TOKEN", "any")];
    let refused: Uuid = post_many(pipeline, "refused", 1).await.pop_first().unwrap();
    *stub.refused.lock().unwrap() = Some(ids::purchase_id(refused));
    post_many(pipeline, "neighbour", 30).await;
    let worker = Role::start(pipeline, "allocation-worker", &variables);

    let emitted = |payment: Uuid| {
        let key = payment.to_string().into_bytes();
        let events = read_all(pipeline, "trainer-allocated");
        events
            .iter()
            .filter(|e| e.key.as_ref() == Some(&key))
            .count()
    };
    let neighbours = "SELECT count(*) FROM payments p
        JOIN student_course_purchases s ON s.payment_id = p.id
        JOIN trainer_allocations a ON a.purchase_id = s.id
        WHERE p.idempotency_key LIKE 'neighbour-%'
        AND (SELECT count(*) FROM tutoring_sessions t WHERE t.allocation_id = a.id) = 7";
    eventually_async("its neighbours finish", async || {
        (count(database, neighbours).await == 30).then_some(())
    })
    .await;
    let event = ids::event_id("PURCHASE_CREATED", ids::purchase_id(refused));
    let marked = async || -> i64 {
        let sql = "SELECT count(*) FROM processed_events
            WHERE consumer = 'allocation-worker' AND event_id = $1";
        sqlx::query_scalar(sql)
            .bind(event)
            .fetch_one(database)
            .await
            .unwrap()
    };
    assert_eq!(marked().await, 0, "not marked without its row");
    assert_eq!(emitted(refused), 0, "not announced without its row");
    assert!(lag(pipeline, "allocation-worker", "purchase-created") > 0);

    *stub.refused.lock().unwrap() = None;
    eventually_async("it is marked once the row is there", async || {
        (marked().await == 1).then_some(())
    })
    .await;
    eventually("and announced", || (emitted(refused) == 1).then_some(()));
    eventually("nothing is left", || {
        (lag(pipeline, "allocation-worker", "purchase-created") == 0).then_some(())
    });
    drop(worker);
    pipeline.caravan(&["up"]).expect(0);
}

async fn a_dead_redis_blocks_nothing(pipeline: &Pipeline) {
    pipeline.docker(&["stop", "-t", "1", &pipeline.container("redis")]);
    let letters = read_all(pipeline, "dead-letter-queue").len();
    post_many(pipeline, "no-redis", 20).await;
    eventually("the cache-worker goes on", || {
        (lag(pipeline, "cache-worker", "purchase-created") == 0).then_some(())
    });
    assert_eq!(read_all(pipeline, "dead-letter-queue").len(), letters);
    let (_, ids) = pipeline.not_passing();
    assert!(ids.contains(&"cache.reachable".to_owned()), "{ids:?}");
    pipeline.caravan(&["up", "redis"]).expect(0);
}

/// An admin-service that lies about one purchase.
struct Stub {
    database: sqlx::PgPool,
    trainer: Uuid,
    refused: Mutex<Option<Uuid>>,
}

impl Stub {
    async fn serve(self: Arc<Self>) -> std::net::SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new()
            .route("/allocations:batch", post(Self::allocate))
            .with_state(self);
        drop(tokio::spawn(
            async move { axum::serve(listener, routes).await },
        ));
        address
    }

    async fn allocate(
        State(stub): State<Arc<Self>>,
        Json(batch): Json<Value>,
    ) -> (StatusCode, Json<Value>) {
        let mut outcomes = Vec::new();
        for item in batch["allocations"].as_array().unwrap() {
            outcomes.push(stub.outcome(item).await);
        }
        (StatusCode::OK, Json(json!({"outcomes": outcomes})))
    }

    async fn outcome(&self, item: &Value) -> Value {
        let id = |name: &str| -> Uuid { item[name].as_str().unwrap().parse().unwrap() };
        let purchase = id("purchaseId");
        let allocation = ids::allocation_id(purchase);
        let refused = *self.refused.lock().unwrap() == Some(purchase);
        if !refused {
            sqlx::query(
                "INSERT INTO trainer_allocations (id, purchase_id, trainer_id, student_id, course_id)
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            )
            .bind(allocation)
            .bind(purchase)
            .bind(self.trainer)
            .bind(id("studentId"))
            .bind(id("courseId"))
            .execute(&self.database)
            .await
            .unwrap();
        }
        json!({
            "outcome": "allocated", "allocationId": allocation, "purchaseId": purchase,
            "trainerId": self.trainer, "studentId": item["studentId"],
            "courseId": item["courseId"], "status": "active",
        })
    }
}
