//! Health check, restart policy and logging.

use crate::{Healthcheck, Logging, Restart, problem::Problem, yaml::View};

pub(super) fn healthcheck(view: &View<'_>) -> Result<Healthcheck, Problem> {
    let mut fields = view.fields()?;
    let test = fields.read_set("test", test)?;
    let disabled = fields.read_or_default("disable", View::bool)?;
    let check = Healthcheck {
        test: match test {
            _ if disabled => vec!["NONE".to_owned()],
            Some(test) => test,
            // Without `test`, the settings apply to the image's health check.
            None => Vec::new(),
        },
        interval: fields.read_set("interval", View::duration)?,
        timeout: fields.read_set("timeout", View::duration)?,
        start_period: fields.read_set("start_period", View::duration)?,
        start_interval: fields.read_set("start_interval", View::duration)?,
        retries: fields.read("retries", |v| v.number::<u32>("a number").map(i64::from))?,
    };
    fields.finish_compose(&[])?;
    Ok(check)
}

/// The probe in Docker's form: a string becomes `CMD-SHELL`, a list stays as it is.
fn test(view: &View<'_>) -> Result<Vec<String>, Problem> {
    if !view.is_sequence() {
        return Ok(vec!["CMD-SHELL".to_owned(), view.filled()?]);
    }
    let words = view.texts()?;
    match words.first().map(String::as_str) {
        Some("NONE") if words.len() == 1 => Ok(words),
        Some("CMD") if words.len() > 1 => Ok(words),
        // The shell gets the first word as its line, and the others as arguments.
        Some("CMD-SHELL") if words.len() > 1 => Ok(words),
        _ => Err(view
            .problem("a list is [NONE], [CMD, program, argument…] or [CMD-SHELL, command line]")),
    }
}

pub(super) fn restart(view: &View<'_>) -> Result<Restart, Problem> {
    if let Some(count) = view.str()?.strip_prefix("on-failure:") {
        return match count.parse() {
            Ok(count) => Ok(Restart::OnFailure(Some(count))),
            Err(_) => Err(view.problem(format!("{count:?} is not a number of retries"))),
        };
    }
    view.word(&[
        ("no", Restart::No),
        ("always", Restart::Always),
        ("unless-stopped", Restart::UnlessStopped),
        ("on-failure", Restart::OnFailure(None)),
    ])
}

pub(super) fn logging(view: &View<'_>) -> Result<Logging, Problem> {
    let mut fields = view.fields()?;
    let options = |view: &View<'_>| {
        let option =
            |(key, value): (&crate::yaml::Key, View<'_>)| Ok((key.name.clone(), value.text()?));
        view.entries()?.into_iter().map(option).collect()
    };
    let logging = Logging {
        driver: fields
            .read_set("driver", View::filled)?
            .unwrap_or_else(|| "json-file".to_owned()),
        options: fields.read_or_default("options", options)?,
    };
    fields.finish_compose(&[])?;
    Ok(logging)
}
