//! The dead letters of a pipeline, as far as they can be read in a short time.

use std::{sync::Arc, time::Duration};

use super::{ObservationError, broker::Broker};
use crate::dead_letters::{
    DeadLetters, Selection,
    survey::{Request, Survey},
};
use declaration::Pipeline;

/// The time limit for reading dead letters. Of a larger topic a part is read.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) async fn survey(
    pipeline: &Pipeline,
    broker: &Broker,
) -> Result<Survey, ObservationError> {
    let (kafka, topics) = (broker.kafka.clone(), broker.topics.clone());
    let letters = DeadLetters::with(pipeline, kafka, topics).await;
    let request = Request {
        selection: Selection::default(),
        each: true,
        patience: PATIENCE,
    };
    let survey = letters
        .map_err(ObservationError::DeadLetters)?
        .survey(request, Arc::new(|_| {}))
        .await;
    survey.map_err(ObservationError::DeadLetters)
}
