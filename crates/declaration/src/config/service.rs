//! A service in the canonical form of docker compose.

use serde_json::{Map, Value, json};

use super::shape::{
    Shape, fields, is_true, mapping, non_empty_list, non_empty_map, number, pairs, shaped, text,
    texts,
};
use crate::{
    compose::{self, host_path},
    context::Context,
    yaml::{self, Node, View},
};

const TEXT: Shape = Shape::Text;
const TEXTS: Shape = Shape::Texts;

/// All keys of a service but those that [`service`] makes of several.
#[rustfmt::skip]
const KEYS: &[(&str, Shape)] = &[
    ("annotations", Shape::Pairs),
    ("attach", Shape::Choice),
    ("build", Shape::Own(build)),
    ("cap_add", TEXTS),
    ("cap_drop", TEXTS),
    ("cgroup", TEXT),
    ("cgroup_parent", TEXT),
    ("command", Shape::Words),
    ("configs", Shape::Own(configs)),
    ("container_name", TEXT),
    ("cpu_count", Shape::Number),
    ("cpu_percent", Shape::Number),
    ("cpu_period", Shape::Number),
    ("cpu_quota", Shape::Number),
    ("cpu_rt_period", Shape::Number),
    ("cpu_rt_runtime", Shape::Number),
    ("cpu_shares", Shape::Number),
    ("cpus", Shape::Number),
    ("cpuset", TEXT),
    ("deploy", Shape::Own(deploy)),
    ("develop", Shape::Fields(&[("watch", Shape::List(&WATCH))])),
    ("device_cgroup_rules", TEXTS),
    ("devices", Shape::Own(devices)),
    ("dns", Shape::Own(dns)),
    ("dns_opt", TEXTS),
    ("dns_search", TEXTS),
    ("domainname", TEXT),
    ("entrypoint", Shape::Words),
    ("expose", TEXTS),
    ("external_links", TEXTS),
    ("extra_hosts", Shape::Own(extra_hosts)),
    ("gpus", Shape::Own(gpus)),
    ("group_add", TEXTS),
    ("healthcheck", HEALTHCHECK),
    ("hostname", TEXT),
    ("image", TEXT),
    ("init", Shape::Choice),
    ("ipc", TEXT),
    ("isolation", TEXT),
    ("labels", Shape::Pairs),
    ("links", TEXTS),
    ("logging", Shape::Fields(&[("driver", TEXT), ("options", Shape::Map(&TEXT))])),
    ("mac_address", TEXT),
    ("mem_limit", Shape::Bytes),
    ("mem_reservation", Shape::Bytes),
    ("mem_swappiness", Shape::Bytes),
    ("memswap_limit", Shape::Bytes),
    ("network_mode", TEXT),
    ("oom_kill_disable", Shape::Flag),
    ("oom_score_adj", Shape::Number),
    ("pid", TEXT),
    ("pids_limit", Shape::Number),
    ("platform", TEXT),
    ("ports", Shape::Own(ports)),
    ("post_start", Shape::List(&HOOK)),
    ("pre_stop", Shape::List(&HOOK)),
    ("privileged", Shape::Flag),
    ("profiles", TEXTS),
    ("pull_policy", Shape::Own(pull_policy)),
    ("read_only", Shape::Flag),
    ("restart", Shape::Own(restart)),
    ("runtime", TEXT),
    ("scale", Shape::Count),
    ("secrets", Shape::Own(secrets)),
    ("security_opt", TEXTS),
    ("shm_size", Shape::Bytes),
    ("stdin_open", Shape::Flag),
    ("stop_grace_period", Shape::Duration),
    ("stop_signal", TEXT),
    ("storage_opt", Shape::Map(&TEXT)),
    ("sysctls", Shape::Pairs),
    ("tmpfs", TEXTS),
    ("tty", Shape::Flag),
    ("ulimits", Shape::Map(&Shape::Own(ulimit))),
    ("user", TEXT),
    ("userns_mode", TEXT),
    ("uts", TEXT),
    ("volumes", Shape::Own(mounts)),
    ("volumes_from", TEXTS),
    ("working_dir", TEXT),
];

