//! Limits, privileges and names that are passed to Docker unchanged.

use std::collections::BTreeMap;

use super::{deploy::Deploy, pairs::Pairs, ports::exposed, shared::namespace};
use crate::{
    Device, DeviceRequest, Invalid, Runtime, Ulimit,
    problem::Problem,
    yaml::{Fields, Key, View},
};

pub(super) fn runtime(fields: &mut Fields<'_>, deploy: &Deploy) -> Result<Runtime, Problem> {
    Ok(Runtime {
        nano_cpus: deploy.nano_cpus(fields)?,
        cpu_shares: fields.read("cpu_shares", |v| v.number("a number of shares"))?,
        cpuset: fields.read_set("cpuset", View::filled)?,
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
        domainname: fields.read_set("domainname", View::filled)?,
        dns: texts_set(fields, "dns")?,
        dns_opt: fields.read_or_default("dns_opt", View::texts)?,
        dns_search: texts_set(fields, "dns_search")?,
        expose: fields.read_or_default("expose", exposed)?,
        network_mode: fields.read_set("network_mode", |v| {
            namespace(v, &["bridge", "host", "none"])
        })?,
        ipc: fields.read_set("ipc", |v| {
            namespace(v, &["host", "none", "private", "shareable"])
        })?,
        pid: fields.read_set("pid", |v| namespace(v, &["host"]))?,
        uts: fields.read_set("uts", |v| one_of(v, &["host"]))?,
        userns_mode: fields.read_set("userns_mode", |v| one_of(v, &["host"]))?,
        cgroup: fields.read_set("cgroup", |v| one_of(v, &["host", "private"]))?,
        cgroup_parent: fields.read_set("cgroup_parent", View::filled)?,
        cpu_period: fields.read_set("cpu_period", microseconds)?,
        cpu_quota: fields.read_set("cpu_quota", microseconds)?,
        cpu_rt_period: fields.read_set("cpu_rt_period", microseconds)?,
        cpu_rt_runtime: fields.read_set("cpu_rt_runtime", microseconds)?,
        mem_swappiness: fields.read_set("mem_swappiness", |v| v.number("a number"))?,
        oom_kill_disable: fields.read_or_default("oom_kill_disable", View::bool)?,
        device_cgroup_rules: fields.read_or_default("device_cgroup_rules", View::names)?,
        device_requests: device_requests(fields, deploy)?,
        storage_opt: fields.read_or_default("storage_opt", options)?,
        runtime: fields.read_set("runtime", View::filled)?,
        platform: fields.read_set("platform", View::filled)?,
    })
}

/// One text or several, without empty ones.
fn texts_set(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<String>, Problem> {
    let texts = fields.read_set(key, View::text_or_texts)?;
    let texts = texts.unwrap_or_default().into_iter();
    Ok(texts.filter(|text| !text.is_empty()).collect())
}

/// One of Docker's words.
fn one_of(view: &View<'_>, words: &[&str]) -> Result<String, Problem> {
    let words: Vec<_> = words.iter().map(|word| (*word, ())).collect();
    view.word(&words)?;
    view.text()
}

fn microseconds(view: &View<'_>) -> Result<i64, Problem> {
    view.number("a number of microseconds")
}

fn options(view: &View<'_>) -> Result<BTreeMap<String, String>, Problem> {
    let option = |(key, value): (&Key, View<'_>)| Ok((key.name.clone(), value.text()?));
    view.entries()?.into_iter().map(option).collect()
}

/// `gpus`, and the devices that `deploy` reserves.
fn device_requests(
    fields: &mut Fields<'_>,
    deploy: &Deploy,
) -> Result<Vec<DeviceRequest>, Problem> {
    let gpus = fields.read_set("gpus", |view| match view.is_sequence() {
        true => requests(view),
        false => {
            one_of(view, &["all"])?;
            let all = DeviceRequest {
                count: Some(-1),
                ..DeviceRequest::default()
            };
            Ok(vec![all])
        }
    })?;
    let mut all = gpus.unwrap_or_default();
    for request in &mut all {
        request.capabilities.push("gpu".to_owned());
    }
    all.extend_from_slice(&deploy.devices);
    Ok(all)
}

/// A list of device requests.
pub(super) fn requests(view: &View<'_>) -> Result<Vec<DeviceRequest>, Problem> {
    let request = |view: View<'_>| {
        let mut fields = view.fields()?;
        let ids = fields.read_or_default("device_ids", View::names)?;
        let count = fields.read_set("count", |v| match v.str()? {
            "all" => Ok(-1),
            _ => v.number("`all`, or a number of devices"),
        })?;
        let request = DeviceRequest {
            driver: fields.read_set("driver", View::filled)?,
            count: count.or_else(|| ids.is_empty().then_some(-1)),
            ids,
            capabilities: fields.read_or_default("capabilities", View::names)?,
            options: fields.read_or_default("options", |v| Pairs::read(v).map(Pairs::or_empty))?,
        };
        fields.finish_compose(&[])?;
        Ok(request)
    };
    view.items()?.into_iter().map(request).collect()
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
                .read_set("target", View::filled)?
                .unwrap_or_else(|| host.clone()),
            permissions: fields
                .read_set("permissions", View::filled)?
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
