//! HTTP to the pipeline's services, with bounded bodies.

use std::time::Duration;

use reqwest::{Client, Method, Response};

use diagnostics::instrument_call;

/// As much of an answer as is read.
const BODY_LIMIT: usize = 64 * 1024;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// At most 64 KiB of it; what is not UTF-8 is replaced.
    pub body: String,
}

/// A client without proxies: what it talks to is published on loopback.
///
/// # Errors
/// A defect of the HTTP library's set-up.
pub fn client(timeout: Duration) -> Result<Client, String> {
    Client::builder()
        .no_proxy()
        .connect_timeout(timeout)
        .timeout(timeout)
        .build()
        .map_err(|e| describe(&e))
}

/// `GET url`.
///
/// # Errors
/// Why there was no answer.
pub async fn get(url: &str, timeout: Duration) -> Result<Answer, String> {
    send(&client(timeout)?, "GET", url, &[], None).await
}

/// A request with headers and, perhaps, a JSON body; a string alone is sent as it is.
///
/// # Errors
/// Why there was no answer.
pub async fn send(
    client: &Client,
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: Option<&serde_json::Value>,
) -> Result<Answer, String> {
    let what = method;
    let method = Method::from_bytes(method.as_bytes()).map_err(|e| e.to_string())?;
    let request = client.request(method, url);
    let mut request = match body {
        None => request,
        Some(serde_json::Value::String(text)) => request.body(text.clone()),
        Some(json) => request.json(json),
    };
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = async { read(request.send().await.map_err(|e| describe(&e))?).await };
    instrument_call("http", format!("{what} {url}"), answer).await
}

async fn read(mut answer: Response) -> Result<Answer, String> {
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while body.len() < BODY_LIMIT {
        match answer.chunk().await.map_err(|e| describe(&e))? {
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

/// The innermost cause: "connection refused" rather than "error sending request".
fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
