//! Ctrl-C, SIGTERM and SIGHUP: at a question, on a pseudo terminal, they mean no, at once; all three end a
//! command in the same way.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{Ran, caravan, pipeline::Pipeline, terminal::Session};

const DECLARATION: &str = "x-caravan: {}
services:
  web: {image: 'registry.invalid/web:1', volumes: ['data:/data']}
volumes: {data: {}}
";

/// A project that has a data volume, and no containers.
struct Project {
    name: String,
    directory: tempfile::TempDir,
}

impl Project {
    fn new(name: &str) -> Self {
        let name = format!("caravan-test-{name}-{}", std::process::id());
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("compose.yaml"), DECLARATION).unwrap();
        let project = Self { name, directory };
        let label = format!("com.docker.compose.project={}", project.name);
        let create = ["volume", "create", "--label", &label];
        let volume = project.volume();
        let create = [
            &create[..],
            &["--label", "com.docker.compose.volume=data", &volume],
        ];
        project.docker(&create.concat()).expect(0);
        project
    }

    fn volume(&self) -> String {
        format!("{}_data", self.name)
    }

    fn docker(&self, args: &[&str]) -> Ran {
        Ran::of(Command::new("docker").args(args).output().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = caravan();
        command.args(["-p", &self.name]).args(args);
        command.current_dir(self.directory.path());
        command.env("XDG_STATE_HOME", self.directory.path());
        command
    }

    /// `down --volumes`, asking.
    fn asked(&self) -> Session {
        let session = Session::start(&self.command(&["down", "--volumes"]));
        session.expect("Remove? [y/N] ");
        session
    }

    /// The process that has the project's lock.
    fn pid(&self) -> String {
        let name = format!(".caravan-{}.lock", self.name);
        let here = std::fs::read_to_string(self.directory.path().join(&name));
        let text = here.unwrap_or_else(|_| {
            let state = self.directory.path().join("caravan").join(&name);
            std::fs::read_to_string(state).unwrap()
        });
        text.trim().to_owned()
    }

    #[track_caller]
    fn is_cancelled(&self, mut session: Session) {
        let code = session.ended();
        let screen = session.screen();
        assert_eq!(code, 130, "{screen}");
        assert!(screen.contains("\r\nerror: cancelled"), "{screen}");
        assert!(screen.contains("nothing was removed"), "{screen}");
        // The volume is still there, and nobody has the lock.
        self.docker(&["volume", "inspect", &self.volume()])
            .expect(0);
        let down = self.command(&["down"]).output().unwrap();
        Ran::of(down).expect(0);
    }

    fn signal(&self, signal: &str) {
        let session = self.asked();
        let kill = Command::new("kill")
            .args([&format!("-{signal}"), &self.pid()])
            .status();
        assert!(kill.unwrap().success());
        self.is_cancelled(session);
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        drop(self.docker(&["volume", "rm", "-f", &self.volume()]));
    }
}

#[test]
fn ctrl_c_at_a_question_means_no_at_once() {
    let project = Project::new("ask-int");
    let mut session = project.asked();
    session.press("\x03");
    project.is_cancelled(session);
}

#[test]
fn sigterm_at_a_question_means_no_at_once() {
    Project::new("ask-term").signal("TERM");
}

#[test]
fn sighup_at_a_question_means_no_at_once() {
    Project::new("ask-hup").signal("HUP");
}

/// A no is an answer, and no error.
#[test]
fn a_no_and_the_end_of_input_at_a_question_change_nothing() {
    let project = Project::new("ask-no");
    for keys in ["n\n", "\n", "\x04"] {
        let mut session = project.asked();
        session.press(keys);
        assert_eq!(session.ended(), 0, "{}", session.screen());
        let screen = session.screen();
        assert!(screen.contains("\nnothing was removed"), "{screen}");
        assert!(!screen.contains("error"), "{screen}");
        let volume = ["volume", "inspect", &project.volume()];
        project.docker(&volume).expect(0);
    }
}

/// As in `docker compose`, `-v` of `down` means the volumes.
#[test]
fn down_v_asks_for_the_volumes() {
    let project = Project::new("ask-v");
    let mut session = Session::start(&project.command(&["down", "-v"]));
    session.expect("Remove? [y/N] ");
    session.press("n\n");
    assert_eq!(session.ended(), 0, "{}", session.screen());
    project
        .docker(&["volume", "inspect", &project.volume()])
        .expect(0);
}

#[test]
fn a_question_wraps_by_words() {
    let project = Project::new("ask-narrow");
    let mut session = Session::sized(40, 24, &project.command(&["down", "--volumes"]));
    session.expect("[y/N] ");
    let screen = session.screen();
    let name = project.volume();
    for line in screen.lines().filter(|line| !line.contains(&name)) {
        assert!(line.chars().count() <= 40, "{screen}");
    }
    assert!(screen.contains(&name), "{screen}");
    session.press("\x03");
    project.is_cancelled(session);
}

