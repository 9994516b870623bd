//! Test support for this crate and its dependents: declarations in temporary directories, the shipped
//! pipeline, and generated pages of docs/.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    Condition, DeadLetterHeaders, Dependency, ImageFrom, Origin, Pipeline, PullPolicy, Request,
    Restart, Runtime, Service, Source, locate,
};
use diagnostics::{Error, Result};

/// The shipped pipeline, with only its secrets set.
pub fn shipped() -> Pipeline {
    let mut place = TestDirectory::new();
    for name in [
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
        "PAYMENT_TOKEN",
        "ADMIN_TOKEN",
    ] {
        place.set(name, &format!("the-{name}"));
    }
    place.pipeline()
}

/// A temporary working directory with a home directory and an environment of its own.
pub struct TestDirectory {
    directory: TempDir,
    /// The request for [`locate`]; tests change it.
    pub request: Request,
}

impl Default for TestDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl TestDirectory {
    /// Creates the directory.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let cwd = directory.path().join("Shop 2");
        fs::create_dir(&cwd).expect("a working directory");
        let home = directory.path().join("home").display().to_string();
        let request = Request {
            cwd,
            env: BTreeMap::from([("HOME".to_owned(), home)]),
            ..Request::default()
        };
        Self { directory, request }
    }

    /// Path of a file in the working directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.request.cwd.join(name)
    }

    /// Writes a file in the working directory, and creates its parent directories.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    /// Sets an environment variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.request.env.insert(name.to_owned(), value.to_owned());
    }

    /// The home directory; it may not exist.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// The located declaration.
    ///
    /// # Panics
    /// There is an error.
    pub fn source(&self) -> Source {
        self.locate()
            .unwrap_or_else(|error| panic!("{}", shown(&error)))
    }

    /// Locates the declaration.
    ///
    /// # Errors
    /// Those of [`locate`].
    pub fn locate(&self) -> Result<Source> {
        locate(&self.request)
    }

    /// The resolved pipeline.
    ///
    /// # Panics
    /// There is an error.
    pub fn pipeline(&self) -> Pipeline {
        let pipeline = self.source().resolve();
        pipeline.unwrap_or_else(|error| panic!("{}", shown(&error)))
    }

    /// The text of an error, without the path of the temporary directory.
    pub fn shown(&self, error: &Error) -> String {
        let directory = self.directory.path().display().to_string();
        shown(error).replace(&directory, "")
    }

    /// The error of locating or resolving the declaration.
    ///
    /// # Panics
    /// There is none.
    pub fn error(&self) -> Error {
        let resolved = self.locate().and_then(|source| source.resolve());
        resolved.expect_err("something wrong")
    }
}

/// The text of an error with evidence and hint.
pub fn shown(error: &Error) -> String {
    let mut text = format!("error: {}\n", error.what);
    for line in &error.evidence {
        text.push_str(&format!("  {line}\n"));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("next: {hint}\n"));
    }
    text
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("crates/NAME is two levels below the root")
}

/// The directory `tests/declarations`.
pub fn corpus() -> PathBuf {
    repository().join("tests/declarations")
}

/// When set, [`expect_generated`] writes the pages instead of comparing them.
const WRITE: &str = "CARAVAN_WRITE_DOCS";

/// Fails the test unless the page `name` below docs/ is `text`.
pub fn expect_generated(name: &str, text: &str) {
    let path = repository().join("docs").join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, text).expect("the page is written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "docs/{name} is not what the code generates; update it with: \
         {WRITE}=1 cargo test --workspace"
    );
}

/// A pipeline of the project `shop` that consists of `services`.
pub fn pipeline(services: Vec<Service>) -> Pipeline {
    Pipeline {
        project: "shop".to_owned(),
        origin: Origin::Embedded,
        state: Default::default(),
        services,
        inactive: Vec::new(),
        drivers: Default::default(),
        networks: Vec::new(),
        volumes: Vec::new(),
        kafka: None,
        postgres: None,
        redis: None,
        topics: Vec::new(),
        dead_letters: None,
        dead_letter_headers: DeadLetterHeaders::default(),
        migrations: None,
        tables: Vec::new(),
        stages: BTreeMap::new(),
        forbidden_logs: Vec::new(),
        allowed_logs: Vec::new(),
        error_logs: None,
        flow: None,
        invariants: Vec::new(),
        secrets: Vec::new(),
        warnings: Vec::new(),
        variable_ports: Vec::new(),
    }
}

/// A service that depends on the services `on` with the condition `service_healthy`.
pub fn depending(name: &str, on: &[&str]) -> Service {
    let dependency = |service: &&str| Dependency {
        service: (*service).to_owned(),
        condition: Condition::Healthy,
        required: true,
        restart: false,
    };
    Service {
        name: name.to_owned(),
        profiles: Vec::new(),
        image: format!("{name}:1"),
        build: None,
        pull_policy: PullPolicy::Missing,
        container_name: None,
        entrypoint: None,
        command: None,
        environment: BTreeMap::new(),
        ports: Vec::new(),
        mounts: Vec::new(),
        secrets_and_configs: Vec::new(),
        networks: Vec::new(),
        links: Vec::new(),
        volumes_from: Vec::new(),
        depends_on: on.iter().map(dependency).collect(),
        healthcheck: None,
        restart: Restart::No,
        replicas: 1,
        user: None,
        working_dir: None,
        hostname: None,
        read_only: false,
        init: false,
        tmpfs: Vec::new(),
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        security_opt: Vec::new(),
        labels: BTreeMap::new(),
        logging: None,
        stop_grace_period: None,
        stop_signal: None,
        mem_limit: None,
        pids_limit: None,
        shm_size: None,
        extra_hosts: Vec::new(),
        runtime: Runtime::default(),
        image_from: ImageFrom::Registry,
        ready: None,
        startup: None,
        effect: None,
        http: None,
        group: None,
        commit_interval: None,
        consumes: Vec::new(),
        emits: Vec::new(),
        writes: Vec::new(),
        reads: Vec::new(),
        calls: Vec::new(),
        stages: Vec::new(),
    }
}