#[rustfmt::skip]
const HEALTHCHECK: Shape = Shape::Fields(&[
    ("test", Shape::Own(test)),
    ("timeout", Shape::Duration),
    ("interval", Shape::Duration),
    ("retries", Shape::Count),
    ("start_period", Shape::Duration),
    ("start_interval", Shape::Duration),
    ("disable", Shape::Flag),
]);
#[rustfmt::skip]
const HOOK: Shape = Shape::Own(hook);
#[rustfmt::skip]
const WATCH: Shape = Shape::Own(watch);
#[rustfmt::skip]
const BUILD: &[(&str, Shape)] = &[
    ("additional_contexts", Shape::Own(additional_contexts)),
    ("cache_from", TEXTS),
    ("cache_to", TEXTS),
    ("dockerfile", TEXT),
    ("dockerfile_inline", TEXT),
    ("entitlements", TEXTS),
    ("extra_hosts", Shape::Own(extra_hosts)),
    ("isolation", TEXT),
    ("labels", Shape::Pairs),
    ("network", TEXT),
    ("no_cache", Shape::Flag),
    ("platforms", TEXTS),
    ("privileged", Shape::Flag),
    ("provenance", TEXT),
    ("pull", Shape::Flag),
    ("sbom", TEXT),
    ("secrets", Shape::List(&Shape::Own(file_reference))),
    ("shm_size", Shape::Bytes),
    ("tags", TEXTS),
    ("target", TEXT),
    ("ulimits", Shape::Map(&Shape::Own(ulimit))),
];
#[rustfmt::skip]
const RESOURCES: &[(&str, Shape)] = &[
    ("cpus", Shape::Number),
    ("memory", Shape::Bytes),
    ("pids", Shape::Number),
    ("devices", Shape::Own(gpus)),
    ("generic_resources", Shape::Plain),
];
#[rustfmt::skip]
const UPDATE: Shape = Shape::Fields(&[
    ("parallelism", Shape::Count),
    ("delay", Shape::Duration),
    ("failure_action", TEXT),
    ("monitor", Shape::Duration),
    ("max_failure_ratio", Shape::Number),
    ("order", TEXT),
]);
#[rustfmt::skip]
const DEPLOY: &[(&str, Shape)] = &[
    ("mode", TEXT),
    ("replicas", Shape::Count),
    ("labels", Shape::Pairs),
    ("update_config", UPDATE),
    ("rollback_config", UPDATE),
    ("resources", Shape::Block(&[
        ("limits", Shape::Fields(RESOURCES)),
        ("reservations", Shape::Fields(RESOURCES)),
    ])),
    ("restart_policy", Shape::Fields(&[
        ("condition", TEXT),
        ("delay", Shape::Duration),
        ("max_attempts", Shape::Count),
        ("window", Shape::Duration),
    ])),
    ("placement", Shape::Block(&[
        ("constraints", TEXTS),
        ("preferences", Shape::List(&Shape::Fields(&[("spread", TEXT)]))),
        ("max_replicas_per_node", Shape::Number),
    ])),
    ("endpoint_mode", TEXT),
];

pub(super) fn service(node: &Node, context: &Context<'_>) -> Value {
    let mut service = fields(node, KEYS, context);
    // An empty command is not the image's, so docker compose prints both cases.
    for key in ["command", "entrypoint"] {
        service.entry(key).or_insert(Value::Null);
    }
    let values = environment(node, context);
    insert(&mut service, "environment", non_empty_map(values));
    insert(&mut service, "depends_on", depends_on(node));
    if node
        .get("network_mode")
        .and_then(Node::text)
        .is_none_or(str::is_empty)
    {
        service.insert("networks".to_owned(), networks(node, context));
    }
    Value::Object(service)
}

