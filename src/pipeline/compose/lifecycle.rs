//! How a container is kept alive: health check, restart policy, replicas, logs.

use crate::pipeline::{
    Healthcheck, Logging, Restart,
    problem::Problem,
    yaml::{Fields, View},
};

pub(super) fn healthcheck(view: &View<'_>) -> Result<Healthcheck, Problem> {
    let mut fields = view.fields()?;
    let test = fields.read("test", test)?;
    let disabled = fields.read_or_default("disable", View::bool)?;
    let check = Healthcheck {
        test: match test {
            _ if disabled => vec!["NONE".to_owned()],
            Some(test) => test,
            // Settings for a check that the image brings.
            None => Vec::new(),
        },
        interval: fields.read("interval", View::duration)?,
        timeout: fields.read("timeout", View::duration)?,
        start_period: fields.read("start_period", View::duration)?,
        retries: fields.read("retries", |v| v.number::<u32>("a number").map(i64::from))?,
    };
    fields.finish_compose(&["start_interval"])?;
    Ok(check)
}

/// As Docker takes it: a string is for the shell, a list says which it is.
fn test(view: &View<'_>) -> Result<Vec<String>, Problem> {
    if !view.is_sequence() {
        return Ok(vec!["CMD-SHELL".to_owned(), view.filled()?]);
    }
    let words = view.texts()?;
    match words.first().map(String::as_str) {
        Some("NONE") if words.len() == 1 => Ok(words),
        Some("CMD") if words.len() > 1 => Ok(words),
        Some("CMD-SHELL") if words.len() == 2 => Ok(words),
        _ => Err(view
            .problem("a list is [NONE], [CMD, program, argument…] or [CMD-SHELL, command line]")),
    }
}

pub(super) fn restart(fields: &mut Fields<'_>) -> Result<Restart, Problem> {
    let policy = |view: &View<'_>| {
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
    };
    Ok(fields.read("restart", policy)?.unwrap_or(Restart::No))
}

/// `deploy.replicas` or `scale`.
pub(super) fn replicas(fields: &mut Fields<'_>) -> Result<u32, Problem> {
    let number = |view: &View<'_>| view.number("a number of replicas");
    let deployed = fields
        .read("deploy", |view| {
            let mut fields = view.fields()?;
            let replicas = fields.read("replicas", number)?;
            fields.finish_compose(&[
                "endpoint_mode",
                "labels",
                "mode",
                "placement",
                "resources",
                "restart_policy",
                "rollback_config",
                "update_config",
            ])?;
            Ok(replicas)
        })?
        .flatten();
    let Some(view) = fields.take("scale") else {
        return Ok(deployed.unwrap_or(1));
    };
    let scale = number(&view)?;
    match deployed {
        Some(deployed) if deployed != scale => {
            Err(view.problem(format!("`deploy.replicas` says {deployed}")))
        }
        Some(_) | None => Ok(scale),
    }
}

pub(super) fn logging(view: &View<'_>) -> Result<Logging, Problem> {
    let mut fields = view.fields()?;
    let options = |view: &View<'_>| {
        let option = |(key, value): (&crate::pipeline::yaml::Key, View<'_>)| {
            Ok((key.name.clone(), value.text()?))
        };
        view.entries()?.into_iter().map(option).collect()
    };
    let logging = Logging {
        driver: fields
            .read("driver", View::filled)?
            .unwrap_or_else(|| "json-file".to_owned()),
        options: fields.read_or_default("options", options)?,
    };
    fields.finish_compose(&[])?;
    Ok(logging)
}