#[test]
fn a_yes_at_a_question_is_still_heard() {
    let project = Project::new("ask-yes");
    let mut session = project.asked();
    session.press("y\n");
    assert_eq!(session.ended(), 0, "{}", session.screen());
    let inspect = project.docker(&["volume", "inspect", &project.volume()]);
    assert_ne!(inspect.code, 0);
}

#[test]
fn a_held_lock_is_not_waited_for_unless_asked() {
    let project = Project::new("ask-lock");
    let mut session = project.asked();
    let run = |args: &[&str]| Ran::of(project.command(args).output().unwrap());
    let refused = run(&["down"]).expect(1);
    assert!(refused.stderr.contains("another `caravan`"), "{refused:?}");
    run(&["down", "--wait-lock", "300ms"]).expect(4);
    session.press("n\n");
    assert_eq!(session.ended(), 0, "{}", session.screen());
    let nothing = run(&["down", "--wait-lock", "30s"]).expect(0);
    let stays = format!("{} stays", project.volume());
    assert!(nothing.stderr.contains("nothing to remove"), "{nothing:?}");
    assert!(nothing.stderr.contains(&stays), "{nothing:?}");
    let dry = run(&["down", "--volumes", "--dry-run"]).expect(0);
    assert!(dry.stdout.contains(&project.volume()), "{dry:?}");
    let volume = ["volume", "inspect", &project.volume()];
    project.docker(&volume).expect(0);
}

const SIGNALS: [&str; 3] = ["-INT", "-TERM", "-HUP"];

fn send(signal: &str, child: &Child) {
    let pid = child.id().to_string();
    let kill = Command::new("kill").args([signal, &pid]).status();
    assert!(kill.unwrap().success());
}

/// `args` of a pipeline; SIGHUP is not ignored, as it would be if the tests ran under `nohup`.
fn spawn(pipeline: &Pipeline, args: &[&str]) -> Child {
    let plain = pipeline.command(args);
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(plain.get_program());
    command.args(plain.get_args()).env_clear();
    let variables = plain.get_envs();
    command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(plain.get_current_dir().unwrap());
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

/// A service that ends only when its grace period is over.
const STUBBORN: &str = r#"
x-caravan: {}
services:
  stubborn:
    image: caravan.local/redis:7
    entrypoint: [sh, -c, "trap '' TERM; while :; do sleep 0.1; done"]
    stop_grace_period: 2s
    x-caravan: {image-from: redis}
"#;

#[test]
fn a_restart_that_a_signal_ends_leaves_no_container_stopped() {
    let pipeline = Pipeline::declared("signal-restart", &[]);
    pipeline.write("compose.yaml", STUBBORN);
    pipeline.with_images(&["up"]);
    let started_at = "{{.State.StartedAt}}";
    for signal in SIGNALS {
        let before = pipeline.inspect("stubborn", started_at);
        let mut restart = spawn(&pipeline, &["restart"]);
        let mut lines = BufReader::new(restart.stderr.take().unwrap()).lines();
        let stops = |line: &str| line.contains("stopping");
        assert!(lines.any(|line| stops(&line.unwrap())), "{signal}");
        send(signal, &restart);
        let rest: Vec<_> = lines.map(Result::unwrap).collect();
        let stderr = rest.join("\n");
        assert_eq!(restart.wait().unwrap().code(), Some(130), "{stderr}");
        assert!(stderr.contains("started again"), "{signal}: {stderr}");
        assert!(pipeline.runs("stubborn"), "{signal}: {stderr}");
        assert_ne!(pipeline.inspect("stubborn", started_at), before);
    }
}

#[test]
fn an_images_save_that_a_signal_ends_leaves_no_file() {
    let pipeline = Pipeline::declared("signal-save", &[]);
    pipeline.write("compose.yaml", STUBBORN);
    pipeline.with_images(&["images", "build"]);
    let files = || {
        let entries = std::fs::read_dir(pipeline.directory()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names: Vec<_> = names.filter(|name| name.contains("images.tar")).collect();
        names
    };
    for signal in SIGNALS {
        let save = spawn(&pipeline, &["images", "save", "images.tar"]);
        // Often: the file is complete within a second.
        let began = Instant::now();
        while files().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(30), "{signal}");
            std::thread::sleep(Duration::from_millis(2));
        }
        send(signal, &save);
        Ran::of(save.wait_with_output().unwrap()).expect(130);
        assert_eq!(files(), [""; 0], "{signal}");
    }
}
