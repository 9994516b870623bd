//! A deployment of the shipped pipeline, taken down when the test ends, however it ends.

use super::{
    shared::{Reaper, end_idle},
    *,
};

/// The first `up` of a test run may have to build images; the others wait for it.
pub(crate) static IMAGES: Mutex<()> = Mutex::new(());

/// The projects of tests that are under way: of two with one name, one would take down the other's.
static PROJECTS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// One project on real Docker.
pub(crate) struct Pipeline {
    pub(crate) project: String,
    pub(crate) variables: BTreeMap<String, String>,
    state: tempfile::TempDir,
    /// Last: it is told of the end when all else is done.
    _reaper: Reaper,
}

impl Pipeline {
    /// A project that has not been brought up yet.
    pub(crate) fn declared(name: &str, extra: &[(&str, &str)]) -> Self {
        end_idle();
        let project = format!("caravan-test-{name}-{}", std::process::id());
        let is_new = PROJECTS.lock().unwrap().insert(project.clone());
        assert!(is_new, "another test has a project {project}");
        let state = tempfile::tempdir().unwrap();
        let mut variables: BTreeMap<String, String> = BTreeMap::new();
        for port in [
            "KAFKA_PORT",
            "POSTGRES_PORT",
            "REDIS_PORT",
            "PAYMENT_PORT",
            "ADMIN_PORT",
        ] {
            variables.insert(port.to_owned(), free_port().to_string());
        }
        // Several pipelines share two cores and one memory.
        let heap = "-Xms128m -Xmx256m".to_owned();
        variables.insert("KAFKA_HEAP_OPTS".to_owned(), heap);
        for (name, value) in extra {
            variables.insert((*name).to_owned(), (*value).to_owned());
        }
        variables.insert("CARAVAN_PROJECT".to_owned(), project.clone());
        let home = state.path().to_string_lossy().into_owned();
        variables.insert("XDG_STATE_HOME".to_owned(), home);
        let mut down = caravan();
        down.args(["down", "--volumes", "--yes"]).envs(&variables);
        Self {
            _reaper: Reaper::start(&down, state.path()),
            project,
            variables,
            state,
        }
    }

    /// A project that is up.
    pub(crate) fn up(name: &str, extra: &[(&str, &str)]) -> Self {
        let pipeline = Self::declared(name, extra);
        pipeline.with_images(&["up"]);
        pipeline
    }

    /// An `up` that may have to build images.
    #[track_caller]
    pub(crate) fn with_images(&self, args: &[&str]) {
        let guard = IMAGES
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        self.caravan(args).expect(0);
        drop(guard);
    }

    /// Runs `caravan` on this project, in an empty directory: the embedded declaration.
    pub(crate) fn caravan(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = caravan();
        command.args(args).current_dir(self.state.path());
        command.envs(&self.variables);
        command
    }

    /// Runs a printed hint to the letter, by a shell that has `caravan` on its path.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_caravan"));
        let path = format!(
            "{}:{}",
            binary.parent().unwrap().display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.state.path());
        command.env_clear().envs(&self.variables).env("PATH", path);
        if let Ok(host) = std::env::var("DOCKER_HOST") {
            command.env("DOCKER_HOST", host);
        }
        Ran::of(command.output().unwrap())
    }

    /// The name of a service's first container.
    pub(crate) fn container(&self, service: &str) -> String {
        format!("{}-{service}", self.project)
    }

    /// `docker` as operators use it; must succeed.
    #[track_caller]
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        let output = Command::new("docker").args(args).output().unwrap();
        Ran::of(output).expect(0).stdout
    }

    /// A field of `docker inspect` by its Go template.
    pub(crate) fn inspect(&self, service: &str, template: &str) -> String {
        let container = self.container(service);
        self.docker(&["inspect", "-f", template, &container])
            .trim()
            .to_owned()
    }

    /// Whether a service's first container is there and running.
    pub(crate) fn runs(&self, service: &str) -> bool {
        let name = format!("name=^{}$", self.container(service));
        !self.docker(&["ps", "-q", "--filter", &name]).is_empty()
    }

    /// `GET path` of a service's first container, inside Docker's network.
    pub(crate) async fn get(&self, service: &str, path: &str) -> reqwest::Response {
        let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = self.inspect(service, template);
        let request = reqwest::Client::new()
            .get(format!("http://{address}:8080{path}"))
            .timeout(Duration::from_secs(5));
        request.send().await.unwrap()
    }

    /// A variable out of the generated `.env`.
    pub(crate) fn secret(&self, name: &str) -> String {
        let path = self.env_path();
        let text = std::fs::read_to_string(path).unwrap();
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix(&format!("{name}=")));
        line.unwrap().to_owned()
    }

    pub(crate) fn env_path(&self) -> PathBuf {
        self.state
            .path()
            .join("caravan")
            .join(&self.project)
            .join(".env")
    }

    /// Where `caravan` is run: an empty directory of the project's own.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.state.path()
    }

    /// Writes a file below [`Self::directory`], with its folders.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.directory().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn port(&self, name: &str) -> &str {
        &self.variables[name]
    }

    pub(crate) fn brokers(&self) -> String {
        format!("localhost:{}", self.port("KAFKA_PORT"))
    }

    pub(crate) fn database_url(&self) -> String {
        format!(
            "postgres://kodingcaravan:{}@127.0.0.1:{}/kodingcaravan",
            self.secret("POSTGRES_PASSWORD"),
            self.port("POSTGRES_PORT")
        )
    }

    pub(crate) async fn database(&self) -> sqlx::PgPool {
        sqlx::postgres::PgPoolOptions::new()
            .max_connections(4)
            .connect(&self.database_url())
            .await
            .unwrap()
    }

    /// `verify -o json`, and the ids that are not `pass`, sorted.
    pub(crate) fn not_passing(&self) -> (Ran, Vec<String>) {
        let ran = self.caravan(&["verify", "-o", "json"]);
        let document = ran.json();
        let findings = document["findings"].as_array().unwrap();
        let mut ids: Vec<_> = findings
            .iter()
            .filter(|f| f["status"] != "pass")
            .map(|f| f["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        (ran, ids)
    }

    /// The finding with this id, out of `verify -o json`.
    #[track_caller]
    pub(crate) fn finding(ran: &Ran, id: &str) -> Value {
        let document = ran.json();
        let findings = document["findings"].as_array().unwrap();
        let found = findings.iter().find(|f| f["id"] == id);
        found.unwrap_or_else(|| panic!("no finding {id}")).clone()
    }

    /// Waits until `verify` is all green.
    #[track_caller]
    pub(crate) fn expect_green(&self) {
        eventually("a green verify", || {
            let (ran, ids) = self.not_passing();
            (ran.code == 0 && ids.is_empty()).then_some(())
        });
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What a person wants to see of a failed test, before it is gone.
            let status = self.caravan(&["status"]);
            eprintln!("{}\n{}", status.stdout, status.stderr);
            let logs = self.caravan(&["logs", "--tail", "15"]);
            eprintln!("{}\n{}", logs.stdout, logs.stderr);
        }
        let down = self.caravan(&["down", "--volumes", "--yes"]);
        if down.code != 0 && !std::thread::panicking() {
            panic!("down failed: {}", down.stderr);
        }
        PROJECTS.lock().unwrap().remove(&self.project);
    }
}
