//! Published ports: `[IP:][HOST:]CONTAINER[/PROTOCOL]`, or the long form.

use crate::pipeline::{Port, problem::Problem, yaml::View};

/// Compose's default: every address of the host.
const ANYWHERE: &str = "0.0.0.0";

pub(super) fn ports(view: &View<'_>) -> Result<Vec<Port>, Problem> {
    let one = |item: &View<'_>| {
        if item.is_mapping() {
            long(item)
        } else {
            item.parse("[IP:][HOST:]CONTAINER[/PROTOCOL]", short)
        }
    };
    view.items()?.iter().map(one).collect()
}

fn short(text: &str) -> Result<Port, String> {
    let (text, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    if !matches!(protocol, "tcp" | "udp") {
        return Err(format!("{protocol:?} is not tcp or udp"));
    }
    let (host, container) = match text.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, text),
    };
    let (host_ip, host_port) = match host.map(|host| (host, host.rsplit_once(':'))) {
        None => (ANYWHERE, ""),
        Some((port, None)) => (ANYWHERE, port),
        Some((_, Some((ip, port)))) => (ip.trim_matches(['[', ']']), port),
    };
    if host_ip.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("{host_ip:?} is not an IP address"));
    }
    Ok(Port {
        host_ip: host_ip.to_owned(),
        host_port: match host_port {
            "" => None,
            port => Some(number(port)?),
        },
        container_port: number(container)?,
        protocol: protocol.to_owned(),
    })
}

fn number(text: &str) -> Result<u16, String> {
    if text.contains('-') {
        return Err("port ranges are not supported yet".to_owned());
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is not a port from 1 to 65535")),
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
    let read = Port {
        container_port: port(&fields.require("target")?)?,
        host_port: fields.read("published", port)?,
        host_ip: fields
            .read("host_ip", ip)?
            .unwrap_or_else(|| ANYWHERE.to_owned()),
        protocol: fields
            .read("protocol", |v| v.word(&protocols))?
            .unwrap_or("tcp")
            .to_owned(),
    };
    // A name for people; it has no effect.
    fields.read("name", View::text)?;
    fields.finish_compose(&["app_protocol", "mode"])?;
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
            container_port: container,
            protocol: protocol.to_owned(),
        };
        for (text, expected) in [
            ("80", port("0.0.0.0", None, 80, "tcp")),
            ("8080:80", port("0.0.0.0", Some(8080), 80, "tcp")),
            (
                "127.0.0.1:8080:80/udp",
                port("127.0.0.1", Some(8080), 80, "udp"),
            ),
            ("127.0.0.1::80", port("127.0.0.1", None, 80, "tcp")),
            ("[::1]:8080:80", port("::1", Some(8080), 80, "tcp")),
        ] {
            assert_eq!(short(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "0",
            "70000",
            "x:80",
            "host:80:80",
            "80/sctp",
            "80-90:80-90",
        ] {
            assert!(short(text).is_err(), "{text}");
        }
    }
}
