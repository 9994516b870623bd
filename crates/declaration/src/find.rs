//! A service as a person names it: its Compose name, or any part that only it has.

use super::{Pipeline, Service, problem::nearest};
use diagnostics::{Error, Kind, Result};

/// The service that `given` means: the one of that name, else the only one that starts so, else
/// the only one that has it as a part.
///
/// # Errors
/// An ambiguous name with its candidates, an unknown one with the nearest.
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
    // Short forms can be mistyped, too: the parts of a name are compared as well.
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
