//! Names resolve inside containers: that is how services find each other.

use std::time::Instant;

use super::{Finding, PendingFinding, failed};
use diagnostics::{Invocation, Result};
use platform::Inside;

pub(super) const ID: &str = "network.dns";

pub(super) fn judge(began: Instant, inside: &Result<Inside>, invocation: &Invocation) -> Finding {
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
            Ok(_) => check.fail("no address").hint(RESTART),
            Err(why) => check.fail(why.clone()).hint(RESTART),
        },
    }
}

/// Docker's DNS is reached by rules of the host's firewall, which a restart of that one drops.
const RESTART: &str = "sudo systemctl restart docker";
