//! One service.

use super::{
    checked_name, depends,
    lifecycle::{healthcheck, logging, replicas, restart},
    mounts::mounts,
    pairs::{Pairs, environment},
    ports::ports,
    resources::uses,
    words::words,
};
use crate::pipeline::{
    Service,
    extension::ServiceExtension,
    problem::Problem,
    read::Context,
    yaml::{Key, View},
};

/// What Compose knows and Caravan does not do.
#[rustfmt::skip]
const UNSUPPORTED: &[&str] = &[
    "annotations", "attach", "blkio_config", "build", "cgroup", "cgroup_parent", "configs",
    "cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime",
    "cpu_shares", "cpus", "cpuset", "credential_spec", "develop", "device_cgroup_rules", "devices",
    "dns", "dns_opt", "dns_search", "domainname", "expose", "extends", "external_links", "gpus",
    "group_add", "ipc", "isolation", "label_file", "links", "mac_address", "mem_reservation",
    "mem_swappiness", "memswap_limit", "models", "network_mode", "oom_kill_disable",
    "oom_score_adj", "pid", "platform", "post_start", "pre_stop", "privileged", "profiles",
    "provider", "pull_policy", "runtime", "secrets", "stdin_open", "storage_opt", "sysctls", "tty",
    "ulimits", "use_api_socket", "userns_mode", "uts", "volume_driver", "volumes_from",
];

pub(super) fn read(key: &Key, view: &View<'_>, context: &Context<'_>) -> Result<Service, Problem> {
    let mut fields = view.fields()?;
    let extension = fields.read_or_default("x-caravan", ServiceExtension::read)?;
    let service = Service {
        name: checked_name(key, view)?,
        // A file with `build` is told of that, and not that an image is missing.
        image: fields.read_or_default("image", View::filled)?,
        container_name: fields.read("container_name", container_name)?,
        entrypoint: words(&mut fields, "entrypoint")?,
        command: words(&mut fields, "command")?,
        environment: environment(&mut fields, context)?,
        ports: fields.read_or_default("ports", ports)?,
        mounts: fields.read_or_default("volumes", |v| mounts(v, context))?,
        networks: uses(fields.take("networks"))?,
        depends_on: fields.read_or_default("depends_on", depends::on)?,
        healthcheck: fields.read("healthcheck", healthcheck)?,
        restart: restart(&mut fields)?,
        replicas: replicas(&mut fields)?,
        user: fields.read("user", View::filled)?,
        working_dir: fields.read("working_dir", View::filled)?,
        hostname: fields.read("hostname", View::filled)?,
        read_only: fields.read_or_default("read_only", View::bool)?,
        init: fields.read_or_default("init", View::bool)?,
        tmpfs: fields.read_or_default("tmpfs", View::text_or_texts)?,
        cap_add: fields.read_or_default("cap_add", View::names)?,
        cap_drop: fields.read_or_default("cap_drop", View::names)?,
        security_opt: fields.read_or_default("security_opt", View::names)?,
        labels: fields.read_or_default("labels", |v| Pairs::read(v).map(Pairs::or_empty))?,
        logging: fields.read("logging", logging)?,
        stop_grace_period: fields.read("stop_grace_period", View::duration)?,
        stop_signal: fields.read("stop_signal", View::filled)?,
        mem_limit: fields.read("mem_limit", View::bytes)?,
        pids_limit: fields.read("pids_limit", |v| v.number("a number of processes"))?,
        shm_size: fields.read("shm_size", View::bytes)?,
        extra_hosts: fields.read_or_default("extra_hosts", extra_hosts)?,
        image_from: extension.image_from,
        ready: extension.ready,
        startup: extension.startup,
        effect: extension.effect,
        http: extension.http,
        group: extension.group,
        consumes: extension.consumes,
        emits: extension.emits,
        writes: extension.writes,
        calls: extension.calls,
        stages: extension.stages,
    };
    let no_image = fields.problem("the key `image` is missing");
    fields.finish_compose(UNSUPPORTED)?;
    if service.image.is_empty() {
        return Err(no_image);
    }
    Ok(service)
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

/// `HOST:IP` or `HOST=IP` each, or a mapping; as Docker takes them, with a colon.
fn extra_hosts(view: &View<'_>) -> Result<Vec<String>, Problem> {
    if view.is_mapping() {
        let host = |(key, value): (&Key, View<'_>)| Ok(format!("{}:{}", key.name, value.str()?));
        return view.entries()?.into_iter().map(host).collect();
    }
    let host = |item: &View<'_>| {
        item.parse("HOST:IP", |text| {
            // The address may be IPv6: only the first separator counts.
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
