//! The request that makes the payment.

use std::time::Duration;

use reqwest::Client;
use serde_json::Value;

use super::template::Values;
use crate::stores::http;
use declaration::{Entry, Flow, IdSource, Pipeline, correlation::scalar};
use diagnostics::{Error, Kind, Result};

/// Time limit for the entry service's answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// How much of an unexpected answer is shown.
const SHOWN: usize = 500;

/// The declared request, filled in.
pub struct Request<'a> {
    entry: &'a Entry,
    /// The correlation id, if it is known before the request.
    id: Option<String>,
    url: String,
    headers: Vec<(String, String)>,
    body: Value,
}

/// The payment was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The correlation id, drawn before or taken from the answer.
    pub correlation_id: String,
    /// `201 Created`
    pub detail: String,
}

impl<'a> Request<'a> {
    /// # Errors
    /// The declaration: no URL, or a `{{name}}` that is not declared.
    pub fn new(pipeline: &Pipeline, flow: &'a Flow, values: &Values) -> Result<Self> {
        let Some(entry) = &flow.entry else {
            let what = "the declaration has no request that makes a payment";
            return Err(Error::new(Kind::Usage, what).hint("declare x-caravan.flow.entry"));
        };
        let service = pipeline.service(&entry.service);
        let Some(http) = service.and_then(|s| s.http.as_ref()) else {
            let what = format!(
                "{}, where payments enter, has no x-caravan.http",
                entry.service
            );
            return Err(Error::new(Kind::Usage, what));
        };
        let fill = |(name, value): (&String, &String)| Ok((name.clone(), values.fill(value)?));
        Ok(Self {
            entry,
            id: values.id(&entry.correlation_id, None)?,
            url: format!("{}{}", http.url, values.fill(&entry.path)?),
            headers: entry.headers.iter().map(fill).collect::<Result<_>>()?,
            body: values.fill_json(&entry.body)?,
        })
    }

    /// Posts the payment with `client`, whose timeout applies.
    ///
    /// # Errors
    /// `Unreachable`: no answer. `NotRight`: not the declared status, or no correlation id.
    pub async fn send(&self, client: &Client) -> Result<Accepted> {
        let entry = self.entry;
        let request = http::send(
            client,
            &entry.method,
            &self.url,
            &self.headers,
            Some(&self.body),
        );
        let answer = request.await.map_err(|why| {
            let what = format!("{} does not answer", entry.service);
            let sent = format!("{} {}", entry.method, self.url);
            Error::new(Kind::Unreachable, what)
                .because(sent)
                .because(why)
        })?;
        let refused = |what: String| {
            let body: String = answer.body.trim().chars().take(SHOWN).collect();
            Error::new(Kind::NotRight, what)
                .because(format!("{} {}", entry.method, self.url))
                .because(format!("{} {body}", answer.status))
        };
        if answer.status != entry.status {
            let what = format!(
                "{} answered {} instead of {}",
                entry.service, answer.status, entry.status
            );
            return Err(refused(what));
        }
        let id = match (&self.id, &entry.correlation_id) {
            (Some(id), _) => Ok(id.clone()),
            (None, IdSource::Pointer(at) | IdSource::Template(at)) => {
                correlation_id(&answer.body, at).ok_or(at)
            }
        };
        match id {
            Ok(correlation_id) => Ok(Accepted {
                correlation_id,
                detail: answer.status.to_string(),
            }),
            Err(at) => Err(refused(format!(
                "the answer of {} has no correlation id at {at}: its payment cannot be followed, \
                 nor cleaned up",
                entry.service
            ))),
        }
    }
}

/// A string or number at a JSON pointer (RFC 6901).
fn correlation_id(body: &str, pointer: &str) -> Option<String> {
    let json: Value = serde_json::from_str(body).ok()?;
    scalar(json.pointer(pointer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correlation_id_is_found_by_its_pointer() {
        let body = r#"{"paymentId": "p-1", "nested": {"n": 7}, "list": []}"#;
        assert_eq!(correlation_id(body, "/paymentId").as_deref(), Some("p-1"));
        assert_eq!(correlation_id(body, "/nested/n").as_deref(), Some("7"));
        assert_eq!(correlation_id(body, "/list"), None);
        assert_eq!(correlation_id(body, "/none"), None);
        assert_eq!(correlation_id("not json", "/paymentId"), None);
    }
}
