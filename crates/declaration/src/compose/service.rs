//! One service.

use super::{
    build, checked_name, depends,
    deploy::Deploy,
    lifecycle::{healthcheck, logging},
    mounts::mounts,
    notes::Notes,
    pairs::{Pairs, environment},
    ports::ports,
    resources::uses,
    runtime::runtime,
    secrets_and_configs::{Definitions, secrets_and_configs},
    shared::{links, volumes_from},
    words::words,
};
use crate::{
    Build, ImageFrom, NetworkUse, PullPolicy, Service,
    context::Context,
    extension::ServiceExtension,
    problem::Problem,
    yaml::{Fields, Key, View},
};

/// Keys of Compose that Caravan does not support.
#[rustfmt::skip]
const UNSUPPORTED: &[&str] = &[
    "annotations", "blkio_config", "credential_spec", "isolation", "label_file", "mac_address",
    "models", "post_start", "pre_stop", "provider", "use_api_socket", "volume_driver",
];

/// Keys for Compose commands that Caravan does not have, and for other systems; they are ignored with a warning.
const NO_EFFECT: [(&str, &str); 4] = [
    ("attach", "`caravan logs` shows what services write"),
    ("cpu_count", "only Docker on Windows reads it"),
    ("cpu_percent", "only Docker on Windows reads it"),
    ("develop", "Caravan does not watch sources"),
];

/// A service, and whether one of its profiles is active.
pub(super) fn read(
    key: &Key,
    view: &View<'_>,
    definitions: &Definitions<'_>,
    context: &Context<'_>,
    notes: &mut Notes,
) -> Result<(Service, bool), Problem> {
    let mut fields = view.fields()?;
    let profiles = fields.read_or_default("profiles", View::texts)?;
    let active = context.activates(&profiles);
    let extension = fields.read_or_default("x-caravan", ServiceExtension::read)?;
    let deploy = match fields.take("deploy") {
        Some(view) => Deploy::read(&view, notes)?,
        None => Deploy::default(),
    };
    let runtime = runtime(&mut fields, &deploy)?;
    let platform = runtime.platform.clone();
    let build = match fields.take("build") {
        Some(view) if active => {
            let build = build::build(&view, platform, definitions, context, notes)?;
            Some((build, view))
        }
        Some(_) | None => None,
    };
    let (image, build) = image(&mut fields, key, build, &extension, context)?;
    let mut tmpfs = fields.read_or_default("tmpfs", View::text_or_texts)?;
    let service = Service {
        name: checked_name(key, view)?,
        profiles,
        pull_policy: pull_policy(&mut fields, build.is_some() || !active)?,
        image,
        build,
        container_name: fields.read_set("container_name", container_name)?,
        entrypoint: words(&mut fields, "entrypoint")?,
        command: words(&mut fields, "command")?,
        environment: environment(&mut fields, context)?,
        ports: fields.read_or_default("ports", ports)?,
        mounts: fields.read_or_default("volumes", |v| mounts(v, &mut tmpfs, context))?,
        secrets_and_configs: secrets_and_configs(&mut fields, active, definitions, context, notes)?,
        networks: networks(&mut fields, runtime.network_mode.is_some())?,
        links: links(&mut fields)?,
        volumes_from: fields.read_or_default("volumes_from", volumes_from)?,
        depends_on: depends::all(&mut fields, view)?,
        healthcheck: fields.read_set("healthcheck", healthcheck)?,
        restart: deploy.restart(&mut fields)?,
        replicas: deploy.replicas(&mut fields)?,
        user: fields.read_set("user", View::filled)?,
        working_dir: fields.read_set("working_dir", View::filled)?,
        hostname: fields.read_set("hostname", View::filled)?,
        read_only: fields.read_or_default("read_only", View::bool)?,
        init: fields.read_or_default("init", View::bool)?,
        tmpfs,
        cap_add: fields.read_or_default("cap_add", View::names)?,
        cap_drop: fields.read_or_default("cap_drop", View::names)?,
        security_opt: fields.read_or_default("security_opt", View::names)?,
        labels: fields.read_or_default("labels", |v| Pairs::read(v).map(Pairs::or_empty))?,
        logging: fields.read("logging", logging)?,
        stop_grace_period: fields.read_set("stop_grace_period", View::duration)?,
        stop_signal: fields.read_set("stop_signal", View::filled)?,
        mem_limit: deploy.mem_limit(&mut fields)?,
        pids_limit: deploy.pids_limit(&mut fields)?,
        shm_size: fields.read_set("shm_size", View::bytes)?,
        extra_hosts: fields.read_or_default("extra_hosts", extra_hosts)?,
        runtime,
        image_from: extension.image_from,
        ready: extension.ready,
        startup: extension.startup,
        effect: extension.effect,
        http: extension.http,
        group: extension.group,
        commit_interval: extension.commit_interval,
        consumes: extension.consumes,
        emits: extension.emits,
        writes: extension.writes,
        reads: extension.reads,
        calls: extension.calls,
        stages: extension.stages,
    };
    // `source::model` has resolved it.
    fields.take("extends");
    for (key, why) in NO_EFFECT {
        if let Some(ignored) = fields.take(key) {
            notes.no_effect(&ignored, why);
        }
    }
    let no_image = fields.problem("neither `image` nor `build` is declared");
    fields.finish_compose(UNSUPPORTED)?;
    if active && service.image.is_empty() {
        return Err(no_image);
    }
    Ok((service, active))
}

