//! Limits, privileges and names that are passed to Docker unchanged.

use super::{deploy::Deploy, pairs::Pairs, ports::exposed};
use crate::{
    Device, Invalid, Runtime, Ulimit,
    problem::Problem,
    yaml::{Fields, View},
};

pub(super) fn runtime(fields: &mut Fields<'_>, deploy: &Deploy) -> Result<Runtime, Problem> {
    Ok(Runtime {
        nano_cpus: deploy.nano_cpus(fields)?,
        cpu_shares: fields.read("cpu_shares", |v| v.number("a number of shares"))?,
        cpuset: fields.read("cpuset", View::filled)?,
        mem_reservation: deploy.mem_reservation(fields)?,
        memswap_limit: fields.read("memswap_limit", bytes_or_unlimited)?,
        oom_score_adj: fields.read("oom_score_adj", |v| v.number("a number"))?,
        ulimits: fields.read_or_default("ulimits", ulimits)?,
        sysctls: fields.read_or_default("sysctls", |v| Pairs::read(v).map(Pairs::or_empty))?,
        privileged: fields.read_or_default("privileged", View::bool)?,
        devices: fields.read_or_default("devices", devices)?,
        group_add: fields.read_or_default("group_add", View::names)?,
        tty: fields.read_or_default("tty", View::bool)?,
        stdin_open: fields.read_or_default("stdin_open", View::bool)?,
        domainname: fields.read("domainname", View::filled)?,
        dns: fields.read_or_default("dns", View::text_or_texts)?,
        dns_opt: fields.read_or_default("dns_opt", View::texts)?,
        dns_search: fields.read_or_default("dns_search", View::text_or_texts)?,
        expose: fields.read_or_default("expose", exposed)?,
        network_mode: fields.read("network_mode", |v| mode(v, &["bridge", "host", "none"]))?,
        ipc: fields.read("ipc", |v| {
            mode(v, &["host", "none", "private", "shareable"])
        })?,
        pid: fields.read("pid", |v| mode(v, &["host"]))?,
        runtime: fields.read("runtime", View::filled)?,
        platform: fields.read("platform", View::filled)?,
    })
}

/// One of Docker's modes. The namespace of another container is not supported.
fn mode(view: &View<'_>, known: &[&str]) -> Result<String, Problem> {
    let text = view.str()?;
    if text.starts_with("service:") || text.starts_with("container:") {
        let message = format!("{text:?}, the namespace of another container, is not supported yet");
        return Err(view.problem(message));
    }
    let words: Vec<_> = known.iter().map(|word| (*word, ())).collect();
    view.word(&words)?;
    view.text()
}

fn bytes_or_unlimited(view: &View<'_>) -> Result<i64, Problem> {
    match view.str()? {
        "-1" => Ok(-1),
        _ => view.bytes(),
    }
}

/// `nofile: 65536` or `nofile: {soft: 1024, hard: 65536}`; -1 is no limit.
fn ulimits(view: &View<'_>) -> Result<Vec<Ulimit>, Problem> {
    let number = |view: &View<'_>| view.number("a number");
    let mut ulimits = Vec::new();
    for (key, view) in view.entries()? {
        let name = key.name.clone();
        let (soft, hard) = if view.is_mapping() {
            let mut fields = view.fields()?;
            let soft = number(&fields.require("soft")?)?;
            let hard = number(&fields.require("hard")?)?;
            fields.finish_compose(&[])?;
            (soft, hard)
        } else {
            let both = number(&view)?;
            (both, both)
        };
        ulimits.push(Ulimit { name, soft, hard });
    }
    Ok(ulimits)
}

/// `HOST[:CONTAINER[:rwm]]`, or the long form.
fn devices(view: &View<'_>) -> Result<Vec<Device>, Problem> {
    let device = |item: &View<'_>| {
        if !item.is_mapping() {
            return item.parse("HOST[:CONTAINER[:rwm]]", short_device);
        }
        let mut fields = item.fields()?;
        let host = fields.require("source")?.filled()?;
        let device = Device {
            container: fields
                .read("target", View::filled)?
                .unwrap_or_else(|| host.clone()),
            permissions: fields
                .read("permissions", View::filled)?
                .unwrap_or_else(|| "rwm".to_owned()),
            host,
        };
        fields.finish_compose(&[])?;
        Ok(device)
    };
    view.items()?.iter().map(device).collect()
}

fn short_device(text: &str) -> Result<Device, Invalid> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, container] => (host, container, "rwm"),
        [host, container, permissions] => (host, container, permissions),
        _ => return Err(format!("it has {} parts", parts.len()).into()),
    };
    if !host.starts_with('/') {
        return Err(format!("{host:?} is not a path").into());
    }
    Ok(Device {
        host: host.to_owned(),
        container: container.to_owned(),
        permissions: permissions.to_owned(),
    })
}
