use std::{collections::BTreeMap, time::Duration};

use super::{Verdict, up};
use crate::{
    context::Context,
    flags::{LockArgs, OutputArgs},
    state,
};
use declaration::{MAX_REPLICAS, Pipeline, Service};
use diagnostics::{Error, Kind, Result, quote};
use platform::{Container, Goal};

/// Change the number of replicas of services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A service, and its number of replicas
    #[arg(value_name = "SERVICE=N", required = true, value_parser = parse)]
    wanted: Vec<(String, u32)>,
    /// Show what would be done and why, without doing it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    lock: LockArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Time until all are ready
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5m",
        env = "CARAVAN_TIMEOUT"
    )]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl Args {
    /// The command line, as far as a hint repeats it.
    pub(crate) fn line(&self) -> String {
        let wanted = self.wanted.iter();
        let wanted = wanted.map(|(name, number)| format!(" {}={number}", quote(name)));
        format!("scale{}", wanted.collect::<String>())
    }
}

fn parse(given: &str) -> Result<(String, u32), String> {
    let (name, number) = given
        .split_once('=')
        .ok_or("a service, `=` and a number, such as worker=3")?;
    let number = number.parse().map_err(|_| "no number after the `=`")?;
    if number > MAX_REPLICAS {
        return Err(format!("at most {MAX_REPLICAS}"));
    }
    Ok((name.to_owned(), number))
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let source = context.source()?;
    let platform = context.platform().await?;
    let platform = platform.as_ref();
    up::refuse::other_secrets(context, platform, source, &args.line()).await?;
    let pipeline = context.pipeline()?;
    let containers = platform.containers(&pipeline.project).await?;
    let mut scale = BTreeMap::new();
    for (name, number) in &args.wanted {
        let service = declaration::find_service(&pipeline, name)?;
        check(context, &containers, &pipeline, service, *number)?;
        scale.insert(service.name.clone(), *number);
    }
    for (name, number) in &scale {
        if let Some(warning) = idle(&pipeline, name, *number) {
            context.console.warn(&warning);
        }
    }
    let goal = Goal {
        pipeline: &pipeline,
        named: &[],
        scale,
        remove_orphans: false,
        recreate: false,
    };
    if args.dry_run {
        return up::preview(context, platform, &goal, &[], args.output.output).await;
    }
    let lock = state::lock(source, args.lock.wait_lock).await?;
    state::write_files(source, &pipeline)?;
    let report = up::bring_about(context, platform, &goal, args.timeout).await;
    drop(lock);
    up::summarise(context, &report?, args.output.output);
    Ok(Verdict::Right)
}

/// # Errors
/// The service does not exist, or cannot have that many replicas.
fn check(
    context: &Context,
    containers: &[Container],
    pipeline: &Pipeline,
    service: &Service,
    number: u32,
) -> Result<()> {
    let name = &service.name;
    let refuse = |why: String| Err(Error::new(Kind::Usage, why));
    if service.is_one_shot(pipeline) {
        return refuse(format!("{name} runs once: there is nothing to scale"));
    }
    if let Some(port) = service.ports.iter().find_map(|p| p.host_port)
        && number > 1
    {
        return refuse(format!(
            "{name} publishes the host's port {port}, which only one replica can have"
        ));
    }
    if !containers.iter().any(|c| c.service == *name) {
        let error = Error::new(Kind::NotRight, format!("{name} is not deployed"));
        return Err(error.hint(context.invocation.command(&format!("up {name}"))));
    }
    Ok(())
}

/// A warning if there are more replicas than partitions.
fn idle(pipeline: &Pipeline, name: &str, number: u32) -> Option<String> {
    let service = pipeline.service(name)?;
    service.group.as_ref()?;
    let topics = service.consumes.iter().filter_map(|t| pipeline.topic(t));
    let partitions: u32 = topics.map(|t| t.partitions.unsigned_abs()).sum();
    let idle = number.checked_sub(partitions).filter(|n| *n > 0)?;
    Some(format!(
        "{name} consumes {partitions} partitions: {idle} of {number} replicas will have nothing \
         to do"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use declaration::testing::shipped;

    #[test]
    fn a_service_and_a_number() {
        assert_eq!(parse("worker=3"), Ok(("worker".to_owned(), 3)));
        assert_eq!(parse("worker=0"), Ok(("worker".to_owned(), 0)));
        for wrong in [
            "worker",
            "worker=",
            "worker=-1",
            "worker=many",
            "worker=1001",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn more_replicas_than_partitions_is_worth_a_word() {
        let pipeline = shipped();
        assert_eq!(idle(&pipeline, "allocation-worker", 3), None);
        assert_eq!(
            idle(&pipeline, "allocation-worker", 5).as_deref(),
            Some(
                "allocation-worker consumes 3 partitions: 2 of 5 replicas will have nothing to do"
            )
        );
        assert_eq!(idle(&pipeline, "admin-service", 5), None);
    }
}
