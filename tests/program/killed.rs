//! A command that is killed at any moment is repaired by the next one. The moments are drawn; the seed is printed
//! with a failure. `CARAVAN_SEED` repeats a run, `CARAVAN_KILLS` sets how many commands are killed.

use std::{
    collections::BTreeSet,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::support::{Ran, pipeline::Pipeline};

/// As many as take half a minute. `CARAVAN_KILLS=200` is the long run.
const KILLS: u64 = 8;

const DECLARATION: &str = "
x-caravan: {}
x-idle: &idle
  image: caravan.local/redis:7
  entrypoint: [sleep, '600']
  stop_grace_period: 0s
  x-caravan: {image-from: redis}
services:
  base: {<<: *idle, volumes: ['data:/data', '/own']}
  worker: {<<: *idle, depends_on: {base: {condition: service_started, restart: true}}}
volumes: {data: {}}
";

/// Marsaglia's xorshift, which a seed repeats.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self(variable("CARAVAN_SEED").unwrap_or(now.as_micros() as u64) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// How many commands are killed.
pub(crate) fn kills() -> u64 {
    variable("CARAVAN_KILLS").unwrap_or(KILLS)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// What belongs to somebody else, with a name that begins like the project's.
struct Neighbour<'a>(&'a Pipeline);

impl<'a> Neighbour<'a> {
    fn settle(pipeline: &'a Pipeline) -> Self {
        let neighbour = Self(pipeline);
        let name = neighbour.name();
        let label = format!("com.docker.compose.project={name}");
        pipeline.docker(&["network", "create", "--label", &label, &name]);
        pipeline.docker(&["volume", "create", "--label", &label, &name]);
        let run = ["run", "-d", "--name", &name, "--network", &name, "-v"];
        let mount = format!("{name}:/data");
        let command = ["--entrypoint", "sleep", "caravan.local/redis:7", "600"];
        pipeline.docker(&[&run[..], &[&mount, "--label", &label], &command].concat());
        neighbour
    }

    fn name(&self) -> String {
        format!("{}-next", self.0.project)
    }

    /// Its container's id and start, its network's id and its volume.
    fn identity(&self) -> String {
        let name = self.name();
        let container = ["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &name];
        let network = ["network", "inspect", "-f", "{{.Id}}", &name];
        let volume = ["volume", "inspect", "-f", "{{.CreatedAt}}", &name];
        [&container[..], &network, &volume]
            .map(|args| self.0.docker(args))
            .concat()
    }
}

impl Drop for Neighbour<'_> {
    fn drop(&mut self) {
        let name = self.name();
        for remove in [
            &["rm", "-fv", &name][..],
            &["network", "rm", &name],
            &["volume", "rm", &name],
        ] {
            drop(std::process::Command::new("docker").args(remove).output());
        }
    }
}

/// The volumes without a name, which `down` leaves as Compose does: each container gets one of its own.
struct Unnamed<'a> {
    pipeline: &'a Pipeline,
    seen: BTreeSet<String>,
}

impl Unnamed<'_> {
    /// Adds those of the containers that exist.
    fn look(&mut self) {
        for container in objects(self.pipeline, &["ps", "-aq"]) {
            let mounts = "{{range .Mounts}}{{println .Name}}{{end}}";
            let inspect = ["inspect", "-f", mounts, &container];
            // The engine may still be removing it.
            let output = std::process::Command::new("docker").args(inspect).output();
            let named = format!("{}_data", self.pipeline.project);
            let names = String::from_utf8(output.unwrap().stdout).unwrap();
            let names = names
                .lines()
                .filter(|name| !name.is_empty() && *name != named);
            self.seen.extend(names.map(str::to_owned));
        }
    }
}

impl Drop for Unnamed<'_> {
    /// Those of containers that still exist are removed with them.
    fn drop(&mut self) {
        let mut remove = std::process::Command::new("docker");
        drop(remove.args(["volume", "rm"]).args(&self.seen).output());
    }
}

/// Runs a command and kills it after a time; its exit code, if it ended before.
fn killed_after(pipeline: &Pipeline, args: &[&str], time: Duration) -> Option<i32> {
    let mut command = pipeline.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap().code()
}

fn objects(pipeline: &Pipeline, list: &[&str]) -> Vec<String> {
    let label = format!("label=com.docker.compose.project={}", pipeline.project);
    let listed = pipeline.docker(&[list, &["--filter", &label]].concat());
    listed.lines().map(str::to_owned).collect()
}

