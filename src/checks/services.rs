//! HTTP services say themselves that they are ready.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{
    Containers, Scene,
    finding::{Check, Finding},
};
use crate::{
    clients::http,
    error::Result,
    pipeline::{Http, Service},
};

/// What a service on loopback may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn check(scene: Scene<'_>, containers: impl Containers) -> Result<()> {
    let served = scene
        .pipeline
        .services
        .iter()
        .filter_map(|s| Some((s, s.http.as_ref()?)));
    let findings = join_all(served.map(|(service, http)| ready(service, http))).await;
    if findings.is_empty() {
        return Ok(());
    }
    let containers = containers.await?;
    for (service, outcome) in findings {
        scene.report.send(match outcome {
            Ok(pass) => pass,
            Err(fail) => fail.hint(scene.remedy(&containers, &service.name)),
        });
    }
    Ok(())
}

/// `GET /ready`, or what is declared: the finding, as an error where it failed.
async fn ready<'a>(
    service: &'a Service,
    declared: &Http,
) -> (&'a Service, Result<Finding, Finding>) {
    let id = format!("services.{}.ready", service.name);
    let Http { ready, status, .. } = declared;
    let expected = format!("GET {ready} answers {status}");
    let check = Check::new(Instant::now(), id, expected);
    let url = declared.ready_url();
    let finding = match http::get(&url, TIMEOUT).await {
        Ok(answer) if answer.status == *status => Ok(check.pass(status.to_string())),
        Ok(answer) => {
            let body: String = answer.body.trim().chars().take(300).collect();
            let body = (!body.is_empty()).then_some(body);
            Err(check
                .fail(format!("{url}: {}", answer.status))
                .evidence(body))
        }
        Err(why) => Err(check.fail(format!("{url}: {why}"))),
    };
    (service, finding)
}
