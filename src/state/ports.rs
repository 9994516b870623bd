//! Host ports that `up` chooses (docs/decisions/0020). If a variable sets a host port, has only its default
//! value and the default port is in use, `up` chooses the next free port and saves it in the project's own
//! file of variables.

use std::{
    collections::BTreeMap,
    fs::File,
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::file;
use declaration::{Pipeline, Port, PortBinding, Service, Source, VariablePort, VariableSource};
use diagnostics::{Error, Kind, Result};
use platform::host_ports::{self, UsedPorts};

/// A port chosen in place of a default port that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) variable: String,
    pub(crate) service: String,
    pub(crate) number: u16,
    /// The default port.
    pub(crate) instead_of: u16,
    /// The process, container or service that uses the default port.
    pub(crate) holder: String,
}

/// The ports that `up` would choose now.
pub(crate) struct PortPlan {
    pub(crate) chosen: Vec<Chosen>,
    /// Variables whose saved port is now used by something else, each with the error that `up` returns.
    pub(crate) lost: Vec<(String, Error)>,
}

impl PortPlan {
    /// # Errors
    /// A saved port is now used by something else.
    fn into_chosen(self) -> Result<Vec<Chosen>> {
        match self.lost.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(self.chosen),
        }
    }
}

/// Chooses a free port for each variable that sets a port of the `wanted` services, is not set, and whose
/// default port is in use. Saves the chosen ports in [`Source::ports_path`]. Hold the returned [`Claims`]
/// until the ports are in use: they keep `up` of other projects from choosing the same ports.
///
/// # Errors
/// A saved port is now used by something else, no port is free, or a file cannot be written.
pub(crate) fn choose_ports(
    source: &Source,
    pipeline: &Pipeline,
    wanted: &[String],
    used: &UsedPorts,
) -> Result<(Vec<Chosen>, Claims)> {
    let mut claims = Claims::new(source.claims_dir())?;
    let chosen = Choice {
        source,
        pipeline,
        used,
        claims: &mut claims,
    }
    .choose(wanted)?;
    if !chosen.is_empty() {
        save(source, &chosen)?;
    }
    Ok((chosen, claims))
}

/// The ports that [`choose_ports`] would choose now. Claims and writes nothing.
///
/// # Errors
/// A saved port is now used by something else, or no port is free.
pub(crate) fn preview_ports(
    source: &Source,
    pipeline: &Pipeline,
    wanted: &[String],
    used: &UsedPorts,
) -> Result<Vec<Chosen>> {
    plan_ports(source, pipeline, wanted, used)?.into_chosen()
}

/// As [`preview_ports`], but returns all lost ports instead of the first one as an error.
///
/// # Errors
/// No port is free, or the claims of other projects cannot be read.
pub(crate) fn plan_ports(
    source: &Source,
    pipeline: &Pipeline,
    wanted: &[String],
    used: &UsedPorts,
) -> Result<PortPlan> {
    let mut claims = Claims::read_only(source.claims_dir());
    Choice {
        source,
        pipeline,
        used,
        claims: &mut claims,
    }
    .plan(wanted)
}

fn save(source: &Source, chosen: &[Chosen]) -> Result<()> {
    let header = format!(
        "# Written by `caravan up`: host ports of the project {}, because the default ports \
         were in use.\n\
         # Remove a line, and `caravan up` chooses again.\n",
        source.project()
    );
    let lines: String = chosen
        .iter()
        .map(|c| format!("{}={}\n", c.variable, c.number))
        .collect();
    file::append(source.ports_path(), &header, &lines)?;
    let chosen = chosen.iter();
    let values = chosen.map(|c| (c.variable.clone(), c.number.to_string()));
    source.set_in_ports_file(&values.collect());
    Ok(())
}

struct Choice<'a> {
    source: &'a Source,
    pipeline: &'a Pipeline,
    used: &'a UsedPorts,
    claims: &'a mut Claims,
}

