//! Whether missing images can be pulled from a registry or built from packages.

use std::time::Instant;

use futures_util::future::join_all;

use super::{CheckId, Finding, PendingFinding, failed};

use diagnostics::{Invocation, Result};
use docker::{
    Engine,
    images::{Needed, Provenance, PullError},
};

/// An image that the engine does not have.
struct Missing {
    image: Needed,
    /// The reference that was looked up in a registry, and the result; None: the image is not pulled.
    lookup: Option<(String, Result<(), PullError>)>,
}

const ID: CheckId = CheckId::of_layer("registry", "reachable");

pub(super) async fn check(
    engine: &Engine,
    needed: &Result<Vec<Needed>>,
    invocation: &Invocation,
) -> Finding {
    let check = PendingFinding::new(Instant::now(), ID, "every image is available");
    let seen = async {
        let needed = needed.clone()?.into_iter();
        let (here, missing): (Vec<_>, Vec<_>) = needed.partition(|n| !n.needs_network());
        let can_build = missing.is_empty() || engine.can_build_from_packages().await?;
        let missing = missing.into_iter().map(|image| look_up(engine, image));
        Ok((here.len(), join_all(missing).await, can_build))
    };
    match seen.await {
        Ok((here, missing, can_build)) => judge(check, here, &missing, can_build, invocation),
        Err(e) => failed(check, &e),
    }
}

async fn look_up(engine: &Engine, image: Needed) -> Missing {
    let lookup = match image.registry_reference() {
        Some(reference) => {
            let answer = engine.registry_has(&reference).await;
            Some((reference, answer))
        }
        None => None,
    };
    Missing { image, lookup }
}

fn judge(
    check: PendingFinding,
    here: usize,
    missing: &[Missing],
    can_build: bool,
    invocation: &Invocation,
) -> Finding {
    if missing.is_empty() {
        return check.pass(format!("not needed: all {here} images exist"));
    }
    let (mut lacking, mut stand_ins) = (Vec::new(), Vec::new());
    let mut evidence = Vec::new();
    for Missing { image, lookup } in missing {
        let refused = match lookup {
            Some((_, Ok(()))) => continue,
            Some((reference, Err(why))) => {
                evidence.push(format!("{reference}: {why}"));
                reference
            }
            None => &image.reference,
        };
        match image.from {
            Provenance::Registry | Provenance::Local => lacking.push(refused.as_str()),
            Provenance::Template(_) | Provenance::RegistryOrTemplate(_) => {
                stand_ins.push(image.reference.as_str());
            }
            // Never among the missing images: `needs_network` is false for them.
            Provenance::Caravan | Provenance::Declared => {}
        }
    }
    let load = "images load FILE";
    if !lacking.is_empty() {
        let seen = format!("unavailable: {}", lacking.join(", "));
        let finding = check.fail(seen).evidence(evidence);
        return finding.hint(invocation.command(load));
    }
    if stand_ins.is_empty() {
        return check.pass(format!(
            "a registry has all {} missing images",
            missing.len()
        ));
    }
    let names = stand_ins.join(", ");
    if can_build {
        let seen = format!("to be built from packages: {names}");
        let finding = check.warn(seen).evidence(evidence);
        return finding.hint(invocation.command("images build"));
    }
    evidence.push("mmdebstrap, which makes the base of built images, cannot run".to_owned());
    check
        .fail(format!("neither pulled nor built: {names}"))
        .evidence(evidence)
        .hint("sudo apt-get install mmdebstrap")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proof::checks::finding::Status;

    fn missing(from: Provenance, lookup: Option<Result<(), PullError>>) -> Missing {
        Missing {
            image: Needed {
                services: vec!["db".to_owned()],
                reference: "db:1".to_owned(),
                from,
                present: None,
            },
            lookup: lookup.map(|answer| ("db:1".to_owned(), answer)),
        }
    }

    fn judged(missing: &[Missing], can_build: bool) -> (Status, String) {
        let check = PendingFinding::new(Instant::now(), ID, "");
        let finding = judge(check, 3, missing, can_build, &Invocation::default());
        (finding.status, finding.hint.unwrap_or_default())
    }

    #[test]
    fn it_fails_only_for_images_that_can_be_neither_pulled_nor_built() {
        let no_route = || Some(Err(PullError::OutOfReach));
        let template = Provenance::RegistryOrTemplate("postgres");
        assert_eq!(judged(&[], false).0, Status::Pass);
        assert_eq!(
            judged(&[missing(Provenance::Registry, Some(Ok(())))], false).0,
            Status::Pass
        );
        let (status, hint) = judged(&[missing(Provenance::Registry, no_route())], true);
        assert_eq!(
            (status, hint.as_str()),
            (Status::Fail, "caravan images load FILE")
        );
        assert_eq!(
            judged(&[missing(template, no_route())], true).0,
            Status::Warn
        );
        let (status, hint) = judged(&[missing(template, no_route())], false);
        assert_eq!(status, Status::Fail);
        assert_eq!(hint, "sudo apt-get install mmdebstrap");
        let outdated = missing(Provenance::Template("redis"), None);
        assert_eq!(judged(&[outdated], true).0, Status::Warn);
    }
}
