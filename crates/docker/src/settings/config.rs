//! A container's configuration: command, environment, user, health check, labels.

use std::collections::HashMap;

use bollard::models::{ContainerConfig, ContainerCreateBody, HealthConfig, ImageConfig};

use super::{GRANTS, Settings, is_declared, put as put_value};
use crate::labels;

/// Merges the request with the image's configuration as the engine does (moby, `daemon/commit.go`, `merge`).
pub(super) fn effective(body: &ContainerCreateBody, image: &ImageConfig) -> ContainerConfig {
    let own_entrypoint = body.entrypoint.clone().filter(|words| !words.is_empty());
    // A declared entrypoint discards the image's command.
    let command = match own_entrypoint {
        Some(_) => body.cmd.clone(),
        None => body.cmd.clone().or_else(|| image.cmd.clone()),
    };
    let mut labels: HashMap<_, _> = image.labels.clone().unwrap_or_default();
    labels.extend(body.labels.clone().unwrap_or_default());
    let env = image.env.iter().chain(&body.env).flatten().cloned();
    let given = |own: &Option<String>, image: &Option<String>| {
        let own = own.clone().filter(|value| !value.is_empty());
        own.or_else(|| image.clone())
    };
    ContainerConfig {
        hostname: body.hostname.clone(),
        user: given(&body.user, &image.user),
        working_dir: given(&body.working_dir, &image.working_dir),
        stop_signal: given(&body.stop_signal, &image.stop_signal),
        stop_timeout: body.stop_timeout,
        cmd: command,
        entrypoint: own_entrypoint.or_else(|| image.entrypoint.clone()),
        env: Some(env.collect()),
        labels: Some(labels),
        healthcheck: health(body.healthcheck.as_ref(), image.healthcheck.as_ref()),
        tty: body.tty,
        open_stdin: body.open_stdin,
        ..ContainerConfig::default()
    }
}

fn health(own: Option<&HealthConfig>, image: Option<&HealthConfig>) -> Option<HealthConfig> {
    let (Some(own), Some(image)) = (own, image) else {
        return own.or(image).cloned();
    };
    let test = own.test.clone().filter(|words| !words.is_empty());
    Some(HealthConfig {
        test: test.or_else(|| image.test.clone()),
        interval: own.interval.or(image.interval),
        timeout: own.timeout.or(image.timeout),
        retries: own.retries.or(image.retries),
        start_period: own.start_period.or(image.start_period),
        start_interval: own.start_interval.or(image.start_interval),
    })
}

pub(super) fn put(settings: &mut Settings, config: ContainerConfig) {
    put_value(settings, "hostname", config.hostname);
    put_value(settings, "user", config.user);
    put_value(settings, "working_dir", config.working_dir);
    put_value(settings, "stop_signal", config.stop_signal);
    let grace = config.stop_timeout.map(|seconds| format!("{seconds}s"));
    put_value(settings, "stop_grace_period", grace);
    put_value(settings, "command", words(config.cmd));
    put_value(settings, "entrypoint", words(config.entrypoint));
    // Later values override earlier ones.
    for variable in config.env.into_iter().flatten() {
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        settings.insert(format!("environment.{name}"), value.to_owned());
    }
    for (label, value) in config.labels.into_iter().flatten() {
        if label == labels::SECRETS_DIGEST {
            settings.insert(GRANTS.to_owned(), value.clone());
        }
        if is_declared(&label) {
            settings.insert(format!("labels.{label}"), value);
        }
    }
    for (key, on) in [("tty", config.tty), ("stdin_open", config.open_stdin)] {
        put_value(settings, key, on.filter(|on| *on).map(|on| on.to_string()));
    }
    put_health(settings, config.healthcheck.unwrap_or_default());
}

fn put_health(settings: &mut Settings, health: HealthConfig) {
    let test = health.test.filter(|test| !test.is_empty());
    put_value(settings, "healthcheck.test", words(test));
    let durations = [
        ("interval", health.interval),
        ("timeout", health.timeout),
        ("start_period", health.start_period),
        ("start_interval", health.start_interval),
    ];
    for (key, nanoseconds) in durations {
        let duration = nanoseconds.filter(|n| *n > 0).map(|n| {
            let duration = std::time::Duration::from_nanos(n.unsigned_abs());
            humantime::format_duration(duration).to_string()
        });
        put_value(settings, format!("healthcheck.{key}"), duration);
    }
    let retries = health.retries.filter(|n| *n > 0).map(|n| n.to_string());
    put_value(settings, "healthcheck.retries", retries);
}

/// The words as one would type them in a shell.
fn words(words: Option<Vec<String>>) -> Option<String> {
    let words = words?;
    let quoted = words.iter().map(|word| {
        let plain = !word.is_empty() && !word.contains([' ', '\t', '\n', '\'', '"']);
        if plain {
            word.clone()
        } else {
            format!("{word:?}")
        }
    });
    Some(quoted.collect::<Vec<_>>().join(" "))
}
