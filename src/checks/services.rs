//! HTTP services say themselves that they are ready.

use std::time::Duration;

use super::{check::Check, facts::Facts, finding::Outcome, ids};
use crate::{
    clients::http,
    pipeline::{Http, Pipeline, Service},
};

/// What a service on loopback may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let served = pipeline.services.iter();
    let served = served.filter_map(|service| {
        let http = service.http.as_ref()?;
        let ready = async move |facts: &Facts<'_>| ready(facts, service, http).await;
        let id = ids::ready(&service.name);
        let works_with = ids::works(pipeline, service);
        let expected = format!("GET {} answers {}", http.ready, http.status);
        Some(Check::new(id, expected, ready).follows(works_with))
    });
    served.collect()
}

async fn ready(facts: &Facts<'_>, service: &Service, declared: &Http) -> Outcome {
    let url = declared.ready_url();
    let failed = match http::get(&url, TIMEOUT).await {
        Ok(answer) if answer.status == declared.status => {
            return Outcome::pass(answer.status.to_string());
        }
        Ok(answer) => {
            let body: String = answer.body.trim().chars().take(300).collect();
            let body = (!body.is_empty()).then_some(body);
            Outcome::fail(format!("{url}: {}", answer.status)).evidence(body)
        }
        Err(why) => Outcome::fail(format!("{url}: {why}")),
    };
    failed.hint(facts.remedy(&service.name).await)
}