fn insert(service: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        service.insert(key.to_owned(), value);
    }
}

/// `env_file`, overridden by `environment`. A name alone that is not set has no value.
fn environment(node: &Node, context: &Context<'_>) -> Map<String, Value> {
    let files = node
        .get("env_file")
        .map(|files| View::below(files, String::new()));
    let files = files.and_then(|files| compose::env_files(&files, context).ok());
    let mut values: Map<_, _> = files
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name, json!(value)))
        .collect();
    for (name, value) in node.get("environment").map(pairs).unwrap_or_default() {
        let inherited = || context.variables.get(&name).map(str::to_owned);
        let value = value.or_else(inherited);
        values.insert(name, value.map_or(Value::Null, Value::String));
    }
    values
}

const STARTED: &str = "service_started";

/// Declared dependencies, and those that `links`, `volumes_from` and shared namespaces imply.
fn depends_on(node: &Node) -> Option<Value> {
    let mut all = Map::new();
    let on = |condition: &str, required: bool, restart: bool| {
        let mut on = json!({"condition": condition, "required": required});
        if restart {
            on["restart"] = json!(true);
        }
        on
    };
    if let Some(declared) = node.get("depends_on") {
        for name in declared.items().iter().filter_map(text) {
            all.insert(name, on(STARTED, true, false));
        }
        for (key, node) in mapping(declared) {
            let flag = |key: &str| node.get(key).and_then(Node::text).map(is_true);
            let condition = node.get("condition").and_then(text);
            let condition = condition.as_deref().unwrap_or(STARTED);
            let required = flag("required").unwrap_or(true);
            let restart = flag("restart").unwrap_or_default();
            all.insert(key.name.clone(), on(condition, required, restart));
        }
    }
    for (service, restart) in compose::implied_dependencies(node) {
        all.entry(service)
            .or_insert_with(|| on(STARTED, true, restart));
    }
    non_empty_map(all)
}

#[rustfmt::skip]
const NETWORK_USE: Shape = Shape::Fields(&[
    ("aliases", TEXTS),
    ("driver_opts", Shape::Map(&TEXT)),
    ("gw_priority", Shape::Number),
    ("interface_name", TEXT),
    ("ipv4_address", TEXT),
    ("ipv6_address", TEXT),
    ("link_local_ips", TEXTS),
    ("mac_address", TEXT),
    ("priority", Shape::Number),
]);

fn networks(node: &Node, context: &Context<'_>) -> Value {
    let node = node.get("networks");
    let named = node.map_or(&[][..], Node::items).iter().filter_map(text);
    let mut all: Map<_, _> = named.map(|name| (name, Value::Null)).collect();
    for (key, used) in node.map(mapping).unwrap_or_default() {
        let block = match used.value {
            yaml::Value::Null => Value::Null,
            _ => shaped(used, &NETWORK_USE, context).unwrap_or_else(|| json!({})),
        };
        all.insert(key.name.clone(), block);
    }
    if all.is_empty() {
        all.insert("default".to_owned(), Value::Null);
    }
    Value::Object(all)
}

fn build(node: &Node, context: &Context<'_>) -> Option<Value> {
    let mut build = fields(node, BUILD, context);
    let place = node.get("context").or(Some(node)).and_then(text);
    let place = place.unwrap_or_else(|| ".".to_owned());
    let directory = match place.contains("://") || place.starts_with("git@") {
        true => place,
        false => host_path(&place, context).ok()?.display().to_string(),
    };
    build.insert("context".to_owned(), json!(directory));
    // An empty name, of a variable that is not set, is printed by no tool.
    if node.get("dockerfile").is_none() && !build.contains_key("dockerfile_inline") {
        build
            .entry("dockerfile")
            .or_insert_with(|| json!("Dockerfile"));
    }
    let args = node.get("args").map(pairs).unwrap_or_default();
    let args: Map<_, _> = args
        .into_iter()
        .filter_map(|(name, value)| {
            let inherited = || context.variables.get(&name).map(str::to_owned);
            let value = value.or_else(inherited)?;
            Some((name, json!(value)))
        })
        .collect();
    insert(&mut build, "args", non_empty_map(args));
    Some(Value::Object(build))
}

