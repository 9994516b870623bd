//! HTTP services say themselves that they are ready.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{
    Containers, Scene,
    finding::{Check, Finding},
};
use crate::{clients::http, error::Result, pipeline::Service};

/// What a service on loopback may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn check(scene: Scene<'_>, containers: impl Containers) -> Result<()> {
    let served = scene
        .pipeline
        .services
        .iter()
        .filter_map(|s| Some((s, s.http.as_deref()?)));
    let findings = join_all(served.map(|(service, base)| ready(service, base))).await;
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

/// `GET /ready`: the finding, as an error where it failed.
async fn ready<'a>(service: &'a Service, base: &str) -> (&'a Service, Result<Finding, Finding>) {
    let id = format!("services.{}.ready", service.name);
    let check = Check::new(Instant::now(), id, "GET /ready answers 200");
    let url = ready_url(base);
    let finding = match http::get(&url, TIMEOUT).await {
        Ok(answer) if answer.status == 200 => Ok(check.pass("200")),
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

/// Where a service with this base URL says whether it is ready.
pub(super) fn ready_url(base: &str) -> String {
    format!("{}/ready", base.trim_end_matches('/'))
}
