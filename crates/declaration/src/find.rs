//! Finds a service by its Compose name, or by a unique part of it.

use super::{Pipeline, Service, problem::nearest};
use diagnostics::{Error, Kind, Result};

/// The service with the name `given`, or else the only one whose name starts with it, or else the only
/// one whose name contains it.
///
/// # Errors
/// The name is ambiguous (the error lists the candidates) or unknown (the hint is the nearest name).
pub fn find_service<'a>(pipeline: &'a Pipeline, given: &str) -> Result<&'a Service> {
    if let Some(service) = pipeline.service(given) {
        return Ok(service);
    }
    let matching = |fits: &dyn Fn(&str) -> bool| -> Vec<&'a Service> {
        let services = pipeline.services.iter();
        services.filter(|s| fits(&s.name)).collect()
    };
    let word = given.to_lowercase();
    let mut candidates = Vec::new();
    if !word.is_empty() {
        candidates = matching(&|name| name.to_lowercase().starts_with(&word));
    }
    if candidates.is_empty() && !word.is_empty() {
        candidates = matching(&|name| name.to_lowercase().contains(&word));
    }
    match candidates[..] {
        [service] => Ok(service),
        [] => Err(unknown(pipeline, given)),
        _ => {
            let names: Vec<_> = candidates.iter().map(|s| s.name.as_str()).collect();
            Err(
                Error::new(Kind::Usage, format!("`{given}` is more than one service"))
                    .because(format!("it could be {}", names.join(", "))),
            )
        }
    }
}

fn unknown(pipeline: &Pipeline, given: &str) -> Error {
    let names: Vec<_> = pipeline.services.iter().map(|s| s.name.as_str()).collect();
    // `given` may be a mistyped part of a name, so parts are compared as well.
    let parts = names.iter().flat_map(|name| name.split(['-', '_', '.']));
    let near = nearest(given, names.iter().copied()).or_else(|| {
        let part = nearest(given, parts)?;
        names
            .iter()
            .copied()
            .find(|name| name.split(['-', '_', '.']).any(|p| p == part))
    });
    let mut error = Error::new(Kind::Usage, format!("there is no service `{given}`"))
        .because(format!("there is {}", names.join(", ")));
    for service in &pipeline.inactive {
        let profiles = service.profiles.join(" or ");
        error = error.because(format!(
            "there is {} with --profile {profiles}",
            service.name
        ));
    }
    match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}
