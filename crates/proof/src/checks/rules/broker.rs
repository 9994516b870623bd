//! Kafka answers.

use crate::checks::{check::Check, context::CheckContext, finding::Outcome, ids};
use declaration::Pipeline;

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let Some(id) = ids::kafka(pipeline) else {
        return Vec::new();
    };
    let endpoint = pipeline.kafka.as_ref();
    let reachable =
        async move |context: &CheckContext<'_>| match (context.observed.broker().await, endpoint) {
            (Ok(broker), _) => Outcome::pass(format!("{} topics", broker.topics.len())),
            (Err(why), Some(kafka)) => {
                Outcome::fail(why).hint(context.remedy_of("kafka", kafka).await)
            }
            (Err(why), None) => Outcome::fail(why),
        };
    let service = endpoint.and_then(|kafka| kafka.service.as_deref());
    let check = Check::new(id, "answers a metadata request", reachable);
    vec![
        check
            .explained_by(ids::deployed_of(pipeline, service))
            .possible_causes(ids::as_declared_of(pipeline, service)),
    ]
}
