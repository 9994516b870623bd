//! How a message enters the pipeline: with the request to the entry service, or with its first event,
//! produced instead of that service.

use std::time::Duration;

use kafka::record::{Header, OwnedHeaders};
use reqwest::Client;
use serde_json::Value;

use super::{Options, sources::undeclared, steps::Start, template::Values};
use crate::stores::http;
use declaration::{Entry, FirstEvent, Flow, IdSource, Pipeline, correlation::scalar};
use diagnostics::{Error, Kind, Result};
use kafka::{
    Kafka,
    send::{Producer, ProducerRecord},
};

/// Time limit for the entry service's answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How much of an unexpected answer is shown.
const SHOWN: usize = 500;

/// Sends messages into the pipeline.
pub(super) enum Sender<'a> {
    /// With the request to the entry service.
    Requests {
        entry: &'a Entry,
        /// Base URL of the entry service.
        base: &'a str,
        client: Client,
    },
    /// With the first event.
    Events {
        event: &'a FirstEvent,
        producer: Producer,
    },
}

/// A message that the entry service accepted, or whose first event Kafka acknowledged.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The correlation id, drawn before or taken from the answer.
    pub(super) correlation_id: String,
    /// The status, `201`; None for an event, which is seen on its topic.
    pub(super) answer: Option<String>,
}

/// The declared request, filled in.
struct Request {
    /// The correlation id, if it is known before the request.
    id: Option<String>,
    url: String,
    headers: Vec<(String, String)>,
    body: Value,
}

impl<'a> Sender<'a> {
    /// # Errors
    /// `Usage`: the declaration does not say where to send to, or has no first event.
    pub(super) fn open(pipeline: &'a Pipeline, flow: &'a Flow, options: Options) -> Result<Self> {
        let sender = match (&flow.entry, &flow.event) {
            (Some(entry), _) if !options.direct => {
                let service = pipeline.service(&entry.service);
                let Some(http) = service.and_then(|s| s.http.as_ref()) else {
                    let what = format!("the entry service {} has no x-caravan.http", entry.service);
                    return Err(Error::new(Kind::Usage, what));
                };
                let client = http::client(TIMEOUT).map_err(|why| Error::new(Kind::Defect, why))?;
                Self::Requests {
                    entry,
                    base: &http.url,
                    client,
                }
            }
            (_, Some(event)) => {
                let kafka = pipeline.kafka.as_ref().ok_or_else(|| undeclared("Kafka"))?;
                let producer = Kafka::new(&kafka.address).and_then(|kafka| kafka.producer());
                Self::Events {
                    event,
                    producer: producer.map_err(|why| Error::new(Kind::Defect, why))?,
                }
            }
            (_, None) => {
                let what = "the declaration does not say what the first event is";
                let flag = if options.poison {
                    "--poison"
                } else {
                    "--direct"
                };
                let hint = format!("declare x-caravan.flow.event, or leave {flag} out");
                return Err(Error::new(Kind::Usage, what).hint(hint));
            }
        };
        // Wrong templates are found before the first message is due.
        let values = Values::draw(&flow.values);
        match &sender {
            Self::Requests { entry, base, .. } => drop(Request::new(entry, base, &values)?),
            Self::Events { event, .. } => drop(fill(event, &values)?),
        }
        Ok(sender)
    }

    /// Waits until the first message would be sent at once: what the producer does before it is no part of the
    /// message's time.
    pub(super) async fn ready(&self) {
        match self {
            Self::Requests { .. } => {}
            Self::Events { event, producer } => producer.ready(&event.topic).await,
        }
    }

    /// The first hop.
    pub(super) fn start(&self) -> Start<'a> {
        match self {
            Self::Requests { .. } => Start::Entry,
            Self::Events { event, .. } => Start::Event(&event.topic),
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// `Unreachable`: no answer. `NotRight`: the entry service refuses it.
    pub(super) async fn send(&self, values: &Values) -> Result<Accepted> {
        match self {
            Self::Requests {
                entry,
                base,
                client,
            } => {
                let request = Request::new(entry, base, values)?;
                request.send(entry, client).await
            }
            Self::Events { event, producer } => {
                let (correlation_id, record) = fill(event, values)?;
                let sent = producer.send_one(&record).await;
                sent.map_err(|why| {
                    let what = format!("the first event could not be sent to {}", event.topic);
                    Error::new(Kind::Unreachable, what).because(why)
                })?;
                Ok(Accepted {
                    correlation_id,
                    answer: None,
                })
            }
        }
    }
}

/// A service that fails may have committed before.
const STORED: &str = "it may have stored the message all the same: test-flow --collect=0s deletes such rows later, \
                      where tables have `synthetic`";

impl Request {
    fn new(entry: &Entry, base: &str, values: &Values) -> Result<Self> {
        let fill = |(name, value): (&String, &String)| Ok((name.clone(), values.fill(value)?));
        Ok(Self {
            id: values.id(&entry.correlation_id, None)?,
            url: format!("{base}{}", values.fill(&entry.path)?),
            headers: entry.headers.iter().map(fill).collect::<Result<_>>()?,
            body: values.fill_json(&entry.body)?,
        })
    }