/// `up` repairs what is left: each container runs, there is one network and the one volume.
fn up_repairs(pipeline: &Pipeline) {
    pipeline.caravan(&["up", "--timeout", "60s"]).expect(0);
    let all = objects(pipeline, &["ps", "-aq"]);
    let running = objects(pipeline, &["ps", "-q"]);
    assert!((2..=4).contains(&all.len()), "{all:?}");
    assert_eq!(all, running);
    assert_eq!(objects(pipeline, &["network", "ls", "-q"]).len(), 1);
    assert_eq!(objects(pipeline, &["volume", "ls", "-q"]).len(), 1);
    let again = pipeline.caravan(&["up"]).expect(0);
    assert!(!again.stdout.contains("created"), "{}", again.stdout);
}

/// `down` removes what is left, except the data. The engine may still execute the last request of the killed
/// command; `down` then has to be repeated.
fn down_repairs(pipeline: &Pipeline) {
    crate::support::eventually("nothing is left", || {
        pipeline.caravan(&["down"]).expect(0);
        let containers = objects(pipeline, &["ps", "-aq"]);
        let networks = objects(pipeline, &["network", "ls", "-q"]);
        (containers.is_empty() && networks.is_empty()).then_some(())
    });
    let volumes = objects(pipeline, &["volume", "ls", "-q"]);
    assert_eq!(volumes.len(), 1, "the data are lost");
}

#[test]
fn a_command_that_is_killed_is_repaired_by_the_next_one() {
    let pipeline = Pipeline::declared("killed", &[]);
    pipeline.write("compose.yaml", DECLARATION);
    pipeline.with_images(&["up"]);
    let neighbour = Neighbour::settle(&pipeline);
    let mut unnamed = Unnamed {
        pipeline: &pipeline,
        seen: BTreeSet::new(),
    };
    let before = neighbour.identity();
    let mut chance = Chance::new();
    let seed = chance.0;
    for round in 0..kills() {
        unnamed.look();
        let replicas = format!("worker={}", 1 + chance.below(3));
        // Each with the milliseconds that it takes.
        let commands: [(&[&str], u64); 6] = [
            (&["up"], 1500),
            (&["up", "--remove-orphans", "worker"], 1500),
            (&["down"], 600),
            (&["restart"], 1800),
            (&["scale", &replicas], 1800),
            (&["images", "save", "images.tar"], 400),
        ];
        let (args, takes) = commands[chance.below(6) as usize];
        // `up` creates everything, or recreates it.
        let recreates = args == ["up"] && chance.below(2) == 0;
        if recreates {
            let change = format!("entrypoint: [sleep, '60{}']", round % 10);
            let declaration = DECLARATION.replace("entrypoint: [sleep, '600']", &change);
            pipeline.write("compose.yaml", &declaration);
            let base = pipeline.container("base");
            pipeline.docker(&["exec", &base, "touch", "/own/mark"]);
        } else if args == ["up"] {
            pipeline.caravan(&["down"]).expect(0);
        }
        let time = Duration::from_millis(chance.below(takes));
        eprintln!("seed {seed}, round {round}: {args:?} is killed after {time:?}");
        killed_after(&pipeline, args, time);
        unnamed.look();
        match chance.below(3) {
            _ if recreates => {
                up_repairs(&pipeline);
                let base = pipeline.container("base");
                // The volume that only the container has.
                pipeline.docker(&["exec", &base, "ls", "/own/mark"]);
            }
            0 => {
                down_repairs(&pipeline);
                up_repairs(&pipeline);
            }
            _ => up_repairs(&pipeline),
        }
        if args[0] == "images" {
            pipeline.caravan(args).expect(0);
            let files = std::fs::read_dir(pipeline.directory()).unwrap();
            let names = files.map(|file| file.unwrap().file_name());
            let parts = names.filter(|name| name.to_string_lossy().contains("images.tar"));
            assert_eq!(parts.count(), 1, "only the complete file");
        }
        assert_eq!(neighbour.identity(), before, "seed {seed}, round {round}");
    }
}

/// The rows that a killed `test-flow` leaves are found and removed by `test-flow --collect`.
#[tokio::test]
async fn a_test_flow_that_is_killed_is_collected() {
    let pipeline = &crate::bring_up::brought_up();
    let database = pipeline.database().await;
    let rows = async || {
        let count = "SELECT count(*) FROM payments WHERE synthetic";
        crate::support::payments::count(&database, count).await
    };
    let mut flow = pipeline
        .command(&["test-flow", "--count", "5000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    crate::support::eventually_async("payments", async || (rows().await > 20).then_some(())).await;
    flow.kill().unwrap();
    flow.wait().unwrap();
    assert!(rows().await > 20);
    let collect = ["test-flow", "--collect=0s", "--timeout", "60s"];
    let Ran { stderr, .. } = pipeline.caravan(&collect).expect(0);
    assert_eq!(rows().await, 0, "{stderr}");
    pipeline.expect_green();
}
