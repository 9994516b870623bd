//! Published and exposed ports: `[IP:][HOST:]CONTAINER[/PROTOCOL]`, or the long form.

use std::ops::RangeInclusive;

use crate::{Invalid, Port, problem::Problem, yaml::View};

pub(crate) fn ports(view: &View<'_>) -> Result<Vec<Port>, Problem> {
    let mut ports = Vec::new();
    for item in view.items()? {
        if item.is_mapping() {
            ports.push(long(&item)?);
        } else {
            ports.extend(item.parse("[IP:][HOST:]CONTAINER[/PROTOCOL]", short)?);
        }
    }
    Ok(ports)
}

/// `expose`: `80/tcp` each.
pub(super) fn exposed(view: &View<'_>) -> Result<Vec<String>, Problem> {
    let mut ports = Vec::new();
    for item in view.items()? {
        ports.extend(item.parse("CONTAINER[/PROTOCOL]", |text| {
            let (text, protocol) = split_protocol(text)?;
            let named = range(text)?.map(|port| format!("{port}/{protocol}"));
            Ok::<Vec<_>, Invalid>(named.collect())
        })?);
    }
    Ok(ports)
}

/// An entry of the short form, before its ranges become ports.
pub(crate) struct ShortPort {
    /// Empty: all addresses of the host.
    pub(crate) host_ip: String,
    /// A port of the host, or a range of which Docker chooses one.
    pub(crate) published: Option<String>,
    pub(crate) target: u16,
    pub(crate) protocol: String,
}

fn short(text: &str) -> Result<Vec<Port>, Invalid> {
    let port = |short: ShortPort| {
        Ok(Port {
            host_ip: short.host_ip,
            host_port: short.published.clone().and_then(|text| number(&text).ok()),
            host_range: short.published.filter(|text| text.contains('-')),
            container_port: short.target,
            protocol: short.protocol,
        })
    };
    short_ports(text)?.into_iter().map(port).collect()
}

/// The ports of `[IP:][HOST:]CONTAINER[/PROTOCOL]`.
pub(crate) fn short_ports(text: &str) -> Result<Vec<ShortPort>, Invalid> {
    let (text, protocol) = split_protocol(text)?;
    let (host, container) = match text.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, text),
    };
    let (host_ip, host_ports) = match host.map(|host| (host, host.rsplit_once(':'))) {
        None => ("", ""),
        Some((port, None)) => ("", port),
        Some((_, Some((ip, port)))) => (ip.trim_matches(['[', ']']), port),
    };
    if !host_ip.is_empty() && host_ip.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("{host_ip:?} is not an IP address").into());
    }
    let containers = range(container)?;
    let hosts = match host_ports {
        "" => None,
        ports => Some(range(ports)?),
    };
    let one_of = containers.len() == 1;
    if let Some(hosts) = &hosts
        && hosts.len() != containers.len()
        && !one_of
    {
        return Err(format!(
            "{} ports of the host for {} of the container",
            hosts.len(),
            containers.len()
        )
        .into());
    }
    let published = |index| match &hosts {
        // Docker chooses one of the range.
        Some(hosts) if one_of && hosts.len() > 1 => Some(host_ports.to_owned()),
        hosts => hosts.clone()?.nth(index).map(|port| port.to_string()),
    };
    let port = |(index, target)| ShortPort {
        host_ip: host_ip.to_owned(),
        published: published(index),
        target,
        protocol: protocol.to_owned(),
    };
    Ok(containers.enumerate().map(port).collect())
}

fn split_protocol(text: &str) -> Result<(&str, &str), Invalid> {
    let (text, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    match protocol {
        "tcp" | "udp" => Ok((text, protocol)),
        _ => Err(format!("{protocol:?} is not tcp or udp").into()),
    }
}

/// `80`, `80-90`.
fn range(text: &str) -> Result<RangeInclusive<u16>, Invalid> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    match first <= last {
        true => Ok(first..=last),
        false => Err(format!("{text:?} is not a range: its end is before its start").into()),
    }
}

fn number(text: &str) -> Result<u16, Invalid> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is not a port from 1 to 65535").into()),
        Ok(port) => Ok(port),
    }
}

fn long(view: &View<'_>) -> Result<Port, Problem> {
    let mut fields = view.fields()?;
    let port = |view: &View<'_>| view.parse("a port", number);
    let ip = |view: &View<'_>| {
        view.parse("an IP address", |text| {
            text.parse::<std::net::IpAddr>().map(|_| text.to_owned())
        })
    };
    let protocols = [("tcp", "tcp"), ("udp", "udp")];
    let published = fields.read_set("published", |v| {
        v.parse("a port or a range of ports", |text| {
            range(text).map(|ports| (text.to_owned(), ports))
        })
    })?;
    let (one, several) = match published {
        Some((_, ports)) if ports.len() == 1 => (Some(*ports.start()), None),
        Some((text, _)) => (None, Some(text)),
        None => (None, None),
    };
    let read = Port {
        container_port: port(&fields.require("target")?)?,
        host_port: one,
        host_range: several,
        host_ip: fields.read_set("host_ip", ip)?.unwrap_or_default(),
        protocol: fields
            .read_set("protocol", |v| v.word(&protocols))?
            .unwrap_or("tcp")
            .to_owned(),
    };
    // Documentation and Swarm keys; they have no effect.
    for key in ["name", "app_protocol", "mode"] {
        fields.read(key, View::text)?;
    }
    fields.finish_compose(&[])?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form() {
        let port = |ip: &str, host, container, protocol: &str| Port {
            host_ip: ip.to_owned(),
            host_port: host,
            host_range: None,
            container_port: container,
            protocol: protocol.to_owned(),
        };
        for (text, expected) in [
            ("80", port("", None, 80, "tcp")),
            ("8080:80", port("", Some(8080), 80, "tcp")),
            (
                "127.0.0.1:8080:80/udp",
                port("127.0.0.1", Some(8080), 80, "udp"),
            ),
            ("127.0.0.1::80", port("127.0.0.1", None, 80, "tcp")),
            ("[::1]:8080:80", port("::1", Some(8080), 80, "tcp")),
        ] {
            assert_eq!(short(text), Ok(vec![expected]), "{text}");
        }
        assert_eq!(
            short("9000-9001:80-81/udp"),
            Ok(vec![
                port("", Some(9000), 80, "udp"),
                port("", Some(9001), 81, "udp")
            ])
        );
        let one_of = Port {
            host_range: Some("6005-6015".to_owned()),
            ..port("", None, 80, "tcp")
        };
        assert_eq!(short("6005-6015:80"), Ok(vec![one_of]));
        for text in [
            "",
            "0",
            "70000",
            "x:80",
            "host:80:80",
            "80/sctp",
            "80-90:80-81",
            "90-80",
        ] {
            assert!(short(text).is_err(), "{text}");
        }
    }
}