fn additional_contexts(node: &Node, context: &Context<'_>) -> Option<Value> {
    let place = |(name, place): (String, Option<String>)| {
        let place = place.unwrap_or_default();
        let is_path = !place.contains("://") && !place.contains(':');
        let path = is_path.then(|| host_path(&place, context).ok()).flatten();
        let place = path.map_or(place, |path| path.display().to_string());
        (name, json!(place))
    };
    non_empty_map(pairs(node).into_iter().map(place).collect())
}

fn deploy(node: &Node, context: &Context<'_>) -> Option<Value> {
    let mut deploy = fields(node, DEPLOY, context);
    for key in ["placement", "resources"] {
        deploy.entry(key).or_insert_with(|| json!({}));
    }
    Some(Value::Object(deploy))
}

fn device(node: &Node, context: &Context<'_>) -> Option<Value> {
    let Some(text) = text(node) else {
        let known = [("source", TEXT), ("target", TEXT), ("permissions", TEXT)];
        return non_empty_map(fields(node, &known, context));
    };
    let mut parts = text.splitn(3, ':');
    let source = parts.next()?;
    let target = parts.next().unwrap_or(source);
    let permissions = parts.next().unwrap_or("rwm");
    Some(json!({"source": source, "target": target, "permissions": permissions}))
}

/// `gpus: all`, or a list of device requests.
fn gpus(node: &Node, context: &Context<'_>) -> Option<Value> {
    if node.text() == Some("all") {
        return Some(json!([{"count": -1}]));
    }
    let request = |node: &Node| {
        let known = [
            ("capabilities", TEXTS),
            ("driver", TEXT),
            ("device_ids", TEXTS),
            ("options", Shape::Pairs),
        ];
        let mut request = fields(node, &known, context);
        let count = match node.get("count") {
            Some(count) if count.text() == Some("all") => Some(json!(-1)),
            Some(count) => number(count),
            None if request.contains_key("device_ids") => None,
            None => Some(json!(-1)),
        };
        insert(&mut request, "count", count);
        Value::Object(request)
    };
    non_empty_list(node.items().iter().map(request).collect())
}

/// Name servers, without those of variables that are not set.
fn dns(node: &Node, _: &Context<'_>) -> Option<Value> {
    let servers = texts(node).into_iter().filter(|server| !server.is_empty());
    non_empty_list(servers.map(Value::String).collect())
}

/// `HOST=IP` each, sorted.
fn extra_hosts(node: &Node, _: &Context<'_>) -> Option<Value> {
    let mut hosts: Vec<String> = Vec::new();
    for (key, addresses) in mapping(node) {
        let addresses = texts(addresses).into_iter();
        hosts.extend(addresses.map(|address| format!("{}={address}", key.name)));
    }
    for item in node.items().iter().filter_map(text) {
        // An IPv6 address contains colons, so only the first separator splits.
        let (host, address) = item.split_once(['=', ':'])?;
        let address = address.trim_matches(['[', ']']);
        hosts.push(format!("{host}={address}"));
    }
    hosts.sort();
    non_empty_list(hosts.into_iter().map(Value::String).collect())
}

fn test(node: &Node, _: &Context<'_>) -> Option<Value> {
    match text(node) {
        Some(line) => Some(json!(["CMD-SHELL", line])),
        None => Some(json!(texts(node))),
    }
}

fn hook(node: &Node, context: &Context<'_>) -> Option<Value> {
    let known = [
        ("command", Shape::Words),
        ("user", TEXT),
        ("privileged", Shape::Flag),
        ("working_dir", TEXT),
    ];
    let mut hook = fields(node, &known, context);
    hook.entry("command").or_insert(Value::Null);
    let values = environment(node, context);
    insert(&mut hook, "environment", non_empty_map(values));
    Some(Value::Object(hook))
}

