//! Whether a container resolves names: services connect to each other by name.

use std::time::Instant;

use super::{CheckId, Finding, PendingFinding, failed};
use diagnostics::{Invocation, Result};
use platform::HostInfo;

pub(super) const ID: CheckId = CheckId::of_layer("network", "dns");

pub(super) fn judge(
    began: Instant,
    host_info: &Result<HostInfo>,
    invocation: &Invocation,
) -> Finding {
    let check = PendingFinding::new(began, ID, "a container resolves a name");
    match host_info {
        Err(e) if e.hint.is_some() => failed(check, e),
        Err(e) => failed(check, e).hint(invocation.docker("info")),
        Ok(host_info) => match &host_info.resolved {
            Ok(found) if !found.is_empty() => check.pass(
                found
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
            Ok(_) => firewall(check.fail("no address")),
            Err(why) => firewall(check.fail(why.clone())),
        },
    }
}

/// Adds the likely cause: rules of the host's firewall lead to Docker's DNS server. Restarting Docker would
/// restore the rules but stop every container of the host, so the hint does not propose it.
fn firewall(finding: Finding) -> Finding {
    finding
        .evidence([
            "Docker's DNS needs firewall rules, which a restart or flush of the firewall removes"
                .to_owned(),
            "a restart of Docker writes them again, and stops every container of this machine"
                .to_owned(),
        ])
        .hint("sudo iptables -t nat -S DOCKER, to see whether Docker's rules are there")
}
