//! HTTP services say themselves that they are ready, and answer a real request.

use std::time::Duration;

use super::{check::Check, facts::Facts, finding::Outcome, ids};
use crate::stores::{StoreError, http};
use declaration::{Http, HttpRequest, Pipeline, Service};

/// What a service on loopback may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let served = pipeline.services.iter();
    let served = served.filter_map(|s| Some((s, s.http.as_ref()?)));
    served
        .flat_map(|(service, http)| of_service(pipeline, service, http))
        .collect()
}

fn of_service<'a>(pipeline: &'a Pipeline, service: &'a Service, http: &'a Http) -> Vec<Check<'a>> {
    let is_ready = async move |facts: &Facts<'_>| ready(facts, service, http).await;
    let id = ids::ready(&service.name);
    let works_with = ids::works(pipeline, service);
    let drift = || [ids::as_declared(&service.name)];
    let expected = format!("GET {} answers {}", http.ready, http.status);
    let check = Check::new(&id, expected, is_ready).follows(works_with.clone());
    let mut checks = vec![check.suspects(drift())];
    if let Some(request) = &http.request {
        let answers = async move |facts: &Facts<'_>| answers(facts, service, http, request).await;
        let HttpRequest {
            method,
            path,
            status,
            ..
        } = request;
        let expected = format!("{method} {path} answers {status}");
        let named = format!("services.{}.answers", service.name);
        let check = Check::new(named, expected, answers);
        checks.push(check.follows([id]).follows(works_with).suspects(drift()));
    }
    checks
}

/// A real request, as the service's users make it.
async fn answers(
    facts: &Facts<'_>,
    service: &Service,
    http: &Http,
    request: &HttpRequest,
) -> Outcome {
    let url = format!("{}{}", http.url, request.path);
    let answer = async {
        let client = http::client(TIMEOUT)?;
        let headers: Vec<_> = request.headers.clone().into_iter().collect();
        http::send(
            &client,
            &request.method,
            &url,
            &headers,
            request.body.as_ref(),
        )
        .await
    };
    let outcome = judge(&url, answer.await, request.status);
    facts.remedied(outcome, &service.name).await
}

async fn ready(facts: &Facts<'_>, service: &Service, declared: &Http) -> Outcome {
    let url = declared.ready_url();
    let answer = http::get(&url, TIMEOUT).await;
    facts
        .remedied(judge(&url, answer, declared.status), &service.name)
        .await
}

fn judge(url: &str, answer: Result<http::Answer, StoreError>, status: u16) -> Outcome {
    match answer {
        Ok(answer) if answer.status == status => Outcome::pass(answer.status.to_string()),
        Ok(answer) => {
            let body: String = answer.body.trim().chars().take(300).collect();
            let body = (!body.is_empty()).then_some(body);
            Outcome::fail(format!("{url}: {}", answer.status)).evidence(body)
        }
        Err(why) => Outcome::fail(format!("{url}: {why}")),
    }
}