/// The image's name. A built image without a name gets Compose's default name. Without `image` and
/// `build` it is empty, so that an unsupported key, which may replace them, is reported first.
fn image(
    fields: &mut Fields<'_>,
    key: &Key,
    build: Option<(Build, View<'_>)>,
    extension: &ServiceExtension,
    context: &Context<'_>,
) -> Result<(String, Option<Build>), Problem> {
    let image = fields.read_set("image", View::filled)?;
    match build {
        Some((_, view)) if extension.image_from != ImageFrom::Registry => {
            Err(view.problem("`x-caravan.image-from` has a different value"))
        }
        Some((build, _)) => {
            let derived = || format!("{}-{}", context.project, key.name);
            Ok((image.unwrap_or_else(derived), Some(build)))
        }
        None => Ok((image.unwrap_or_default(), None)),
    }
}

fn pull_policy(fields: &mut Fields<'_>, built: bool) -> Result<PullPolicy, Problem> {
    let Some(view) = fields.take_set("pull_policy") else {
        return Ok(PullPolicy::default());
    };
    if !built && view.str()? == "build" {
        return Err(view.problem("there is no `build`"));
    }
    view.word(&[
        ("missing", PullPolicy::Missing),
        ("if_not_present", PullPolicy::Missing),
        ("build", PullPolicy::Missing),
        ("always", PullPolicy::Always),
        ("never", PullPolicy::Never),
    ])
}

/// A service with `network_mode` has no networks.
fn networks(fields: &mut Fields<'_>, has_mode: bool) -> Result<Vec<NetworkUse>, Problem> {
    let view = fields.take("networks");
    match (view, has_mode) {
        (Some(view), true) => Err(view.problem("`network_mode` replaces `networks`")),
        (None, true) => Ok(Vec::new()),
        (view, false) => uses(view),
    }
}

fn container_name(view: &View<'_>) -> Result<String, Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    view.parse("a container's name", |text| {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && text.len() > 1 && text.chars().all(plain) {
            Ok(text.to_owned())
        } else {
            Err("it has letters, digits, `.`, `_` and `-`, at least two")
        }
    })
}

/// A list of `HOST:IP` or `HOST=IP`, or a mapping; the result is `HOST:IP`, Docker's form.
fn extra_hosts(view: &View<'_>) -> Result<Vec<String>, Problem> {
    if view.is_mapping() {
        let host = |(key, value): (&Key, View<'_>)| Ok(format!("{}:{}", key.name, value.str()?));
        return view.entries()?.into_iter().map(host).collect();
    }
    let host = |item: &View<'_>| {
        item.parse("HOST:IP", |text| {
            // An IPv6 address contains colons, so only the first separator splits.
            match text.split_once(['=', ':']) {
                Some((host, ip)) if !host.is_empty() && !ip.is_empty() => {
                    Ok(format!("{host}:{ip}"))
                }
                _ => Err("it has no separator"),
            }
        })
    };
    view.items()?.iter().map(host).collect()
}