fn watch(node: &Node, context: &Context<'_>) -> Option<Value> {
    let known = [
        ("path", Shape::Path),
        ("action", TEXT),
        ("target", TEXT),
        ("include", TEXTS),
        ("ignore", TEXTS),
        ("initial_sync", Shape::Flag),
    ];
    let mut watch = fields(node, &known, context);
    let exec = node.get("exec").and_then(|exec| hook(exec, context));
    watch.insert(
        "exec".to_owned(),
        exec.unwrap_or_else(|| json!({"command": null})),
    );
    Some(Value::Object(watch))
}

fn ports(node: &Node, context: &Context<'_>) -> Option<Value> {
    let mut all: Vec<Value> = Vec::new();
    for item in node.items() {
        if let Some(text) = text(item) {
            all.extend(short_ports(&text)?);
            continue;
        }
        let known = [
            ("name", TEXT),
            ("mode", TEXT),
            ("host_ip", TEXT),
            ("target", Shape::Number),
            ("published", TEXT),
            ("protocol", TEXT),
            ("app_protocol", TEXT),
        ];
        let mut port = fields(item, &known, context);
        port.entry("mode").or_insert_with(|| json!("ingress"));
        port.entry("protocol").or_insert_with(|| json!("tcp"));
        all.push(Value::Object(port));
    }
    // As compose-go removes what an overlay declares again.
    let mut unique: Vec<Value> = Vec::new();
    for port in all {
        if !unique.contains(&port) {
            unique.push(port);
        }
    }
    non_empty_list(unique)
}

fn short_ports(text: &str) -> Option<Vec<Value>> {
    let mut ports = compose::short_ports(text).ok()?;
    // compose-go sorts them by the text of the container's port.
    ports.sort_by_key(|port| format!("{}/{}", port.target, port.protocol));
    let long = |port: &compose::ShortPort| {
        let mut long = json!({
            "mode": "ingress",
            "target": port.target,
            "protocol": port.protocol,
        });
        if let Some(published) = &port.published {
            long["published"] = json!(published);
        }
        if !port.host_ip.is_empty() {
            long["host_ip"] = json!(port.host_ip);
        }
        long
    };
    Some(ports.iter().map(long).collect())
}

fn pull_policy(node: &Node, _: &Context<'_>) -> Option<Value> {
    match node.text()? {
        "" => None,
        "if_not_present" => Some(json!("missing")),
        policy => Some(json!(policy)),
    }
}

/// `restart: no` without quotes is a boolean for YAML 1.1 only.
fn restart(node: &Node, _: &Context<'_>) -> Option<Value> {
    match node.text()? {
        "" => None,
        policy => Some(json!(policy)),
    }
}

fn secret(node: &Node, context: &Context<'_>) -> Option<Value> {
    let mut reference = file_reference(node, context)?;
    if let Some(fields) = reference.as_object_mut() {
        let source = fields.get("source").and_then(Value::as_str);
        let target = format!("/run/secrets/{}", source.unwrap_or_default());
        fields.entry("target").or_insert_with(|| json!(target));
    }
    Some(reference)
}

fn file_reference(node: &Node, context: &Context<'_>) -> Option<Value> {
    if let Some(source) = text(node) {
        return Some(json!({"source": source}));
    }
    let known = [
        ("source", TEXT),
        ("target", TEXT),
        ("uid", TEXT),
        ("gid", TEXT),
        ("mode", Shape::Own(mode)),
    ];
    non_empty_map(fields(node, &known, context))
}

/// Permissions in octal digits.
fn mode(node: &Node, _: &Context<'_>) -> Option<Value> {
    let mode = View::below(node, String::new()).mode().ok()?;
    Some(json!(format!("0{mode:o}")))
}

