//! `deploy`: replicas, limits and the restart policy. The other keys have an effect only in Swarm.

use std::num::ParseIntError;

use super::notes::Notes;
use crate::{
    DeviceRequest, MAX_REPLICAS, Restart,
    problem::Problem,
    units,
    yaml::{Fields, View},
};

/// The values of `deploy`. The service's own keys may set the same values.
#[derive(Default)]
pub(super) struct Deploy {
    replicas: Option<u32>,
    restart: Option<Restart>,
    nano_cpus: Option<i64>,
    memory: Option<i64>,
    pids: Option<i64>,
    mem_reservation: Option<i64>,
    pub(super) devices: Vec<DeviceRequest>,
}

/// Keys that only Swarm uses; Compose ignores them, too.
const SWARM: [&str; 5] = [
    "endpoint_mode",
    "labels",
    "placement",
    "rollback_config",
    "update_config",
];

impl Deploy {
    pub(super) fn read(view: &View<'_>, notes: &mut Notes) -> Result<Self, Problem> {
        let mut fields = view.fields()?;
        let mut deploy = Self {
            replicas: fields.read("replicas", replicas)?,
            restart: fields.read("restart_policy", |v| restart(v, notes))?,
            ..Self::default()
        };
        if let Some(resources) = fields.take("resources") {
            deploy.resources(&resources, notes)?;
        }
        fields.read("mode", |v| v.word(&[("replicated", ())]))?;
        notes.swarm(view, &mut fields, &SWARM);
        fields.finish_compose(&[])?;
        Ok(deploy)
    }

    fn resources(&mut self, view: &View<'_>, notes: &mut Notes) -> Result<(), Problem> {
        let mut fields = view.fields()?;
        if let Some(limits) = fields.take("limits") {
            let mut fields = limits.fields()?;
            self.nano_cpus = fields.read("cpus", nano_cpus)?;
            self.memory = fields.read("memory", View::bytes)?;
            self.pids = fields.read("pids", |v| v.number("a number of processes"))?;
            fields.finish_compose(&["devices", "generic_resources"])?;
        }
        if let Some(reservations) = fields.take("reservations") {
            let mut fields = reservations.fields()?;
            self.mem_reservation = fields.read("memory", View::bytes)?;
            self.devices = fields.read_or_default("devices", super::runtime::requests)?;
            if let Some(cpus) = fields.take("cpus") {
                notes.no_effect(&cpus, "Docker reserves no cores");
            }
            fields.finish_compose(&["generic_resources"])?;
        }
        fields.finish_compose(&[])
    }

    pub(super) fn replicas(&self, fields: &mut Fields<'_>) -> Result<u32, Problem> {
        let number = agreed(fields, "scale", "replicas", replicas, self.replicas)?;
        Ok(number.unwrap_or(1))
    }

    pub(super) fn restart(&self, fields: &mut Fields<'_>) -> Result<Restart, Problem> {
        let own = fields.read_set("restart", super::lifecycle::restart)?;
        Ok(own.or(self.restart).unwrap_or(Restart::No))
    }

    pub(super) fn nano_cpus(&self, fields: &mut Fields<'_>) -> Result<Option<i64>, Problem> {
        let says = "resources.limits.cpus";
        agreed(fields, "cpus", says, nano_cpus, self.nano_cpus)
    }

    pub(super) fn mem_limit(&self, fields: &mut Fields<'_>) -> Result<Option<i64>, Problem> {
        let says = "resources.limits.memory";
        agreed(fields, "mem_limit", says, View::bytes, self.memory)
    }

    pub(super) fn mem_reservation(&self, fields: &mut Fields<'_>) -> Result<Option<i64>, Problem> {
        let (key, says) = ("mem_reservation", "resources.reservations.memory");
        agreed(fields, key, says, View::bytes, self.mem_reservation)
    }

    pub(super) fn pids_limit(&self, fields: &mut Fields<'_>) -> Result<Option<i64>, Problem> {
        let (key, says) = ("pids_limit", "resources.limits.pids");
        let number = |v: &View<'_>| v.number("a number of processes");
        agreed(fields, key, says, number, self.pids)
    }
}

/// The value of the service's own key, or else of `deploy`. If both are set, they must be equal.
fn agreed<'a, T: Copy + PartialEq>(
    fields: &mut Fields<'a>,
    key: &'static str,
    deploys_key: &str,
    read: impl FnOnce(&View<'a>) -> Result<T, Problem>,
    deployed: Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(view) = fields.take_set(key) else {
        return Ok(deployed);
    };
    let own = read(&view)?;
    match deployed {
        Some(deployed) if deployed != own => {
            Err(view.problem(format!("`deploy.{deploys_key}` has a different value")))
        }
        Some(_) | None => Ok(Some(own)),
    }
}

fn replicas(view: &View<'_>) -> Result<u32, Problem> {
    view.parse("a number of replicas", |text| {
        let number: u32 = text
            .trim()
            .parse()
            .map_err(|e: ParseIntError| e.to_string())?;
        match number > MAX_REPLICAS {
            true => Err(format!("at most {MAX_REPLICAS}")),
            false => Ok(number),
        }
    })
}

/// `0.5` cores, in billionths.
fn nano_cpus(view: &View<'_>) -> Result<i64, Problem> {
    view.parse("a number of cores such as 0.5", units::nano_cpus)
}

/// Swarm's restart policy, as Compose maps it to Docker's.
fn restart(view: &View<'_>, notes: &mut Notes) -> Result<Restart, Problem> {
    let mut fields = view.fields()?;
    let attempts = fields.read("max_attempts", |v| v.number("a number of attempts"))?;
    let condition = fields.read("condition", |v| {
        v.word(&[
            ("any", Restart::Always),
            ("none", Restart::No),
            ("on-failure", Restart::OnFailure(attempts)),
        ])
    })?;
    notes.swarm(view, &mut fields, &["delay", "window"]);
    fields.finish_compose(&[])?;
    Ok(condition.unwrap_or(Restart::Always))
}