impl Choice<'_> {
    fn choose(self, wanted: &[String]) -> Result<Vec<Chosen>> {
        self.plan(wanted)?.into_chosen()
    }

    fn plan(mut self, wanted: &[String]) -> Result<PortPlan> {
        // Claim fixed ports, so that other projects do not choose them. Whether a fixed port is free
        // shows when its service starts.
        let fixed: Vec<u16> = self.fixed().collect();
        for number in fixed {
            self.claims.claim(number)?;
        }
        let mut by_variable: BTreeMap<&str, Vec<&VariablePort>> = BTreeMap::new();
        for port in &self.pipeline.variable_ports {
            by_variable.entry(&port.variable).or_default().push(port);
        }
        // In declared order: of two variables with the same default, the first one gets the port.
        let mut assigned: BTreeMap<u16, &str> = BTreeMap::new();
        let (mut chosen, mut lost) = (Vec::new(), Vec::new());
        for first in &self.pipeline.variable_ports {
            let Some(ports) = by_variable.remove(first.variable.as_str()) else {
                continue;
            };
            if first.set == VariableSource::User
                || !ports.iter().any(|p| wanted.contains(&p.service))
            {
                continue;
            }
            let number = match self.holder(&ports, first.number, &assigned)? {
                None => first.number,
                Some(holder) if first.set == VariableSource::PortsFile => {
                    lost.push((first.variable.clone(), self.lost(first, &holder)));
                    continue;
                }
                Some(holder) => {
                    let number = self.next(&ports, &assigned)?;
                    chosen.push(Chosen {
                        variable: first.variable.clone(),
                        service: first.service.clone(),
                        number,
                        instead_of: first.number,
                        holder,
                    });
                    number
                }
            };
            assigned.insert(number, &first.service);
        }
        Ok(PortPlan { chosen, lost })
    }

    /// The first free port above a variable's default that no other port of this project has, not even as a
    /// default.
    fn next(&mut self, ports: &[&VariablePort], assigned: &BTreeMap<u16, &str>) -> Result<u16> {
        let first = ports[0];
        for number in first.number.saturating_add(1)..=u16::MAX {
            let ours = self.fixed().any(|n| n == number)
                || self
                    .pipeline
                    .variable_ports
                    .iter()
                    .any(|p| p.number == number);
            if !ours && self.holder(ports, number, assigned)?.is_none() {
                return Ok(number);
            }
        }
        let what = format!("there is no free port above {}", first.number);
        let hint = format!("set {} in {}", first.variable, self.path().display());
        Err(Error::new(Kind::NotRight, what).hint(hint))
    }

    /// What uses a port number already; None: `ports` can be published on it.
    fn holder(
        &mut self,
        ports: &[&VariablePort],
        number: u16,
        assigned: &BTreeMap<u16, &str>,
    ) -> Result<Option<String>> {
        if let Some(service) = assigned.get(&number) {
            return Ok(Some(format!("{service} of this project")));
        }
        let published = |port: &Port| host_ports::binding(&self.used.bindings, port, number);
        let project = self.source.project();
        let own = |p: &&PortBinding| {
            let services = ports.iter().map(|port| port.service.as_str());
            let mut services = services.filter_map(|name| self.pipeline.service(name));
            p.project.as_deref() == Some(project)
                && services.any(|service| is_container_of(&p.container, project, service))
        };
        let ports = ports.iter().map(|p| &p.port);
        if let Some(holder) = ports.clone().filter_map(published).find(|p| !own(p)) {
            return Ok(Some(named(holder)));
        }
        // Claim before binding: a project that has just released its claim may already use the port.
        if !self.claims.claim(number)? {
            return Ok(Some("another project that is starting".to_owned()));
        }
        let has_it = |port: &Port| published(port).is_some_and(|own| own.running);
        let bound = |port: &Port| !has_it(port) && is_bound(port, number);
        if self.used.local && ports.clone().any(bound) {
            return Ok(Some("a process of this host".to_owned()));
        }
        Ok(None)
    }

    /// Host ports that are literal, or that the user has set through a variable.
    fn fixed(&self) -> impl Iterator<Item = u16> {
        let variable = &self.pipeline.variable_ports;
        let set = variable.iter().filter(|p| p.set == VariableSource::User);
        let services = self.pipeline.services.iter();
        let ports = services.flat_map(|service| service.ports.iter().map(move |p| (service, p)));
        let literal = ports.filter(|(service, port)| {
            let is = |v: &VariablePort| v.service == service.name && v.port == **port;
            !variable.iter().any(is)
        });
        let literal = literal.filter_map(|(_, port)| port.host_port);
        literal.chain(set.map(|p| p.number))
    }

    /// The error for a saved port that something else now uses.
    fn lost(&self, port: &VariablePort, holder: &str) -> Error {
        let VariablePort {
            variable,
            service,
            number,
            ..
        } = port;
        let path = self.path().display().to_string();
        let up = self.source.invocation().command("up");
        Error::new(
            Kind::NotRight,
            format!("{service} cannot use port {number}: it is in use"),
        )
        .because(format!("{holder} has it"))
        .because(format!("{variable} in {path} says {number}"))
        .because("without that line another port is chosen")
        .hint(format!(
            "sed -i '/^{variable}=/d' {} && {up}",
            diagnostics::quote(&path)
        ))
    }

    fn path(&self) -> &Path {
        self.source.ports_path()
    }
}