/// A number, or `soft` and `hard`.
fn ulimit(node: &Node, context: &Context<'_>) -> Option<Value> {
    let limits = [("soft", Shape::Number), ("hard", Shape::Number)];
    number(node).or_else(|| Some(Value::Object(fields(node, &limits, context))))
}

/// The items of a list. A later one replaces an earlier one with the same target, as in an overlay.
fn by_target(
    node: &Node,
    read: fn(&Node, &Context<'_>) -> Option<Value>,
    context: &Context<'_>,
) -> Option<Value> {
    let target = |item: &Value| item.get("target").or_else(|| item.get("source")).cloned();
    let mut unique: Vec<Value> = Vec::new();
    for item in node.items().iter().filter_map(|item| read(item, context)) {
        match unique
            .iter_mut()
            .find(|other| target(other) == target(&item))
        {
            Some(other) => *other = item,
            None => unique.push(item),
        }
    }
    non_empty_list(unique)
}

fn mounts(node: &Node, context: &Context<'_>) -> Option<Value> {
    by_target(node, mount, context)
}

fn devices(node: &Node, context: &Context<'_>) -> Option<Value> {
    by_target(node, device, context)
}

fn secrets(node: &Node, context: &Context<'_>) -> Option<Value> {
    by_target(node, secret, context)
}

fn configs(node: &Node, context: &Context<'_>) -> Option<Value> {
    by_target(node, file_reference, context)
}

fn mount(node: &Node, context: &Context<'_>) -> Option<Value> {
    match text(node) {
        Some(text) => short_mount(&text, context),
        None => long_mount(node, context),
    }
}

fn short_mount(text: &str, context: &Context<'_>) -> Option<Value> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return None,
    };
    let target = clean(target);
    let is_path = source.starts_with(['/', '.', '~']);
    let mut mount = match (source, is_path) {
        ("", _) => json!({"type": "volume", "target": target, "volume": {}}),
        (source, false) => {
            json!({"type": "volume", "source": source, "target": target, "volume": {}})
        }
        (path, true) => {
            let path = host_path(path, context).ok()?.display().to_string();
            let bind = json!({"create_host_path": true});
            json!({"type": "bind", "source": path, "target": target, "bind": bind})
        }
    };
    for option in options.split(',') {
        match option {
            "ro" => mount["read_only"] = json!(true),
            "nocopy" => mount["volume"] = json!({"nocopy": true}),
            "z" | "Z" => mount["bind"]["selinux"] = json!(option),
            "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate" => {
                mount["bind"]["propagation"] = json!(option);
            }
            _ => {}
        }
    }
    Some(mount)
}

#[rustfmt::skip]
const MOUNT: &[(&str, Shape)] = &[
    ("type", TEXT),
    ("source", TEXT),
    ("read_only", Shape::Flag),
    ("consistency", TEXT),
    ("bind", Shape::Block(&[
        ("selinux", TEXT),
        ("propagation", TEXT),
        ("create_host_path", Shape::Flag),
        ("recursive", TEXT),
    ])),
    ("volume", Shape::Block(&[
        ("labels", Shape::Pairs),
        ("nocopy", Shape::Flag),
        ("subpath", TEXT),
    ])),
    ("tmpfs", Shape::Block(&[("size", Shape::Bytes), ("mode", Shape::Number)])),
    ("image", Shape::Block(&[("subpath", TEXT)])),
];

fn long_mount(node: &Node, context: &Context<'_>) -> Option<Value> {
    let mut mount = fields(node, MOUNT, context);
    let target = node.get("target").and_then(text)?;
    mount.insert("target".to_owned(), json!(clean(&target)));
    if mount.get("type").is_some_and(|kind| kind == "bind") {
        let source = node.get("source").and_then(text)?;
        let source = host_path(&source, context).ok()?.display().to_string();
        mount.insert("source".to_owned(), json!(source));
    }
    Some(Value::Object(mount))
}

fn clean(target: &str) -> String {
    crate::clean_path(std::path::Path::new(target))
        .display()
        .to_string()
}
