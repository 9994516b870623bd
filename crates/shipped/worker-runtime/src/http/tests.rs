//! Every refusal, over a real socket: status, JSON body and the headers that belong to it.

use axum::routing::post;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    amount_cents: i64,
}

/// A service with an echo route, and a route that never answers.
async fn service() -> std::net::SocketAddr {
    async fn echo(
        headers: HeaderMap,
        JsonObject(order): JsonObject<Order>,
    ) -> Result<Json<serde_json::Value>, ApiError> {
        Ok(Json(json!({
            "amountCents": order.amount_cents,
            "synthetic": synthetic(&headers)?,
        })))
    }
    let routes = Router::new()
        .route("/orders", post(echo))
        .route("/frozen", post(std::future::pending::<()>));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = bounded(routes, BearerToken::new("secret"), Duration::from_secs(2));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

struct Answer {
    status: u16,
    head: String,
    body: serde_json::Value,
}

/// Sends a request with these headers (a line each) and body.
async fn ask(request_line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(service().await)
        .await
        .expect("it listens");
    let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "{request_line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(body).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    Answer {
        status: head[9..12].parse().expect("a status"),
        head: head.to_lowercase(),
        body: serde_json::from_str(body).expect("JSON, whatever happens"),
    }
}

const TOKEN: &str = "Authorization: Bearer secret";
const JSON: &str = "Content-Type: application/json";
const GOOD: &[u8] = br#"{"amountCents": 4900, "more": {"from": "elsewhere"}}"#;

async fn post_order(headers: &[&str], body: &[u8]) -> Answer {
    ask("POST /orders", headers, body).await
}

#[tokio::test]
async fn a_good_request_gets_through() {
    let answer = post_order(&[TOKEN, JSON, "synthetic: TRUE"], GOOD).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, json!({"amountCents": 4900, "synthetic": true}));
    let answer = post_order(&["authorization: bEARER secret", JSON], GOOD).await;
    assert_eq!(
        answer.body,
        json!({"amountCents": 4900, "synthetic": false})
    );
}

#[tokio::test]
async fn a_request_without_the_token_is_refused() {
    for wrong in [
        "X-Other: 1",
        "Authorization: secret",
        "Authorization: Bearer",
        "Authorization: Bearer ",
        "Authorization: Bearer secre",
        "Authorization: Bearer secret2",
        "Authorization: Bearer Secret",
        "Authorization: Basic secret",
        "Authorization: \u{e9}\u{e9}\u{e9}\u{e9}",
    ] {
        let answer = post_order(&[wrong, JSON], GOOD).await;
        assert_eq!(answer.status, 401, "{wrong}");
        assert_eq!(answer.body["error"], "unauthorized");
        assert!(
            answer.head.contains("www-authenticate: bearer"),
            "{}",
            answer.head
        );
    }
}

#[tokio::test]
async fn bad_bodies_name_the_fault() {
    for (body, word, names) in [
        (&b"{"[..], "malformed_json", "line 1"),
        (b"", "malformed_json", "EOF"),
        (b"{}", "invalid_body", "amountCents"),
        (br#"{"amountCents": "4900"}"#, "invalid_body", "amountCents"),
        (br#"{"amountCents": 49.5}"#, "invalid_body", "amountCents"),
        (b"[4900]", "invalid_body", "a JSON object"),
        (b"4900", "invalid_body", "a JSON object"),
        (b"null", "invalid_body", "a JSON object"),
    ] {
        let answer = post_order(&[TOKEN, JSON], body).await;
        assert_eq!(answer.status, 400, "{body:?}");
        assert_eq!(answer.body["error"], word, "{body:?}");
        let message = answer.body["message"].as_str().expect("a message");
        assert!(message.contains(names), "{message}");
    }
}

#[tokio::test]
async fn bodies_are_json_and_small() {
    let answer = post_order(&[TOKEN, "Content-Type: text/plain"], GOOD).await;
    assert_eq!(answer.status, 415);
    assert_eq!(answer.body["error"], "unsupported_media_type");
    let answer = post_order(&[TOKEN, JSON], &[b' '; MAX_BODY + 1]).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.body["error"], "body_too_large");
}

#[tokio::test]
async fn test_traffic_is_marked_clearly_or_refused() {
    for (headers, word) in [
        (&["Synthetic: 1"][..], "invalid_synthetic"),
        (&["Synthetic:"], "invalid_synthetic"),
        (&["Synthetic: true", "Synthetic: false"], "duplicate_header"),
    ] {
        let headers = [&[TOKEN, JSON], headers].concat();
        let answer = post_order(&headers, GOOD).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.body["error"], word);
    }
}

#[test]
fn a_request_s_trace_continues_and_an_invalid_one_is_replaced() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let taken = |values: &[&'static str]| {
        let headers = values.iter().map(|value| {
            let name = axum::http::HeaderName::from_static(TRACEPARENT_HEADER);
            (name, HeaderValue::from_static(value))
        });
        let mut map = HeaderMap::new();
        map.extend(headers.collect::<Vec<_>>());
        trace(&map).to_string()
    };
    assert_eq!(taken(&[PARENT])[..36], PARENT[..36]);
    assert_ne!(taken(&[PARENT]), PARENT);
    let others: [&[&str]; 4] = [&[], &["yes"], &[""], &[PARENT, PARENT]];
    for none in others {
        let begun = taken(none);
        assert!(Trace::parse(begun.as_bytes()).is_some(), "{begun}");
        assert_ne!(begun[..36], PARENT[..36], "{none:?}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_have_json_errors() {
    let answer = ask("GET /nothing", &[TOKEN], b"").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.body["error"], "not_found");
    let answer = ask("PUT /orders", &[TOKEN], b"").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.body["error"], "method_not_allowed");
    assert!(answer.head.contains("allow: post"), "{}", answer.head);
}

#[tokio::test]
async fn a_request_that_takes_too_long_may_be_sent_again() {
    let answer = ask("POST /frozen", &[TOKEN], b"").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body["error"], "timeout");
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
}

#[tokio::test]
async fn database_errors_are_only_in_the_log() {
    let away = ApiError::from(sqlx::Error::PoolTimedOut);
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE);
    let defect = ApiError::from(sqlx::Error::Encode("secret".into()));
    assert_eq!(defect.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!defect.message.contains("secret"));
}
