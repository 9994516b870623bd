//! The host ports that `up` chooses (docs/decisions/0020): where a variable that decides one is set
//! nowhere and its default is somebody else's, the next free port, once, into the project's own
//! file of variables.

use std::{
    collections::BTreeMap,
    fs::File,
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::file;
use declaration::{HostPorts, Port, PortBinding, Source, VariablePort, VariableSource};
use diagnostics::{Error, Kind, Result};
use platform::host_ports;

/// A port that was chosen in a default's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) variable: String,
    pub(crate) service: String,
    pub(crate) number: u16,
    /// The default, and who has it.
    pub(crate) instead_of: u16,
    pub(crate) holder: String,
}

/// What `up` would do now about the ports that variables decide.
pub(crate) struct Foreseen {
    pub(crate) chosen: Vec<Chosen>,
    /// Variables, and why `up` would fail: their port was chosen before and is somebody else's now.
    pub(crate) lost: Vec<(String, Error)>,
}

impl Foreseen {
    /// # Errors
    /// A port that was chosen before is somebody else's now.
    fn or_lost(self) -> Result<Vec<Chosen>> {
        match self.lost.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(self.chosen),
        }
    }
}

/// What of the host can be asked.
pub(crate) struct Host<'a> {
    /// By the engine's containers.
    pub(crate) published: &'a [PortBinding],
    /// Whether the engine runs here, so that trying a port tells whether it is free.
    pub(crate) local: bool,
}

/// Chooses a port for each of the `wanted` services' ports that is Caravan's to choose and not to
/// be had, and keeps it in [`Source::ports_path`]. What is returned besides has to be held until
/// the ports are in use: it keeps other projects' `up` from choosing them.
///
/// # Errors
/// A port that was chosen before is somebody else's now; the file cannot be written.
pub(crate) fn choose_ports(
    source: &Source,
    ports: &HostPorts,
    wanted: &[String],
    host: &Host<'_>,
) -> Result<(Vec<Chosen>, Claims)> {
    let mut claims = Claims::new(source.claims_dir())?;
    let chosen = Choice {
        source,
        ports,
        host,
        claims: &mut claims,
    }
    .choose(wanted)?;
    if !chosen.is_empty() {
        keep(source, &chosen)?;
    }
    Ok((chosen, claims))
}

/// What [`choose_ports`] would choose now; nothing is claimed, and nothing written.
///
/// # Errors
/// A port that was chosen before is somebody else's now.
pub(crate) fn foresee_ports(
    source: &Source,
    ports: &HostPorts,
    wanted: &[String],
    host: &Host<'_>,
) -> Result<Vec<Chosen>> {
    examine_ports(source, ports, wanted, host)?.or_lost()
}

/// As [`foresee_ports`], with every port that is lost.
///
/// # Errors
/// No port is free, or what other projects have claimed cannot be seen.
pub(crate) fn examine_ports(
    source: &Source,
    ports: &HostPorts,
    wanted: &[String],
    host: &Host<'_>,
) -> Result<Foreseen> {
    let mut claims = Claims::none(source.claims_dir());
    Choice {
        source,
        ports,
        host,
        claims: &mut claims,
    }
    .foresee(wanted)
}

fn keep(source: &Source, chosen: &[Chosen]) -> Result<()> {
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
    source.reload().map(drop)
}

struct Choice<'a> {
    source: &'a Source,
    ports: &'a HostPorts,
    host: &'a Host<'a>,
    claims: &'a mut Claims,
}

