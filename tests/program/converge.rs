//! `up` changes what differs and nothing else, and says before what it would do.

use std::{collections::BTreeMap, fs, net::TcpListener};

use crate::support::pipeline::Pipeline;

/// Services made of Caravan's own image, whose database is never there: they run, and wait.
fn declaration(services: &[(&str, &str)]) -> String {
    let service = |(name, more): &(&str, &str)| {
        format!(
            "  {name}:
    image: caravan.local/caravan
    command: [run, admin-service]
    x-caravan: {{image-from: self, startup: waiting for the database}}
{more}"
        )
    };
    let services: String = services.iter().map(service).collect();
    format!("services:\n{services}x-caravan: {{secrets: [PASSWORD]}}\n")
}

const WAITS: &str = "    environment:
      DATABASE_URL: postgres://me:${PASSWORD}@127.0.0.1:1/none
      API_TOKEN: ${PASSWORD}
";

struct Project(Pipeline);

impl Project {
    fn new(name: &str) -> Self {
        Self(Pipeline::declared(name, &[]))
    }

    fn declare(&self, services: &[(&str, &str)]) {
        let path = self.0.directory().join("compose.yaml");
        fs::write(path, declaration(services)).unwrap();
    }

    /// What a command prints, the project's name apart, and whether the image is there already.
    fn says(&self, args: &[&str]) -> String {
        let said = self.0.caravan(args).expect(0).stdout;
        let said = said.replace(&self.0.project, "PROJECT");
        let lines = said.lines().filter(|line| !line.starts_with("fetch"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Ids of the project's containers by name.
    fn containers(&self) -> BTreeMap<String, String> {
        let label = format!("label=com.docker.compose.project={}", self.0.project);
        let format = "{{.Names}} {{.ID}}";
        let listed = self
            .0
            .docker(&["ps", "-a", "--filter", &label, "--format", format]);
        let pair = |line: &str| {
            let (name, id) = line.split_once(' ').unwrap();
            (name.replace(&self.0.project, "PROJECT"), id.to_owned())
        };
        listed.lines().map(pair).collect()
    }
}

#[test]
fn what_differs_is_named_and_changed_and_the_rest_left_alone() {
    let project = Project::new("converge");
    let waits = WAITS.to_owned();
    let before = format!("{WAITS}    mem_limit: 64m\n");
    project.declare(&[("same", &waits), ("drifts", &before), ("goes", &waits)]);

    insta::assert_snapshot!("dry_run_new", project.says(&["up", "--dry-run"]));
    assert!(project.containers().is_empty(), "it was to do nothing");
    assert!(!project.0.directory().join(".env").exists());
    project.says(&["up"]);
    let first = project.containers();
    assert_eq!(first.len(), 3);

    let after = format!("{WAITS}      LOG_FORMAT: json\n    mem_limit: 128m\n    user: '1000'\n");
    project.declare(&[("same", &waits), ("drifts", &after), ("comes", &waits)]);
    let dry = project.says(&["up", "--dry-run", "--remove-orphans"]);
    insta::assert_snapshot!("dry_run_drift", dry);
    let env = project.0.directory().join(".env");
    let secret = fs::read_to_string(&env).unwrap();
    fs::write(&env, "PASSWORD=another\n").unwrap();
    let dry = project.says(&["up", "--dry-run", "same"]);
    insta::assert_snapshot!("dry_run_secret", dry);
    fs::write(&env, secret).unwrap();
    assert_eq!(project.containers(), first, "it was to do nothing");

    project.says(&["up", "--remove-orphans"]);
    let second = project.containers();
    let names: Vec<_> = second.keys().map(String::as_str).collect();
    assert_eq!(names, ["PROJECT-comes", "PROJECT-drifts", "PROJECT-same"]);
    assert_eq!(second["PROJECT-same"], first["PROJECT-same"]);
    assert_ne!(second["PROJECT-drifts"], first["PROJECT-drifts"]);
    let all_kept = project.0.caravan(&["up", "--dry-run", "-o", "json"]);
    let plan = all_kept.expect(0).json();
    let steps = plan["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 3);
    assert!(steps.iter().all(|s| s["action"] == "keep"), "{plan}");
}

#[test]
fn what_follows_and_which_ports_would_be_had_is_foreseen() {
    let project = Project::new("foreseen");
    let follows =
        format!("{WAITS}    depends_on: {{base: {{condition: service_started, restart: true}}}}\n");
    project.declare(&[("base", WAITS), ("follows", &follows)]);
    project.says(&["up"]);

    // This test's own process has both ports.
    let [chosen, fixed] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [chosen, fixed] = [&chosen, &fixed].map(|l| l.local_addr().unwrap().port());
    let base = format!("{WAITS}      LOG_FORMAT: json\n");
    let web = format!(
        "{WAITS}    ports: ['127.0.0.1:${{WEB_PORT:-{chosen}}}:8080', '127.0.0.1:{fixed}:8081']\n"
    );
    project.declare(&[("base", &base), ("follows", &follows), ("web", &web)]);
    let json = project
        .0
        .caravan(&["up", "--dry-run", "-o", "json"])
        .expect(0);
    let plan = json.json();
    let port = plan["ports"][0]["port"].as_u64().unwrap();
    assert_eq!(plan["ports"][0]["insteadOf"], chosen);
    assert!(port > u64::from(chosen), "{plan}");
    assert_eq!(plan["taken"][0]["port"], fixed);
    let comm = fs::read_to_string("/proc/self/comm").unwrap();
    let us = format!("{} (pid {})", comm.trim(), std::process::id());
    let dry = project.says(&["up", "--dry-run"]);
    let dry = dry
        .replace(&us, "TEST")
        .replace(&port.to_string(), "NEXT")
        .replace(&chosen.to_string(), "DEFAULT")
        .replace(&fixed.to_string(), "FIXED");
    insta::assert_snapshot!("dry_run_foreseen", dry);
    let kept = project
        .0
        .directory()
        .join(format!(".env.{}", project.0.project));
    assert!(!kept.exists(), "it was to do nothing");

    let up = project.says(&["up", "follows"]);
    for (service, outcome) in [("base", "recreated"), ("follows", "started")] {
        let mut lines = up.lines();
        let line = lines.find(|line| line.starts_with(service)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(outcome), "{up}");
    }
}

#[test]
fn scaled_replicas_stay_until_they_are_scaled_again() {
    let project = Project::new("scale");
    project.declare(&[("worker", WAITS)]);
    let early = project.0.caravan(&["scale", "worker=2"]).expect(1);
    assert!(early.stderr.contains("is not up"), "{}", early.stderr);
    project.says(&["up"]);
    let names = || project.containers().into_keys().collect::<Vec<_>>();
    project.says(&["scale", "worker=3"]);
    let three = ["PROJECT-worker", "PROJECT-worker-2", "PROJECT-worker-3"];
    assert_eq!(names(), three);
    // Neither forgotten by `up` nor taken for a surplus.
    project.says(&["up"]);
    assert_eq!(names(), three);
    project.says(&["scale", "worker=2"]);
    assert_eq!(names(), three[..2]);

    // Replicas are replaced one after the other: what breaks the first is not done to the second.
    let before = project.containers();
    let broken = format!("{WAITS}    entrypoint: [/caravan, run, nonsense]\n");
    project.declare(&[("worker", &broken)]);
    let ran = project.0.caravan(&["up"]).expect(1);
    assert!(ran.stderr.contains("exit code 2"), "{}", ran.stderr);
    let after = project.containers();
    assert_ne!(after[three[0]], before[three[0]]);
    assert_eq!(after[three[1]], before[three[1]]);
    let running = project.0.inspect("worker-2", "{{.State.Running}}");
    assert_eq!(running, "true");
}
