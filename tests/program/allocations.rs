//! Purchases get their trainers: many at once, from several replicas of the admin-service.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{
    eventually_async, free_port,
    payments::{COURSE, COURSE_WITHOUT_TRAINER, count},
    pipeline::Pipeline,
    role::Role,
};

/// A replica of the admin-service.
#[derive(Clone)]
struct Admin {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Admin {
    fn at(port: &str, token: &str) -> Self {
        Self {
            client: reqwest::Client::new(),
            url: format!("http://127.0.0.1:{port}"),
            token: token.to_owned(),
        }
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.url));
        let answer = request.bearer_auth(&self.token).json(body).send().await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The outcomes of a batch. Whoever is told that the database is not to be had now (a machine
    /// so busy that no connection opens in time) sends the very same batch again.
    async fn batch(&self, items: &[Value]) -> Vec<Value> {
        let body = json!({ "allocations": items });
        let answered = eventually_async("an answer", async || {
            let (status, answer) = self.post("/allocations:batch", &body).await;
            assert!(matches!(status, 200 | 503), "{answer}");
            (status == 200).then_some(answer)
        });
        let outcomes = answered.await["outcomes"].as_array().unwrap().clone();
        assert_eq!(outcomes.len(), items.len());
        outcomes
    }
}

fn purchase(course: &str) -> Value {
    json!({"purchaseId": Uuid::new_v4(), "studentId": Uuid::new_v4(), "courseId": course})
}

fn purchases(course: &str, number: usize) -> Vec<Value> {
    (0..number).map(|_| purchase(course)).collect()
}

/// How many of each outcome.
fn tally(outcomes: &[Value]) -> BTreeMap<&str, usize> {
    let mut tally = BTreeMap::new();
    for outcome in outcomes {
        *tally
            .entry(outcome["outcome"].as_str().unwrap())
            .or_default() += 1;
    }
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn trainers_are_allocated_in_batches() {
    let pipeline = Pipeline::declared("allocations", &[]);
    pipeline.caravan(&["up", "admin-service"]).expect(0);
    let database = pipeline.database().await;
    let token = pipeline.secret("ADMIN_TOKEN");
    let port = free_port().to_string();
    let replica = Role::start(
        &pipeline,
        "admin-service",
        &[("HTTP_PORT", &port), ("API_TOKEN", &token)],
    );
    let first = Admin::at(pipeline.port("ADMIN_PORT"), &token);
    let second = Admin::at(&port, &token);
    wait_for(&second).await;

    each_item_has_its_own_outcome(&first, &database).await;
    a_batch_is_bounded(&first).await;
    replicas_never_go_over_capacity(&first, &second, &database).await;
    the_same_batch_from_everywhere_is_one(&first, &second, &database).await;
    loads_follow_whoever_writes(&first, &database).await;
    drop(replica);
}

async fn wait_for(admin: &Admin) {
    let ready = format!("{}/ready", admin.url);
    eventually_async("the second replica is ready", async || {
        let answer = admin.client.get(&ready).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
}

async fn each_item_has_its_own_outcome(admin: &Admin, database: &PgPool) {
    let good = purchase(COURSE);
    let mut synthetic = purchase(COURSE);
    synthetic["synthetic"] = true.into();
    let items = [
        good.clone(),
        purchase(COURSE_WITHOUT_TRAINER),
        json!({"purchaseId": "no-uuid"}),
        json!(7),
        good.clone(),
        synthetic.clone(),
    ];
    let outcomes = admin.batch(&items).await;
    let words: Vec<_> = outcomes
        .iter()
        .map(|o| o["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(
        words,
        [
            "allocated",
            "no_trainer_available",
            "invalid",
            "invalid",
            "already_allocated",
            "allocated"
        ]
    );
    assert!(outcomes[2]["message"].as_str().unwrap().contains("UUID"));
    assert_eq!(outcomes[0]["allocationId"], outcomes[4]["allocationId"]);
    assert_eq!(outcomes[0]["purchaseId"], good["purchaseId"]);
    let marked = "SELECT count(*) FROM trainer_allocations WHERE synthetic";
    assert_eq!(count(database, marked).await, 1);

    // One at a time is a batch of one.
    let (status, again) = admin.post("/allocations", &good).await;
    assert_eq!(
        (status, &again["allocationId"]),
        (200, &outcomes[0]["allocationId"])
    );
    let (status, _) = admin.post("/allocations", &purchase(COURSE)).await;
    assert_eq!(status, 201);
    let (status, none) = admin
        .post("/allocations", &purchase(COURSE_WITHOUT_TRAINER))
        .await;
    assert_eq!(
        (status, &none["error"]),
        (409, &json!("no_trainer_available"))
    );
    assert_eq!(admin.batch(&[json!({})]).await[0]["outcome"], "invalid");
}

async fn a_batch_is_bounded(admin: &Admin) {
    for items in [vec![], purchases(COURSE, 1001)] {
        let body = json!({ "allocations": items });
        let (status, answer) = admin.post("/allocations:batch", &body).await;
        assert_eq!(
            (status, &answer["error"]),
            (400, &json!("invalid_body")),
            "{answer}"
        );
    }
    let long = json!({"allocations": ["x".repeat(600 * 1024)]});
    let (status, answer) = admin.post("/allocations:batch", &long).await;
    assert_eq!((status, &answer["error"]), (413, &json!("body_too_large")));
    let largest = admin.batch(&purchases(COURSE, 1000)).await;
    assert_eq!(tally(&largest), BTreeMap::from([("allocated", 1000)]));
}

/// A course of its own, and trainers with these capacities who teach it.
async fn course(database: &PgPool, capacities: &[i32]) -> String {
    let course = Uuid::new_v4();
    sqlx::query("INSERT INTO courses (id, title) VALUES ($1, 'tested')")
        .bind(course)
        .execute(database)
        .await
        .unwrap();
    sqlx::query(
        "WITH t AS (INSERT INTO trainers (id, name, capacity)
             SELECT gen_random_uuid(), 'tested', * FROM unnest($1::integer[]) RETURNING id)
         INSERT INTO trainer_courses SELECT id, $2 FROM t",
    )
    .bind(capacities)
    .bind(course)
    .execute(database)
    .await
    .unwrap();
    course.to_string()
}

/// Trainers whose counted load is not what they hold.
const MISCOUNTED: &str = "SELECT count(*) FROM trainers t WHERE active_allocations <>
    (SELECT count(*) FROM trainer_allocations a WHERE a.trainer_id = t.id AND a.status = 'active')";
const OVER_CAPACITY: &str = "SELECT count(*) FROM trainers WHERE active_allocations > capacity";

async fn held(database: &PgPool, course: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM trainer_allocations WHERE course_id = $1::uuid")
        .bind(course)
        .fetch_one(database)
        .await
        .unwrap()
}

/// Two courses share trainers, and ask for more than they have.
async fn replicas_never_go_over_capacity(first: &Admin, second: &Admin, database: &PgPool) {
    let (one, other) = (
        course(database, &[100, 37, 0]).await,
        course(database, &[50]).await,
    );
    sqlx::query(
        "INSERT INTO trainer_courses SELECT c.trainer_id, $1::uuid FROM trainer_courses c
         JOIN trainers t ON t.id = c.trainer_id WHERE c.course_id = $2::uuid AND t.capacity = 100",
    )
    .bind(&other)
    .bind(&one)
    .execute(database)
    .await
    .unwrap();
    let batches = (0..24).map(|n| {
        let admin = if n % 2 == 0 { first } else { second };
        let courses = if n % 3 == 0 {
            [&one, &other]
        } else {
            [&other, &one]
        };
        let items = courses.map(|course| purchases(course, 8)).concat();
        async move { admin.batch(&items).await }
    });
    let outcomes = join_all(batches).await.concat();
    assert_eq!(tally(&outcomes)["no_trainer_available"], 384 - 187);
    let held = held(database, &one).await + held(database, &other).await;
    assert_eq!(held, 187, "all capacity is used, and none twice");
    assert_eq!(count(database, OVER_CAPACITY).await, 0);
    assert_eq!(count(database, MISCOUNTED).await, 0);
}

/// Exactly as much capacity as purchases: a slot given twice would be missing.
async fn the_same_batch_from_everywhere_is_one(first: &Admin, second: &Admin, database: &PgPool) {
    let course = course(database, &[20, 20]).await;
    let items = purchases(&course, 40);
    let calls = (0..12).map(|n| {
        let admin = if n % 2 == 0 { first } else { second };
        let mut items = items.clone();
        items.rotate_left(n * 3);
        items.truncate(30);
        async move { admin.batch(&items).await }
    });
    let outcomes = join_all(calls).await.concat();
    assert!(!tally(&outcomes).contains_key("no_trainer_available"));
    assert_eq!(held(database, &course).await, 40);
    assert_eq!(count(database, MISCOUNTED).await, 0);
}

/// The service's own rows, those that others end, move, delete, and insert past it.
async fn loads_follow_whoever_writes(admin: &Admin, database: &PgPool) {
    let course = course(database, &[2]).await;
    let outcomes = admin.batch(&purchases(&course, 3)).await;
    assert_eq!(tally(&outcomes)["allocated"], 2);
    for write in [
        "UPDATE trainer_allocations SET status = 'ended' WHERE course_id = $1::uuid",
        "UPDATE trainer_allocations SET status = 'active' WHERE course_id = $1::uuid",
        "UPDATE trainer_allocations SET trainer_id = '00000000-0000-4000-8000-00000000a001'
             WHERE course_id = $1::uuid",
        "DELETE FROM trainer_allocations WHERE course_id = $1::uuid",
        "INSERT INTO trainer_allocations (id, purchase_id, trainer_id, student_id, course_id)
             SELECT gen_random_uuid(), gen_random_uuid(), trainer_id, gen_random_uuid(), course_id
             FROM trainer_courses WHERE course_id = $1::uuid",
    ] {
        let done = sqlx::query(write).bind(&course).execute(database).await;
        assert!(done.unwrap().rows_affected() > 0, "{write}");
        assert_eq!(count(database, MISCOUNTED).await, 0, "{write}");
    }
    // One of two is free again.
    let outcomes = admin.batch(&purchases(&course, 3)).await;
    assert_eq!(tally(&outcomes)["allocated"], 1);
}
