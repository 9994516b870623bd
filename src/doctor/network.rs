//! Names resolve inside containers: that is how services find each other.

use std::time::Instant;

use super::{CheckId, Finding, PendingFinding, failed};
use diagnostics::{Invocation, Result};
use platform::HostInfo;

pub(super) const ID: CheckId = CheckId::of_layer("network", "dns");

pub(super) fn judge(began: Instant, inside: &Result<HostInfo>, invocation: &Invocation) -> Finding {
    let check = PendingFinding::new(began, ID, "a container resolves a name");
    match inside {
        Err(e) if e.hint.is_some() => failed(check, e),
        Err(e) => failed(check, e).hint(invocation.docker("info")),
        Ok(inside) => match &inside.resolved {
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

/// Docker's DNS is reached by rules of the host's firewall. A restart of Docker writes them anew,
/// but ends every container of the machine: that is not proposed.
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
