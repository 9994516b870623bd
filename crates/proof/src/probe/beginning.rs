//! Starts a payment: with the request to the entry service, or with its first event, produced
//! instead of that service.

use kafka::record::{Header, OwnedHeaders};
use reqwest::Client;

use super::{
    entry::{Request, TIMEOUT},
    expected::Start,
    template::Values,
};
use crate::stores::http;
use declaration::{FirstEvent, Flow, Pipeline};
use diagnostics::{Error, Kind, Result};
use kafka::{
    Kafka,
    send::{Producer, ProducerRecord},
};

/// The request or event that starts the payment.
pub(super) enum Beginning<'a> {
    Request(Request<'a>, Client),
    Event {
        event: &'a FirstEvent,
        id: String,
        record: ProducerRecord,
        producer: Producer,
    },
}

/// The payment was accepted.
pub(super) struct Begun {
    pub(super) correlation_id: String,
    /// For instance `201 Created`; None for an event, which is seen on its topic.
    pub(super) answer: Option<String>,
}

impl<'a> Beginning<'a> {
    /// # Errors
    /// `Usage`: the declaration does not say where to send to.
    pub(super) fn new(pipeline: &Pipeline, flow: &'a Flow, values: &Values) -> Result<Self> {
        let Some(event) = flow.event.as_ref().filter(|_| flow.entry.is_none()) else {
            let request = Request::new(pipeline, flow, values)?;
            let client = http::client(TIMEOUT).map_err(|why| Error::new(Kind::Defect, why))?;
            return Ok(Self::Request(request, client));
        };
        let (id, record) = fill(event, values)?;
        Ok(Self::Event {
            event,
            id,
            record,
            producer: open(pipeline)?,
        })
    }

    /// The first hop.
    pub(super) fn start(&self) -> Start<'a> {
        match self {
            Self::Request(..) => Start::Entry,
            Self::Event { event, .. } => Start::Event(&event.topic),
        }
    }

    /// # Errors
    /// `Unreachable`: no answer. `NotRight`: the entry service refuses the payment.
    pub(super) async fn begin(self) -> Result<Begun> {
        match self {
            Self::Request(request, client) => {
                let accepted = request.send(&client).await?;
                Ok(Begun {
                    correlation_id: accepted.correlation_id,
                    answer: Some(accepted.detail),
                })
            }
            Self::Event {
                event,
                id,
                record,
                producer,
            } => {
                let sent = producer.send_one(&record).await;
                sent.map_err(|e| {
                    let what = format!("the first event could not be sent to {}", event.topic);
                    Error::new(Kind::Unreachable, what).because(e)
                })?;
                Ok(Begun {
                    correlation_id: id,
                    answer: None,
                })
            }
        }
    }
}

/// A producer of first events.
///
/// # Errors
/// `Usage`: the declaration does not say where Kafka is.
pub fn open(pipeline: &Pipeline) -> Result<Producer> {
    let Some(kafka) = &pipeline.kafka else {
        let what = "the declaration does not say where Kafka is";
        return Err(Error::new(Kind::Usage, what));
    };
    let producer = Kafka::new(&kafka.address).and_then(|kafka| kafka.producer());
    producer.map_err(|why| Error::new(Kind::Defect, why))
}

/// The first event of one payment, and its correlation id.
///
/// # Errors
/// `Usage`: a `{{name}}` that is not declared.
pub fn fill(event: &FirstEvent, values: &Values) -> Result<(String, ProducerRecord)> {
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
    use declaration::{IdSource, testing::shipped};

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
