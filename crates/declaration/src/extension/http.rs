//! `http` of a service: its base URL, or the long form with readiness path and request.

use super::texts;
use crate::{Http, HttpRequest, Invalid, problem::Problem, yaml::View};

use super::flow::{json, slash, status};

/// Methods of the test request; it must be safe to repeat.
const METHODS: [(&str, &str); 5] = [
    ("GET", "GET"),
    ("HEAD", "HEAD"),
    ("OPTIONS", "OPTIONS"),
    ("POST", "POST"),
    ("PUT", "PUT"),
];

pub(super) fn http(view: &View<'_>) -> Result<Http, Problem> {
    let url = |view: &View<'_>| view.parse("a base URL", base_url);
    if !view.is_mapping() {
        return Ok(Http {
            url: url(view)?,
            ready: READY.to_owned(),
            status: OK,
            request: None,
        });
    }
    let mut fields = view.fields()?;
    let http = Http {
        url: url(&fields.require("url")?)?,
        ready: fields
            .read("ready", |v| v.parse("a path", slash))?
            .unwrap_or_else(|| READY.to_owned()),
        status: fields
            .read("status", |v| v.parse("a status", status))?
            .unwrap_or(OK),
        request: fields.read("request", request)?,
    };
    fields.finish()?;
    Ok(http)
}

const READY: &str = "/ready";
const OK: u16 = 200;

fn request(view: &View<'_>) -> Result<HttpRequest, Problem> {
    let mut fields = view.fields()?;
    let request = HttpRequest {
        method: fields
            .read("method", |v| v.word(&METHODS))?
            .unwrap_or("GET")
            .to_owned(),
        path: fields.require("path")?.parse("a path", slash)?,
        headers: fields.read_or_default("headers", texts)?,
        body: fields.read("body", json)?,
        status: fields
            .read("status", |v| v.parse("a status", status))?
            .unwrap_or(OK),
    };
    fields.finish()?;
    Ok(request)
}

/// A URL without trailing slash, so that a path can be appended.
fn base_url(text: &str) -> Result<String, Invalid> {
    let host = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .ok_or("it does not start with http://")?;
    if host.is_empty() || host.contains(['?', '#']) {
        return Err("it is not exactly scheme, host, port and path".into());
    }
    Ok(text.trim_end_matches('/').to_owned())
}