    async fn send(self, entry: &Entry, client: &Client) -> Result<Accepted> {
        let body = Some(&self.body);
        let request = http::send(client, &entry.method, &self.url, &self.headers, body);
        let answer = request.await.map_err(|why| {
            let what = format!("{} does not answer", entry.service);
            let sent = format!("{} {}", entry.method, self.url);
            Error::new(Kind::Unreachable, what)
                .because(sent)
                .because(why)
                .because(STORED)
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
            let refused = refused(what);
            return Err(match answer.status {
                500.. => refused.because(STORED),
                _ => refused,
            });
        }
        let id = match (self.id, &entry.correlation_id) {
            (Some(id), _) => Ok(id),
            (None, IdSource::Pointer(at) | IdSource::Template(at)) => {
                correlation_id(&answer.body, at).ok_or(at)
            }
        };
        match id {
            Ok(correlation_id) => Ok(Accepted {
                correlation_id,
                answer: Some(answer.status.to_string()),
            }),
            Err(at) => Err(refused(format!(
                "the answer of {} has no correlation id at {at}: what it accepted can be neither \
                 followed nor cleaned up",
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

/// The first event of one message, and its correlation id.
///
/// # Errors
/// `Usage`: a `{{name}}` that is not declared.
pub(super) fn fill(event: &FirstEvent, values: &Values) -> Result<(String, ProducerRecord)> {
    let body = values.fill_json(&event.body)?;
    let id = values.id(&event.correlation_id, Some(&body))?;
    let id = id.unwrap_or_else(|| unreachable!("the declaration was checked"));
    let mut headers = OwnedHeaders::new();
    for (key, value) in &event.headers {
        let value = values.fill(value)?;
        headers = headers.insert(Header {
            key,
            value: Some(&value),
        });
    }
    let key = event.key.as_ref().map(|key| values.fill(key)).transpose()?;
    let text = match body {
        serde_json::Value::String(text) => text,
        json => json.to_string(),
    };
    let record = ProducerRecord {
        topic: event.topic.clone(),
        partition: None,
        key: key.map(String::into_bytes),
        value: Some(text.into_bytes()),
        headers,
    };
    Ok((id, record))
}

#[cfg(test)]
mod tests {
    use kafka::record::Headers;

    use super::*;
    use declaration::testing::shipped;

    #[test]
    fn a_correlation_id_is_found_by_its_pointer() {
        let body = r#"{"paymentId": "p-1", "nested": {"n": 7}, "list": []}"#;
        assert_eq!(correlation_id(body, "/paymentId").as_deref(), Some("p-1"));
        assert_eq!(correlation_id(body, "/nested/n").as_deref(), Some("7"));
        assert_eq!(correlation_id(body, "/list"), None);
        assert_eq!(correlation_id(body, "/none"), None);
        assert_eq!(correlation_id("not json", "/paymentId"), None);
    }

    /// What the shipped workers would read.
    #[test]
    fn the_shipped_first_event_is_one_of_the_pipeline() {
        let flow = shipped().flow.expect("a flow");
        let event = flow.event.as_ref().expect("an event");
        let (id, record) = fill(event, &Values::draw(&flow.values)).expect("is right");
        let read =
            caravan_events::decode::<caravan_events::PurchaseConfirmed>(record.value.as_deref())
                .expect("a valid event");
        assert_eq!(read.correlation_id.to_string(), id);
        assert_eq!(read.payload.payment_id, read.correlation_id);
        assert_eq!(record.key.as_deref(), Some(id.as_bytes()));
        assert_eq!(record.topic, "purchase-confirmed");
        assert!(kafka::record::is_synthetic(Some(&record.headers)));
        assert_eq!(record.headers.count(), 1);
        let (other, _) = fill(event, &Values::draw(&flow.values)).expect("is right");
        assert_ne!(id, other);
    }

    #[test]
    fn an_event_may_be_a_text_without_a_key() {
        let values = Values::draw(&[("order".to_owned(), "o-1".to_owned())].into());
        let event = FirstEvent {
            topic: "orders".to_owned(),
            key: None,
            headers: [("id".to_owned(), "{{order}}".to_owned())].into(),
            body: "<order no=\"{{order}}\"/>".into(),
            correlation_id: IdSource::Template("{{order}}".to_owned()),
            id: None,
        };
        let (id, record) = fill(&event, &values).expect("is right");
        assert_eq!((id.as_str(), record.key), ("o-1", None));
        assert_eq!(record.value.as_deref(), Some(&b"<order no=\"o-1\"/>"[..]));
        assert_eq!(record.headers.get(0).value, Some(&b"o-1"[..]));
    }
}
