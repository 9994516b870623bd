//! Pulls images with short timeouts. After a registry was unreachable, the same `up` does not try it again: a
//! firewall that drops packets costs seconds, not minutes.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use bollard::{errors::Error as DockerError, query_parameters::CreateImageOptionsBuilder};
use futures_util::StreamExt;

use crate::{Engine, connect::reason};
use platform::{Event, Events};

/// Timeout of a registry's first response.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// Timeout of a pull without progress.
const STALL: Duration = Duration::from_secs(60);

/// Why an image was not pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The declaration forbids it.
    #[error("`pull_policy: never` says so")]
    Forbidden,
    /// The registry did not respond earlier in this command.
    #[error("its registry is out of reach")]
    OutOfReach,
    /// The registry did not respond within this time.
    #[error("its registry did not answer within {}", humantime::format_duration(*.0))]
    NoAnswer(Duration),
    /// The engine's or the registry's error.
    #[error("{}", reason(.0))]
    Refused(#[source] DockerError),
    /// The engine reported success.
    #[error("Docker pulled it, but does not have it")]
    NotThere,
}

/// Registries that did not respond.
#[derive(Debug, Default)]
pub(super) struct OutOfReach(Mutex<BTreeSet<String>>);

impl OutOfReach {
    fn has(&self, registry: &str) -> bool {
        self.0
            .lock()
            .is_ok_and(|registries| registries.contains(registry))
    }

    fn add(&self, registry: &str) {
        if let Ok(mut registries) = self.0.lock() {
            registries.insert(registry.to_owned());
        }
    }
}

impl Engine {
    /// Pulls an image; events name `part`.
    ///
    /// # Errors
    /// Why it could not be pulled.
    pub(super) async fn pull(
        &self,
        reference: &str,
        part: &str,
        platform: Option<&str>,
        out_of_reach: &OutOfReach,
        events: &Events,
    ) -> Result<(), PullError> {
        let registry = registry(reference);
        if out_of_reach.has(registry) {
            return Err(PullError::OutOfReach);
        }
        let report = |what: String| {
            let part = part.to_owned();
            // A closed event channel does not stop the work.
            drop(events.send(Event::Doing { part, what }));
        };
        report(format!("pulling {reference}"));
        let (image, tag) = split_tag(reference);
        let mut options = CreateImageOptionsBuilder::new().from_image(image).tag(tag);
        if let Some(platform) = platform {
            options = options.platform(platform);
        }
        let pull = self.docker.create_image(Some(options.build()), None, None);
        let mut progress = std::pin::pin!(pull);
        let mut limit = FIRST_WORD;
        loop {
            let step = match tokio::time::timeout(limit, progress.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Ok(step))) => step,
                Ok(Some(Err(e))) => {
                    if !is_answer(&e) {
                        out_of_reach.add(registry);
                    }
                    return Err(PullError::Refused(e));
                }
                Err(_) => {
                    out_of_reach.add(registry);
                    return Err(PullError::NoAnswer(limit));
                }
            };
            limit = STALL;
            if let (Some(status), Some(layer)) = (step.status, step.id) {
                let status = status.to_lowercase();
                report(format!("pulling {reference} ({layer} {status})"));
            }
        }
    }
}

impl Engine {
    /// Whether a registry has an image. The engine requests its manifest and pulls nothing.
    ///
    /// # Errors
    /// Why it cannot be pulled.
    pub async fn registry_has(&self, reference: &str) -> Result<(), PullError> {
        let ask = self.docker.inspect_registry_image(reference, None);
        match tokio::time::timeout(FIRST_WORD, ask).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(PullError::Refused(e)),
            Err(_) => Err(PullError::NoAnswer(FIRST_WORD)),
        }
    }
}

/// Whether the registry responded: the image does not exist, or access is denied.
fn is_answer(e: &DockerError) -> bool {
    let text = reason(e);
    ["manifest", "not found", "denied", "unauthorized"]
        .iter()
        .any(|word| text.contains(word))
}

/// The registry's host; Docker Hub where none is named.
fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "",
    }
}

/// Image and tag (`latest` where none is given); a digest stays with the image.
pub(super) fn split_tag(reference: &str) -> (&str, &str) {
    if reference.contains('@') {
        return (reference, "");
    }
    match reference.rsplit_once(':') {
        Some((image, tag)) if !tag.contains('/') => (image, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        assert_eq!(split_tag("postgres:15"), ("postgres", "15"));
        assert_eq!(split_tag("postgres"), ("postgres", "latest"));
        assert_eq!(
            split_tag("host:5000/shop/db"),
            ("host:5000/shop/db", "latest")
        );
        assert_eq!(split_tag("db@sha256:1"), ("db@sha256:1", ""));
        assert_eq!(registry("host:5000/shop/db:1"), "host:5000");
        assert_eq!(registry("apache/kafka:4"), "");
    }

    #[test]
    fn a_registry_out_of_reach_is_remembered() {
        let out_of_reach = OutOfReach::default();
        assert!(!out_of_reach.has(""));
        out_of_reach.add("");
        assert!(out_of_reach.has("") && !out_of_reach.has("other.example"));
    }
}
