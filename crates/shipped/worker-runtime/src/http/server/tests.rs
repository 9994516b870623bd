use axum::routing::{get, post};

use super::*;
use crate::http::{BearerToken, guard};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Asks a process with these routes one thing after the other; the answers as they came.
async fn ask_all(health: Health, routes: Router, requests: &[&str]) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = app(health.clone(), Metrics::new(health), routes);
    let shutdown = CancellationToken::new();
    tokio::spawn(accept(listener, app, LIMITS, shutdown));
    let mut answers = Vec::new();
    for request in requests {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let head = format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream
            .write_all(b"Content-Length: 0\r\nAuthorization: Bearer secret\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let routes = Router::new()
        .route("/payments", post(async || "new"))
        .route("/payments/{id}", get(async || "one"));
    let routes = guard(routes, BearerToken::new("secret"));
    let requests = [
        "GET /payments/1",
        "GET /payments/2",
        "POST /payments",
        "DELETE /payments",
        "BREW /payments",
        "GET /wp-admin/1",
        "GET /wp-admin/2",
        "GET /live",
        "GET /metrics",
    ];
    let answers = ask_all(Health::default(), routes, &requests).await;
    let metrics = answers.last().expect("the metrics");
    assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0"));
    let mut counted: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("caravan_http_requests_total{"))
        .map(|line| line.trim_start_matches("caravan_http_requests_total"))
        .collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            r#"{method="DELETE",route="/payments",status="405"} 1"#,
            r#"{method="GET",route="/payments/{id}",status="200"} 2"#,
            r#"{method="GET",route="none",status="404"} 2"#,
            r#"{method="POST",route="/payments",status="200"} 1"#,
            r#"{method="other",route="/payments",status="405"} 1"#,
        ]
    );
    let durations = r#"caravan_http_request_duration_seconds_count{method="GET",route="none"} 2"#;
    assert!(metrics.contains(durations), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_stall_makes_live_and_ready_answer_503() {
    let health = Health::default();
    health.stalled("topic/0: no progress for 180s");
    let answers = ask_all(
        health,
        Router::new(),
        &["GET /live", "GET /ready", "GET /metrics"],
    )
    .await;
    for answer in &answers[..2] {
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("topic/0: no progress for 180s"), "{answer}");
    }
    assert!(answers[2].contains("\ncaravan_live 0\n"));
}

/// Till the server closes it, for at most ten seconds.
async fn read_all(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all);
    let read = tokio::time::timeout(Duration::from_secs(10), read).await;
    // Reset rather than closed where bytes of the request were not read.
    let _reset = read.expect("it is closed");
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn an_incomplete_head_and_an_idle_connection_time_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = Router::new().route("/", get(async || "here"));
    let limits = Limits {
        head: Duration::from_millis(200),
        idle: Duration::from_millis(400),
        ..LIMITS
    };
    tokio::spawn(accept(listener, app, limits, CancellationToken::new()));
    let connect = async |bytes: &str| {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        stream
    };
    assert!(
        !read_all(connect("GET / HTTP/1.1\r\nHost: te").await)
            .await
            .contains("200")
    );
    assert_eq!(read_all(connect("").await).await, "");
    let answered = read_all(connect("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await).await;
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
}

#[tokio::test]
async fn open_requests_are_answered_before_the_server_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let answering = CancellationToken::new();
    let app = Router::new().route("/", {
        let (shutdown, answering) = (shutdown.clone(), answering.clone());
        get(async move || {
            answering.cancel();
            shutdown.cancelled().await;
            "late"
        })
    });
    let served = tokio::spawn(accept(listener, app, LIMITS, shutdown.clone()));
    let idle = TcpStream::connect(address).await.expect("it listens");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    stream.write_all(head).await.expect("sent");
    answering.cancelled().await;
    shutdown.cancel();
    assert!(read_all(stream).await.ends_with("late"));
    assert_eq!(read_all(idle).await, "");
    let served = tokio::time::timeout(Duration::from_secs(10), served).await;
    served.expect("it ends").expect("no panic");
    assert!(
        TcpStream::connect(address).await.is_err(),
        "it listens no more"
    );
}

/// `GET path` on a connection that is closed afterwards.
async fn get_once(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    read_all(stream).await
}

/// Serves `/live` and a route that answers once `release` is cancelled.
async fn limited(limits: Limits, release: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let release = release.clone();
    let slow = get(async move || {
        release.cancelled().await;
        "late"
    });
    let health = Health::default();
    let app = app(
        health.clone(),
        Metrics::new(health),
        Router::new().route("/slow", slow),
    );
    tokio::spawn(accept(listener, app, limits, CancellationToken::new()));
    address
}

#[tokio::test]
async fn health_is_answered_while_half_open_requests_use_all_connections() {
    let release = CancellationToken::new();
    let limits = Limits {
        connections: 64,
        of_one_peer: 64,
        head: Duration::from_secs(60),
        ..LIMITS
    };
    let address = limited(limits, &release).await;
    let mut half_open = Vec::new();
    for _ in 0..limits.connections * 2 {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let head = b"POST /payments HTTP/1.1\r\nHost: te";
        stream.write_all(head).await.expect("sent");
        half_open.push(stream);
    }
    for _ in 0..3 {
        let asked = tokio::time::timeout(Duration::from_secs(2), get_once(address, "/live"));
        let answer = asked.await.expect("answered in time");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn a_request_under_way_never_gives_way() {
    let release = CancellationToken::new();
    let limits = Limits {
        connections: 4,
        of_one_peer: 4,
        ..LIMITS
    };
    let address = limited(limits, &release).await;
    let mut slow = TcpStream::connect(address).await.expect("it listens");
    let head = b"GET /slow HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    slow.write_all(head).await.expect("sent");
    let mut idle = Vec::new();
    for _ in 0..12 {
        // Answered, so the server has seen every earlier connection, too.
        let answer = get_once(address, "/live").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        idle.push(TcpStream::connect(address).await.expect("it listens"));
    }
    release.cancel();
    assert!(read_all(slow).await.ends_with("late"));
}

#[tokio::test]
async fn a_peer_with_too_many_connections_loses_its_own() {
    let limits = Limits {
        connections: 4,
        of_one_peer: 2,
        ..LIMITS
    };
    let all = Arc::new(Connections::new(limits));
    let enter = |last| {
        let peer = std::net::IpAddr::from([10, 0, 0, last]);
        all.enter(peer).expect("one gives way")
    };
    let (other, first, second, third) = (enter(1), enter(2), enter(2), enter(2));
    let gave_way = async |place: &connections::Place| {
        let overdue = tokio::time::timeout(Duration::ZERO, place.overdue());
        overdue.await.is_ok()
    };
    assert!(gave_way(&first).await);
    for stays in [&other, &second, &third] {
        assert!(!gave_way(stays).await);
    }
}
