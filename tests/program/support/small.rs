//! A pipeline of one service, whose image no registry has, under a name of its own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use super::*;

/// Taken down when the test ends, with its image.
pub(crate) struct Small {
    pub(crate) project: String,
    pub(crate) image: String,
    pub(crate) port: u16,
    directory: tempfile::TempDir,
}

impl Small {
    /// `web` waits for a broker that is not there; `once`, of Caravan's own image, comes before it.
    pub(crate) fn declared(name: &str) -> Self {
        let project = format!("caravan-test-{name}-{}", std::process::id());
        let small = Self {
            image: format!("registry.invalid/{project}:1"),
            port: free_port(),
            directory: tempfile::tempdir().unwrap(),
            project,
        };
        let declaration = format!(
            "x-caravan: {{}}
services:
  once:
    image: caravan.local/caravan
    command: [--version]
    x-caravan: {{image-from: self}}
  web:
    image: {}
    command: [run, cache-worker]
    environment: {{KAFKA_BROKERS: 'localhost:1', REDIS_URL: 'redis://localhost:1/0'}}
    ports: ['127.0.0.1:{}:8080']
    depends_on:
      once: {{condition: service_completed_successfully}}
",
            small.image, small.port
        );
        std::fs::write(small.path("compose.yaml"), declaration).unwrap();
        small.make_image();
        small
    }

    /// The executable alone, which runs in an image from nothing.
    pub(crate) fn make_image(&self) {
        let executable = Path::new(env!("CARGO_BIN_EXE_caravan"));
        let mut tar = Command::new("tar")
            .args(["-C", &executable.parent().unwrap().to_string_lossy()])
            .args(["-c", "caravan"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let import = Command::new("docker")
            .args([
                "import",
                "-c",
                "ENTRYPOINT [\"/caravan\"]",
                "-",
                &self.image,
            ])
            .stdin(tar.stdout.take().unwrap())
            .output()
            .unwrap();
        Ran::of(import).expect(0);
        assert!(tar.wait().unwrap().success());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn caravan(&self, args: &[&str]) -> Ran {
        let mut command = caravan();
        command.args(["-p", &self.project]).args(args);
        command.current_dir(self.directory.path());
        command.env("XDG_STATE_HOME", self.directory.path());
        Ran::of(command.output().unwrap())
    }

    /// The container of `web`: its id, its image's and when it started.
    pub(crate) fn web(&self) -> String {
        let name = format!("{}-web", self.project);
        let format = "{{.Id}} {{.Image}} {{.State.StartedAt}} {{.State.Running}}";
        self.docker(&["inspect", "-f", format, &name])
    }

    #[track_caller]
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        let output = Command::new("docker").args(args).output().unwrap();
        Ran::of(output).expect(0).stdout
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let down = self.caravan(&["down", "--volumes", "--yes"]);
        let mut remove = Command::new("docker");
        // A test that failed may have removed it already.
        drop(remove.args(["rmi", "-f", &self.image]).output());
        if down.code != 0 && !std::thread::panicking() {
            panic!("down failed: {}", down.stderr);
        }
    }
}