fn named(holder: &PortBinding) -> String {
    match &holder.project {
        Some(project) => format!("{} of the project {project}", holder.container),
        None => format!("the container {}", holder.container),
    }
}

/// Whether this is the name of a container of the service: its `container_name`, or PROJECT-SERVICE with or
/// without a replica number.
fn is_container_of(container: &str, project: &str, service: &Service) -> bool {
    if service.container_name.is_some() {
        return service.container_name.as_deref() == Some(container);
    }
    let replica = container.strip_prefix(&format!("{project}-{}", service.name));
    replica.is_some_and(|rest| {
        let number = rest.strip_prefix('-').unwrap_or_default();
        rest.is_empty() || number.parse::<u32>().is_ok()
    })
}

/// Whether something listens on the address that Docker would bind. False if the bind fails for another
/// reason (a privileged port, an address of another host): Docker reports that itself.
fn is_bound(port: &Port, number: u16) -> bool {
    host_ports::try_bind(port, number).is_err_and(|e| e.kind() == ErrorKind::AddrInUse)
}

/// Ports that this process has claimed, so that concurrent `up` commands of one user choose different
/// ports. A claim is a locked file: it is released when it is dropped, or by the kernel when the process ends.
#[derive(Debug)]
pub(crate) struct Claims {
    directory: PathBuf,
    held: BTreeMap<u16, File>,
    /// Only reads the claims of other processes.
    read_only: bool,
}

impl Claims {
    fn new(directory: &Path) -> Result<Self> {
        file::make_directory(directory)?;
        Ok(Self {
            directory: directory.to_path_buf(),
            held: BTreeMap::new(),
            read_only: false,
        })
    }

    /// Claims nothing, and only reads the claims of other processes.
    fn read_only(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
            held: BTreeMap::new(),
            read_only: true,
        }
    }

    /// Claims a port. False: another process has claimed it.
    fn claim(&mut self, number: u16) -> Result<bool> {
        if self.held.contains_key(&number) {
            return Ok(true);
        }
        let path = self.directory.join(number.to_string());
        let failed = |error: std::io::Error| {
            let what = format!("cannot claim a port with {}", path.display());
            Error::new(Kind::Unreachable, what).because(error.to_string())
        };
        // The file is not deleted: otherwise two processes could each lock a file of this name.
        let file = File::options()
            .write(true)
            .create(!self.read_only)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let file = match file {
            Err(e) if self.read_only && e.kind() == ErrorKind::NotFound => return Ok(true),
            file => file.map_err(failed)?,
        };
        match file.try_lock() {
            Ok(()) => {
                if !self.read_only {
                    self.held.insert(number, file);
                }
                Ok(true)
            }
            Err(std::fs::TryLockError::WouldBlock) => Ok(false),
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests;
