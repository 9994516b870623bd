//! The dead letters of a pipeline, as far as they can be read in a short time.

use std::{sync::Arc, time::Duration};

use super::{ObservationError, broker::Broker};
use crate::dead_letters::{
    DeadLetters, Selection,
    summary::{Request, Summary},
};
use declaration::Pipeline;

/// The time limit for reading dead letters. Of a larger topic a part is read.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) async fn summary(
    pipeline: &Pipeline,
    broker: &Broker,
) -> Result<Summary, ObservationError> {
    let (kafka, topics) = (broker.kafka.clone(), broker.topics.clone());
    let dead_letters = DeadLetters::with(pipeline, kafka, topics).await;
    let request = Request {
        selection: Selection::default(),
        each: true,
        patience: PATIENCE,
    };
    let summary = dead_letters
        .map_err(ObservationError::DeadLetters)?
        .summarize(request, Arc::new(|_| {}))
        .await;
    summary.map_err(ObservationError::DeadLetters)
}
