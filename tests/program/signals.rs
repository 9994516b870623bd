//! Ctrl-C, SIGTERM and SIGHUP at a question, on a pseudo terminal: they mean no, at once.

use std::process::Command;

use crate::support::{Ran, caravan, terminal::Session};

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

#[test]
fn the_end_of_input_at_a_question_means_no() {
    let project = Project::new("ask-eof");
    let mut session = project.asked();
    session.press("\x04");
    assert_eq!(session.ended(), 130);
    let screen = session.screen();
    assert!(
        screen.contains("\r\nerror: nothing was removed"),
        "{screen}"
    );
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
