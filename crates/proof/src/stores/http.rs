//! HTTP to the pipeline's services, with bounded bodies.

use std::time::Duration;

use reqwest::{Client, Method, Response};

use super::{StoreError, StoreResult, error::io_error};
use diagnostics::{Cause, instrument_call};

/// Maximum size of a body.
const BODY_LIMIT: usize = 64 * 1024;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// The first 64 KiB of the body; invalid UTF-8 is replaced.
    pub body: String,
}

/// A client without proxies, because services are published on loopback.
///
/// # Errors
/// The HTTP client could not be built.
pub fn client(timeout: Duration) -> StoreResult<Client> {
    Client::builder()
        .no_proxy()
        .connect_timeout(timeout)
        .timeout(timeout)
        .build()
        .map_err(failed)
}

/// `GET url`.
///
/// # Errors
/// There was no answer.
pub async fn get(url: &str, timeout: Duration) -> StoreResult<Answer> {
    send(&client(timeout)?, "GET", url, &[], None).await
}

/// A request with headers and, perhaps, a JSON body; a string alone is sent as it is.
///
/// # Errors
/// There was no answer.
pub async fn send(
    client: &Client,
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: Option<&serde_json::Value>,
) -> StoreResult<Answer> {
    let what = method;
    let method = Method::from_bytes(method.as_bytes());
    let method = method.map_err(|e| StoreError::new(Cause::Client, e.to_string()).source_of(e))?;
    let request = client.request(method, url);
    let mut request = match body {
        None => request,
        Some(serde_json::Value::String(text)) => request.body(text.clone()),
        Some(json) => request.json(json),
    };
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = async { read(request.send().await.map_err(failed)?).await };
    instrument_call("http", format!("{what} {url}"), answer).await
}

async fn read(mut answer: Response) -> StoreResult<Answer> {
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while body.len() < BODY_LIMIT {
        match answer.chunk().await.map_err(failed)? {
            Some(chunk) => body.extend_from_slice(&chunk),
            None => break,
        }
    }
    body.truncate(BODY_LIMIT);
    Ok(Answer {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// In the words of the innermost cause: "connection refused" rather than "error sending request".
fn failed(error: reqwest::Error) -> StoreError {
    if error.is_timeout() {
        return StoreError::no_answer().source_of(error);
    }
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let cause = match io_error(&error) {
        Some(socket) => Cause::of_io(socket),
        None if error.is_builder() => Cause::Client,
        None => Cause::Protocol,
    };
    StoreError::new(cause, innermost.to_string()).source_of(error)
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    const SOON: Duration = Duration::from_millis(300);

    async fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        (listener, format!("http://{address}/"))
    }

    async fn error_of(url: &str) -> StoreError {
        get(url, SOON).await.expect_err("no answer")
    }

    #[tokio::test]
    async fn a_closed_port_refuses_the_connection() {
        let (listener, url) = listener().await;
        drop(listener);
        let error = error_of(&url).await;
        assert_eq!(error.cause(), Cause::Connection, "{error:?}");
        assert_eq!(error.to_string(), "Connection refused (os error 111)");
        let source = std::error::Error::source(&error).expect("reqwest's");
        assert!(source.downcast_ref::<reqwest::Error>().is_some());
    }

    #[tokio::test]
    async fn an_unresolved_name_differs_from_a_refused_connection() {
        let answer = get("http://no-such-host.invalid/", SOON * 20).await;
        let error = answer.expect_err("RFC 2606 reserves it");
        assert_eq!(error.cause(), Cause::NameResolution, "{error:?}");
    }

    #[tokio::test]
    async fn a_listener_that_never_answers_is_a_timeout() {
        let (_listener, url) = listener().await;
        let error = error_of(&url).await;
        assert_eq!(error.cause(), Cause::Timeout, "{error:?}");
        assert_eq!(error.to_string(), "no answer in time");
    }

    #[tokio::test]
    async fn what_does_not_speak_http_is_the_protocols_fault() {
        let (listener, url) = listener().await;
        let serve = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let sent = stream.write_all(b"-ERR this is no HTTP\r\n\r\n").await;
            sent.expect("it listens");
            stream
        });
        let error = error_of(&url).await;
        assert_eq!(error.cause(), Cause::Protocol, "{error:?}");
        serve.await.expect("served");
    }

    #[tokio::test]
    async fn an_invalid_address_is_rejected_before_connecting() {
        let error = error_of("nonsense").await;
        assert_eq!(error.cause(), Cause::Client, "{error:?}");
    }
}
