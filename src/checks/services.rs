//! HTTP services say themselves that they are ready.

use std::time::Duration;

use super::{check::Check, facts::Facts, finding::Outcome, ids};
use crate::{
    clients::http,
    pipeline::{Pipeline, Service},
};

/// What a service on loopback may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let served = pipeline.services.iter();
    let served = served.filter_map(|service| {
        let base = service.http.as_deref()?;
        let ready = async move |facts: &Facts<'_>| ready(facts, service, base).await;
        let id = ids::ready(&service.name);
        let works_with = ids::works(pipeline, service);
        Some(Check::new(id, "GET /ready answers 200", ready).follows(works_with))
    });
    served.collect()
}

async fn ready(facts: &Facts<'_>, service: &Service, base: &str) -> Outcome {
    let url = ready_url(base);
    let failed = match http::get(&url, TIMEOUT).await {
        Ok(answer) if answer.status == 200 => return Outcome::pass("200"),
        Ok(answer) => {
            let body: String = answer.body.trim().chars().take(300).collect();
            let body = (!body.is_empty()).then_some(body);
            Outcome::fail(format!("{url}: {}", answer.status)).evidence(body)
        }
        Err(why) => Outcome::fail(format!("{url}: {why}")),
    };
    failed.hint(facts.remedy(&service.name).await)
}

/// Where a service with this base URL says whether it is ready.
pub(super) fn ready_url(base: &str) -> String {
    format!("{}/ready", base.trim_end_matches('/'))
}
