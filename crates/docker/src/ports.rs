//! Which container or process occupies a host port that a service needs, and what to do about it. It does not
//! belong to the project, so nothing here proposes a command that ends it.

use crate::{
    connect::Engine,
    labels,
    listening::{self, InContainer, Listener, Runtime},
};
use declaration::{Origin, Pipeline, Port, PortBinding, Service};
use platform::host_ports;

/// What occupies a host port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The host port.
    pub port: u16,
    /// The container or process, as shown to the user: `the process nc (pid 42)`.
    pub who: String,
    /// The command that shows the process, if this user may not see it.
    pub look: Option<String>,
}

impl Holder {
    /// A running container that publishes the port.
    pub(super) fn container(binding: &PortBinding) -> Self {
        Self {
            port: binding.number,
            who: named(&binding.container, binding.project.as_deref()),
            look: None,
        }
    }

    /// Advice for the user; `change` says how the service gets another port.
    pub fn advice(&self, change: &str) -> String {
        match &self.look {
            Some(look) => format!("{change}; or see who has it: {look}"),
            None => format!(
                "{change}; or stop {} yourself, if nothing needs it",
                self.who
            ),
        }
    }
}

fn named(container: &str, project: Option<&str>) -> String {
    let of = project.map(|project| format!(" of the project {project}"));
    format!("the container {container}{}", of.unwrap_or_default())
}

/// How a service gets another host port than `number`: by the variable that sets it, else by a change of the
/// declaration.
pub fn other_port(pipeline: &Pipeline, service: &str, number: u16) -> String {
    let mut variables = pipeline.variable_ports.iter();
    if let Some(decided) = variables.find(|v| v.service == service && v.number == number) {
        let variable = &decided.variable;
        return format!("set {variable}=… to another port than {number}");
    }
    let file = match &pipeline.origin {
        Origin::Files(files) => {
            let files: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
            format!(" in {}", files.join(" or "))
        }
        Origin::Embedded => String::new(),
    };
    format!("publish {service} on another port (services.{service}.ports{file})")
}

/// Whether Docker's refusal to start a container is about an occupied port.
pub(super) fn is_occupied(reason: &str) -> bool {
    ["port is already allocated", "address already in use"]
        .iter()
        .any(|text| reason.contains(text))
}

impl Engine {
    /// What occupies the port that Docker's error names, among the ports that a service publishes.
    pub(super) async fn port_holder(&self, service: &Service, reason: &str) -> Option<Holder> {
        let named = |port: u16| {
            let port = format!(":{port}");
            reason
                .split(&port)
                .skip(1)
                .any(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let published = service.ports.iter().filter_map(|p| Some((p, p.host_port?)));
        let published: Vec<_> = published.collect();
        let port = published.iter().find(|(_, number)| named(*number));
        let (port, number) = *port.or_else(|| published.first())?;
        if let Some(holder) = self.container_on(port, number).await {
            return Some(holder);
        }
        if !self.local {
            return None;
        }
        Some(self.process_on(number).await)
    }

    /// A running container of any project that publishes the port.
    async fn container_on(&self, port: &Port, number: u16) -> Option<Holder> {
        let bindings = self.published().await.ok()?;
        let running = bindings.iter().filter(|binding| binding.running);
        host_ports::binding(running, port, number).map(Holder::container)
    }

    /// The process of this machine that listens on a port, or its container.
    pub(super) async fn process_on(&self, port: u16) -> Holder {
        // Reads many small files of /proc, so it runs on a blocking thread.
        let found = tokio::task::spawn_blocking(move || listening::on_port(port)).await;
        let Some(listener) = found.ok().flatten() else {
            return Holder {
                port,
                who: "a process that this user may not see".to_owned(),
                look: Some(format!("sudo ss -ltnp 'sport = :{port}'")),
            };
        };
        let name = match &listener.container {
            Some(container) if container.runtime == Runtime::Docker => {
                self.container_named(&container.id).await
            }
            Some(_) | None => None,
        };
        Holder {
            port,
            who: who(&listener, name),
            look: None,
        }
    }

    /// A container of this engine by its id, with its project.
    async fn container_named(&self, id: &str) -> Option<String> {
        let container = self.inspect(id).await.ok().flatten()?;
        let project = container.labels.get(labels::PROJECT);
        Some(named(&container.name, project.map(String::as_str)))
    }
}

/// Describes a process; `container` is this engine's name for the container that it runs in.
fn who(listener: &Listener, container: Option<String>) -> String {
    let Listener {
        pid,
        name,
        container: inside,
    } = listener;
    let process = format!("process {name}, pid {pid}");
    match (container, inside) {
        (Some(container), _) => format!("{container} ({process})"),
        (None, Some(inside)) => {
            let InContainer { id, runtime, name } = inside;
            let name = name.clone().unwrap_or_else(|| format!("{id:.12}"));
            match runtime {
                Runtime::Podman => format!("the Podman container {name} ({process})"),
                Runtime::Docker | Runtime::Other => format!("the container {name} ({process})"),
            }
        }
        (None, None) => format!("the process {name} (pid {pid})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_occupied_port_is_recognised() {
        assert!(is_occupied(
            "Bind for 127.0.0.1:80 failed: port is already allocated"
        ));
        assert!(is_occupied(
            "listen tcp4 127.0.0.1:80: bind: address already in use"
        ));
        assert!(!is_occupied("no such image"));
    }

    #[test]
    fn a_process_in_a_container_is_named_by_the_container() {
        let mut listener = Listener {
            pid: 42,
            name: "conmon".to_owned(),
            container: None,
        };
        assert_eq!(who(&listener, None), "the process conmon (pid 42)");
        listener.container = Some(InContainer {
            id: "0123456789abcdef".to_owned(),
            runtime: Runtime::Podman,
            name: Some("other-kafka".to_owned()),
        });
        assert_eq!(
            who(&listener, None),
            "the Podman container other-kafka (process conmon, pid 42)"
        );
        assert_eq!(
            who(&listener, Some(named("web", Some("other")))),
            "the container web of the project other (process conmon, pid 42)"
        );
    }
}