impl Choice<'_> {
    fn choose(self, wanted: &[String]) -> Result<Vec<Chosen>> {
        self.foresee(wanted)?.or_lost()
    }

    fn foresee(mut self, wanted: &[String]) -> Result<Foreseen> {
        // What others cannot choose, because it is written or set; whether it is free shows when
        // its service starts.
        let fixed: Vec<u16> = self.fixed().collect();
        for number in fixed {
            self.claims.take(number)?;
        }
        let mut by_variable: BTreeMap<&str, Vec<&VariablePort>> = BTreeMap::new();
        for port in &self.ports.variable {
            by_variable.entry(&port.variable).or_default().push(port);
        }
        // In the declaration's order, so that of two with one default the first one has it.
        let mut given: BTreeMap<u16, &str> = BTreeMap::new();
        let (mut chosen, mut lost) = (Vec::new(), Vec::new());
        for first in &self.ports.variable {
            let Some(ports) = by_variable.remove(first.variable.as_str()) else {
                continue;
            };
            if first.set == VariableSource::User
                || !ports.iter().any(|p| wanted.contains(&p.service))
            {
                continue;
            }
            let number = match self.holder(&ports, first.number, &given)? {
                None => first.number,
                Some(holder) if first.set == VariableSource::PortsFile => {
                    lost.push((first.variable.clone(), self.lost(first, &holder)));
                    continue;
                }
                Some(holder) => {
                    let number = self.next(&ports, &given)?;
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
            given.insert(number, &first.service);
        }
        Ok(Foreseen { chosen, lost })
    }

    /// The first free port after a variable's default; no other service's, by default or not.
    fn next(&mut self, ports: &[&VariablePort], given: &BTreeMap<u16, &str>) -> Result<u16> {
        let first = ports[0];
        for number in first.number.saturating_add(1)..=u16::MAX {
            let ours = self.fixed().any(|n| n == number)
                || self.ports.variable.iter().any(|p| p.number == number);
            if !ours && self.holder(ports, number, given)?.is_none() {
                return Ok(number);
            }
        }
        let what = format!("there is no free port above {}", first.number);
        let hint = format!("set {} in {}", first.variable, self.path().display());
        Err(Error::new(Kind::NotRight, what).hint(hint))
    }

    /// Who else has a port, if these cannot have it.
    fn holder(
        &mut self,
        ports: &[&VariablePort],
        number: u16,
        given: &BTreeMap<u16, &str>,
    ) -> Result<Option<String>> {
        if let Some(service) = given.get(&number) {
            return Ok(Some(format!("{service} of this project")));
        }
        let published = |port: &Port| host_ports::binding(self.host.published, port, number);
        let ours = |p: &&PortBinding| p.project.as_deref() == Some(self.source.project());
        let ports = ports.iter().map(|p| &p.port);
        if let Some(holder) = ports.clone().filter_map(published).find(|p| !ours(p)) {
            return Ok(Some(named(holder)));
        }
        // Claimed before it is tried: whoever claimed it until now may have it in use by now.
        if !self.claims.take(number)? {
            return Ok(Some("another project that is starting".to_owned()));
        }
        let bound = |port: &Port| published(port).is_none() && is_bound(port, number);
        if self.host.local && ports.clone().any(bound) {
            return Ok(Some("a process of this host".to_owned()));
        }
        Ok(None)
    }

    /// Host ports that no variable decides, or that a variable does which the user has set.
    fn fixed(&self) -> impl Iterator<Item = u16> {
        let variable = &self.ports.variable;
        let set = variable.iter().filter(|p| p.set == VariableSource::User);
        let services = self.ports.marked.services.iter();
        let literal = services
            .flat_map(|service| &service.ports)
            .filter(|port| !variable.iter().any(|v| v.port == **port))
            .filter_map(|port| port.host_port);
        literal.chain(set.map(|p| p.number))
    }

    /// A port that was chosen once and is somebody else's now.
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

/// Whether something listens where the port would be published. Where that cannot be tried (a port
/// of the privileged, an address of another host) Docker will say.
fn is_bound(port: &Port, number: u16) -> bool {
    host_ports::try_bind(port, number).is_err_and(|e| e.kind() == ErrorKind::AddrInUse)
}

/// Ports that this process has claimed among all projects of this user that are coming up, a locked
/// file each. A process that ends, however it does, claims nothing any more.
#[derive(Debug)]
pub(crate) struct Claims {
    directory: PathBuf,
    held: BTreeMap<u16, File>,
    /// Whether a port is only looked at.
    looking: bool,
}

impl Claims {
    fn new(directory: &Path) -> Result<Self> {
        file::make_directory(directory)?;
        Ok(Self {
            directory: directory.to_path_buf(),
            held: BTreeMap::new(),
            looking: false,
        })
    }

    /// Those of a process that claims nothing, and only sees what others have claimed.
    fn none(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
            held: BTreeMap::new(),
            looking: true,
        }
    }

    /// Whether the port is this process' now.
    fn take(&mut self, number: u16) -> Result<bool> {
        if self.held.contains_key(&number) {
            return Ok(true);
        }
        let path = self.directory.join(number.to_string());
        let failed = |error: std::io::Error| {
            let what = format!("cannot claim a port with {}", path.display());
            Error::new(Kind::Unreachable, what).because(error.to_string())
        };
        // The file stays: removing it would let two processes lock two files of one name.
        let file = File::options()
            .write(true)
            .create(!self.looking)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let file = match file {
            Err(e) if self.looking && e.kind() == ErrorKind::NotFound => return Ok(true),
            file => file.map_err(failed)?,
        };
        match file.try_lock() {
            Ok(()) => {
                if !self.looking {
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
