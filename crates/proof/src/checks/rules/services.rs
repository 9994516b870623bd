//! HTTP services report that they are ready, and answer a declared request.

use crate::{
    checks::{
        check::Check,
        context::CheckContext,
        finding::Outcome,
        ids,
        observe::{ObservationError, services},
    },
    stores::http::Answer,
};
use declaration::{HttpRequest, Pipeline, Service};

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let services = pipeline.services.iter();
    services.flat_map(|s| of_service(pipeline, s)).collect()
}

fn of_service<'a>(pipeline: &'a Pipeline, service: &'a Service) -> Vec<Check<'a>> {
    let (Some(id), Some(http)) = (ids::ready(service), &service.http) else {
        return Vec::new();
    };
    let is_ready = async move |context: &CheckContext<'_>| {
        let outcome = judge(&http.ready_url(), services::ready(http).await, http.status);
        context.remedied(outcome, &service.name).await
    };
    let expected = format!("GET {} answers {}", http.ready, http.status);
    let mut checks = vec![Check::new(id.clone(), expected, is_ready)];
    if let Some(request) = &http.request {
        let answers = async move |context: &CheckContext<'_>| {
            let url = format!("{}{}", http.url, request.path);
            let answer = services::send(request, &url).await;
            let outcome = judge(&url, answer, request.status);
            context.remedied(outcome, &service.name).await
        };
        let HttpRequest {
            method,
            path,
            status,
            ..
        } = request;
        let expected = format!("{method} {path} answers {status}");
        let check = Check::new(ids::ANSWERS.of(&service.name), expected, answers);
        checks.push(check.explained_by([id]));
    }
    let checks = checks.into_iter().map(|check| {
        check
            .explained_by(ids::dependencies(pipeline, service))
            .possible_causes([ids::as_declared(service)])
    });
    checks.collect()
}

fn judge(url: &str, answer: Result<Answer, ObservationError>, status: u16) -> Outcome {
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
