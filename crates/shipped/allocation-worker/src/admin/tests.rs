use std::collections::VecDeque;

use axum::{Json, Router, extract::State, http::HeaderMap, routing::post};
use caravan_events::Event;
use chrono::Utc;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

use super::*;

fn received(number: u128, synthetic: bool) -> Received<PurchaseCreated> {
    let payload = PurchaseCreated {
        purchase_id: Uuid::from_u128(number),
        payment_id: Uuid::from_u128(2),
        student_id: Uuid::from_u128(3),
        course_id: Uuid::from_u128(4),
    };
    Received {
        event: Event::about(payload, Uuid::from_u128(2), Utc::now()),
        synthetic,
        trace: None,
        partition: 0,
        offset: 0,
    }
}

fn kind(result: &Result<(), Failure>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(Failure::Infrastructure(_)) => "infrastructure",
        Err(Failure::Transient(_)) => "transient",
        Err(Failure::Permanent(_)) => "permanent",
    }
}

/// Returns its scripted responses in order, and records the requests.
#[derive(Clone, Default)]
struct Stub {
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    requests: Arc<Mutex<Vec<Value>>>,
}

async fn answer(
    State(stub): State<Stub>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    assert_eq!(headers["authorization"], "Bearer secret");
    stub.requests.lock().expect("no panic").push(body);
    let next = stub.answers.lock().expect("no panic").pop_front();
    let (status, answer) = next.expect("an answer for each call");
    (
        StatusCode::from_u16(status).expect("a status"),
        Json(answer),
    )
}

/// The results for `count` purchases with these responses, and the requests that were sent.
async fn request_allocations(
    count: u128,
    answers: &[(u16, Value)],
) -> (Vec<Result<(), Failure>>, Vec<Value>) {
    let stub = Stub::default();
    stub.answers
        .lock()
        .expect("no panic")
        .extend(answers.iter().cloned());
    let routes = Router::new()
        .route("/allocations:batch", post(answer))
        .with_state(stub.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let admin = AdminService::new(&url, "secret").expect("a URL");
    let events: Vec<_> = (0..count).map(|n| received(n, n == 1)).collect();
    let results = admin.allocate(&events.iter().collect::<Vec<_>>()).await;
    let requests = stub.requests.lock().expect("no panic").clone();
    (results, requests)
}

fn allocated(count: usize) -> Value {
    let outcome = json!({"outcome": "allocated", "allocationId": Uuid::nil()});
    json!({"outcomes": vec![outcome; count]})
}

#[tokio::test]
async fn each_purchase_gets_its_own_outcome_of_one_call() {
    let outcomes = json!({"outcomes": [
        {"outcome": "allocated", "allocationId": Uuid::nil(), "more": 1},
        {"outcome": "already_allocated"},
        {"outcome": "no_trainer_available", "message": "none is free"},
        {"outcome": "invalid", "message": "no such thing"},
    ]});
    let (results, requests) = request_allocations(4, &[(200, outcomes)]).await;
    let kinds: Vec<_> = results.iter().map(kind).collect();
    assert_eq!(kinds, ["ok", "ok", "transient", "permanent"]);
    assert_eq!(requests.len(), 1);
    let items = requests[0]["allocations"].as_array().expect("items");
    assert_eq!(items.len(), 4);
    assert_eq!(
        items[1],
        json!({"purchaseId": Uuid::from_u128(1), "studentId": Uuid::from_u128(3),
               "courseId": Uuid::from_u128(4), "synthetic": true})
    );
    assert_eq!(items[2]["synthetic"], false);
}

#[tokio::test]
async fn a_response_without_outcomes_is_an_infrastructure_failure() {
    let refusal = json!({"error": "word", "message": "why"});
    for status in [
        301, 400, 401, 403, 404, 405, 408, 409, 413, 422, 429, 500, 502, 503,
    ] {
        let (results, _) = request_allocations(3, &[(status, refusal.clone())]).await;
        assert_eq!(results.len(), 3);
        assert!(
            results.iter().all(|r| kind(r) == "infrastructure"),
            "{status}: {results:?}"
        );
    }
    for answer in [
        json!({}),
        json!(null),
        json!({"outcomes": "many"}),
        json!({"outcomes": [{"outcome": "perhaps"}, {"outcome": "allocated"}]}),
        allocated(1),
        allocated(3),
    ] {
        let (results, _) = request_allocations(2, &[(200, answer.clone())]).await;
        assert_eq!(results.len(), 2);
        assert!(
            results.iter().all(|r| kind(r) == "infrastructure"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn an_older_admin_service_is_named() {
    let (results, _) = request_allocations(
        1,
        &[(404, json!({"error": "not_found", "message": "nothing"}))],
    )
    .await;
    let text = results[0].as_ref().expect_err("404").to_string();
    assert!(
        text.contains("/allocations:batch") && text.contains("ADMIN_URL"),
        "{text}"
    );
}

#[tokio::test]
async fn an_endless_response_is_read_up_to_the_limit() {
    let endless = json!({"outcomes": ["x".repeat(100 * MAX_OUTCOME)]});
    let (results, _) = request_allocations(2, &[(200, endless)]).await;
    assert!(results.iter().all(|r| kind(r) == "infrastructure"));
}

#[tokio::test]
async fn more_purchases_than_the_maximum_are_sent_in_several_calls() {
    let (results, requests) = request_allocations(
        2001,
        &[
            (200, allocated(1000)),
            (200, allocated(1000)),
            (200, allocated(1)),
        ],
    )
    .await;
    assert_eq!(results.len(), 2001);
    assert!(results.iter().all(|r| kind(r) == "ok"));
    assert_eq!(requests.len(), 3);

    let (results, requests) =
        request_allocations(2001, &[(200, allocated(1000)), (503, json!({}))]).await;
    assert_eq!(
        results
            .iter()
            .filter(|r| kind(r) == "infrastructure")
            .count(),
        1001
    );
    assert_eq!(requests.len(), 2, "no further request is sent");
}

#[tokio::test]
async fn an_unreachable_service_is_an_infrastructure_failure_without_the_secret() {
    let admin = AdminService::new("http://127.0.0.1:1/", "secret").expect("a URL");
    let event = received(1, true);
    let results = admin.allocate(&[&event]).await;
    let text = results[0].as_ref().expect_err("nobody").to_string();
    assert_eq!(kind(&results[0]), "infrastructure");
    assert!(
        text.contains("/allocations:batch") && !text.contains("secret"),
        "{text}"
    );
}
